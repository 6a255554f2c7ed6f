"""Doctor's report on BigQuery itself: a stand-in answers for the parts that the emulator lacks."""

from __future__ import annotations

import json
from collections.abc import Callable

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials

from connectors.errors import AccessDenied
from jobs.cli.doctor import _warehouse
from tests.support.bigquery_contract import documented
from tests.support.faulty_endpoint import Answer, configuration, endpoint
from tests.support.load_world import World, payment


@pytest.fixture
def loaded(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A loaded table, and anonymous credentials as the machine's."""
    world.publish([payment(1)])
    world.load()
    monkeypatch.setattr(google.auth, "default", lambda scopes: (AnonymousCredentials(), "p"))
    return world


def examined(
    world: World, monkeypatch: pytest.MonkeyPatch, has: list[str], *, jobs: bool = True, of: str = "/datasets/"
) -> str:
    """Returns doctor's report if credentials have only the permissions `has` on tables whose address holds `of`."""
    asked: list[list[str]] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if path.split("?")[0].endswith(":testIamPermissions"):
            asked.append(json.loads(body)["permissions"])
            allowed = [name for name in asked[-1] if name in has or of not in path]
            return 200, {"Content-Type": "application/json"}, json.dumps({"permissions": allowed}).encode()
        if configuration(path, body).get("dryRun") and not jobs:
            return documented("access denied", what="User does not have bigquery.jobs.create permission in project p")
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
        tables = [f"{world.table}_not_there_yet", world.table, f"{world.ledger_table}_of_another", world.ledger_table]
        return _warehouse(world.settings.model_copy(update={"warehouse_endpoint": None}), tables)


NEEDED = ["bigquery.tables.get", "bigquery.tables.getData", "bigquery.tables.update", "bigquery.tables.updateData"]


def test_doctor_says_whose_credentials_are_used(loaded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said = examined(loaded, monkeypatch, NEEDED)
    assert said == "BigQuery at project lakeferry-local, location US, with no credentials"


def test_doctor_names_the_permissions_that_are_missing(loaded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccessDenied) as refused:
        examined(loaded, monkeypatch, [NEEDED[0], NEEDED[1]])
    missing = f"on {loaded.table} the permissions bigquery.tables.update, bigquery.tables.updateData are missing"
    assert missing in str(refused.value)
    with pytest.raises(AccessDenied, match=f"on {loaded.ledger_table} the permissions bigquery.tables.get, "):
        examined(loaded, monkeypatch, [], of=f"/datasets/{loaded.settings.warehouse_ledger_dataset}/")
    with pytest.raises(AccessDenied, match=r"bigquery\.jobs\.create"):
        examined(loaded, monkeypatch, NEEDED, jobs=False)


def test_an_emulator_is_not_asked_for_permissions(world: World) -> None:
    assert _warehouse(world.settings, [world.table]).startswith("emulator at ")
