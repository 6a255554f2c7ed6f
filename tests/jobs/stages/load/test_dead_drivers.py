"""A driver that dies behind publishing leaves no receipt that says so: the lake is asked, without Spark."""

from __future__ import annotations

import pytest
from google.api_core.exceptions import NotFound

from connectors.errors import RunnerFailed
from jobs.cli import run
from jobs.lake.documents import open_documents
from tests.support.load_world import World, payment


@pytest.mark.parametrize(
    ("publishes", "rows", "said"),
    [("run 1", {1: "1.00"}, False), ("another run", {}, True)],
)
def test_what_the_lake_has_of_this_run_is_loaded(
    world: World, publishes: str, rows: dict[int, str], said: bool
) -> None:
    world.publish([payment(1)], run_id=publishes)
    world.write_plan("run 1", checked=False)
    plan = world.plan("run 1")

    def dies(*_: object) -> int:
        raise RunnerFailed("the extract job: killed")

    # The process that dies; what is done about it is what is tested.
    with pytest.raises(RunnerFailed, match="killed") as caught:
        run._submitted(dies, "extract", plan, open_documents(world.settings.lake), world.settings, False)
    assert (f"Not published: {world.name}" in str(caught.value)) is said
    if rows:
        assert world.amounts() == rows
    else:
        # A batch of another run alone is no reason to load: there is no ledger yet.
        with pytest.raises(NotFound):
            world.ledger()
