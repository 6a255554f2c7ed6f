"""A warehouse that is down, silent, refuses or cancels."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from connectors.errors import (
    AccessDenied,
    LoadRefused,
    ServiceUnavailable,
)
from tests.support.bigquery_contract import documented
from tests.support.faulty_endpoint import Answer, endpoint, job_id, refusal
from tests.support.load_world import World, payment


def test_a_service_that_is_down_is_said_at_once(world: World) -> None:
    world.publish([payment(1)])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{port}. does not answer") as down:
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": f"http://127.0.0.1:{port}"}))
    assert time.monotonic() - started < 15
    assert (down.value.pipeline, down.value.dataset) == ("payments", world.name)


def test_a_service_that_accepts_and_says_nothing_is_said_within_15_seconds(world: World) -> None:
    world.publish([payment(1)])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("refused", "error", "exit_code"),
    [
        ("access denied", AccessDenied, 2),
        ("quota", ServiceUnavailable, 3),
        ("rate limit", ServiceUnavailable, 3),
        ("transaction cancelled", ServiceUnavailable, 3),
        ("too many DML statements", ServiceUnavailable, 3),
        ("statement conflicts", ServiceUnavailable, 3),
    ],
)
def test_a_refused_login_or_right_is_the_users_a_quota_is_not(
    world: World, refused: str, error: type[Exception], exit_code: int
) -> None:
    world.publish([payment(1)])

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        return documented(refused, what="this", table="this")

    with (
        endpoint(str(world.settings.warehouse_endpoint), fault) as address,
        pytest.raises(error, match=r"this|rate limits") as told,
    ):
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert getattr(told.value, "exit_code", None) == exit_code


def test_a_value_that_reads_like_a_conflict_is_refused_for_good(world: World) -> None:
    world.publish([payment(1)])

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body:
            return refusal(400, "invalidQuery", "Could not cast 'aborted due to concurrent update' to type INT64")
        return forward()

    with (
        endpoint(str(world.settings.warehouse_endpoint), fault) as address,
        pytest.raises(LoadRefused, match="Could not cast"),
    ):
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))


def test_a_transaction_bigquery_cancels_for_another_is_tried_again(world: World) -> None:
    world.publish([payment(1)])
    cancelled: list[str] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body and b"MERGE" in body and len(cancelled) < 2:
            cancelled.append(str(job_id(path, body)))
            return documented("transaction cancelled", table="ledger")
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        receipt = world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert len(cancelled) == 2
    assert receipt.warehouse_rows == 1
