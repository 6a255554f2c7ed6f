"""Every call of a load goes wrong once, in every way a call can: what is loaded is loaded once, by the run or the next.

The requests are counted, not named: a call that a load makes tomorrow is hit as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from connectors.base import Column
from connectors.bigquery import client, file_upload, tables
from connectors.errors import ServiceUnavailable
from jobs.runtime.fault_points import Crash
from tests.support.bigquery_contract import documented, once_a_job
from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import NOON, PAYMENTS, World, payment

MakeWorld = Callable[..., World]
Forward = Callable[[], Answer]
Trouble = Callable[[World, Forward], Answer | None]
SPACING = 4
"""Calls between two that go wrong in one load: enough for each to be got over by itself."""


def lost_reply(world: World, forward: Forward) -> None:
    forward()


def arriving_twice(world: World, forward: Forward) -> Answer:
    """Carried out, and the answer is that to its repetition: 409 for what is made by a name."""
    forward()
    return forward()


TROUBLES: dict[str, Trouble] = {
    "lost request": lambda world, forward: None,
    "lost reply": lost_reply,
    "429": lambda world, forward: documented("too many requests"),
    "503": lambda world, forward: documented("backend"),
    "409": arriving_twice,
}


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = client.RETRY.with_delay(initial=0.01, maximum=0.01)
    monkeypatch.setattr(client, "RETRY", quick)
    monkeypatch.setattr(tables, "RETRY", quick)
    monkeypatch.setattr(file_upload, "RETRY", quick)


def load_with(world: World, trouble: Trouble, tried: set[int]) -> tuple[int, ServiceUnavailable | None]:
    """Load with trouble at those of its requests that were not `tried` before; how many it made, and what the load
    said of it.

    Behind the trouble stands the real service: a job id is taken once.
    """
    made = 0
    last = -SPACING
    service = once_a_job({})

    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        nonlocal made, last
        made += 1

        def served() -> Answer:
            answer = service(method, path, body, forward)
            assert answer is not None
            return answer

        if made in tried or made - last < SPACING:
            return served()
        last = made
        tried.add(made)
        return trouble(world, served)

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        try:
            world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
        except ServiceUnavailable as error:
            return made, error
    return made, None


def batch(number: int) -> list[dict[str, Any]]:
    return [payment(0, f"{number}.00", updated_at=NOON.replace(minute=number)), payment(number)]


def assert_loaded(world: World, number: int) -> None:
    """What is in BigQuery after batch `number` is what its batches say, each loaded once."""
    rows = {row["payment_id"]: (str(row["amount"].quantize(1)), row["_batch"]) for row in world.rows("payment_id")}
    assert rows == {0: (str(number), number), **{n: ("1", n) for n in range(1, number + 1)}}
    [(at, _, moved)] = world.ledger()
    assert (at, moved) == (number, 2)


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_each_call_of_a_load_may_go_wrong(world_of: MakeWorld, trouble: Trouble) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    world.publish(batch(1))
    world.load()
    tried: set[int] = set()
    calls, failed = 0, None
    while failed or not calls or not tried.issuperset(range(1, calls + 1)):
        number = world.publish(batch(world.published + 1))
        calls, failed = load_with(world, trouble, tried)
        if failed is not None:
            world.load()
        assert_loaded(world, number)
    assert calls > 20


@pytest.mark.parametrize("kind", ["lost reply", "409", "503"])
def test_each_call_of_a_first_load_may_go_wrong(world_of: MakeWorld, kind: str) -> None:
    tried: set[int] = set()
    calls, failed = 0, None
    while failed or not calls or not tried.issuperset(range(1, calls + 1)):
        world = world_of(bigquery_spec={"partition_by": "created_at"})
        world.publish(batch(1))
        calls, failed = load_with(world, TROUBLES[kind], tried)
        if failed is not None:
            world.load()
        assert_loaded(world, 1)
    assert calls > 30


def test_another_loader_may_come_first_at_each_change(world: World) -> None:
    """It does the whole load while a request of this one is on its way."""
    world.publish(batch(1))
    world.load()
    changes = at = 0
    while changes >= at:
        number = world.publish(batch(world.published + 1))
        at, changes = at + 1, 0

        def overtaken(method: str, path: str, body: bytes, forward: Forward, at: int = at) -> Answer | None:
            nonlocal changes
            # A dry run is one too: the things it names may be gone when it is asked.
            changes += method != "GET"
            if method != "GET" and changes == at:
                world.load("the other one")
            return forward()

        with endpoint(str(world.settings.warehouse_endpoint), overtaken) as address:
            world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
        assert_loaded(world, number)
    assert at > 8


@pytest.mark.parametrize("replied", [False, True], ids=["before the call", "after the reply"])
def test_a_load_may_die_at_each_call_and_again_at_the_next(
    world: World, replied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = client._Adapter.send
    made, dies_at = 0, 1

    def dying(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == dies_at and not replied:
            raise Crash
        answer = send(self, *arguments, **options)
        if made == dies_at:
            raise Crash
        return answer

    number = world.publish(batch(1))
    world.load()
    monkeypatch.setattr(client._Adapter, "send", dying)
    whole = False
    while not whole:
        if world.ledger()[0][0] == number:
            number = world.publish(batch(number + 1))
        made = 0
        try:
            world.load()
            whole = True
        except Crash:
            dies_at += 1
    assert dies_at > 20
    assert_loaded(world, number)


def test_jobs_that_take_their_time_are_asked_after_until_they_are_done(world: World) -> None:
    """The real service answers an insert at once and the job runs on; the emulator answers when it is done."""
    answers: dict[str, Answer] = {}
    asked: dict[str, int] = {}
    kinds: dict[str, str] = {}

    def running(answer: Answer) -> Answer:
        status, headers, content = answer
        job = json.loads(content)
        job["status"] = {"state": "RUNNING"}
        return status, headers, json.dumps(job).encode()

    service = once_a_job({})

    def slow(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        name = path.split("?")[0].rsplit("/", 1)[-1]
        if method == "GET" and "/jobs/" in path and name in answers:
            asked[name] = asked.get(name, 0) + 1
            return answers[name] if asked[name] > 2 else running(answers[name])
        answer = service(method, path, body, forward)
        assert answer is not None
        if method in ("POST", "PUT") and b'"jobReference"' in answer[2]:
            job = json.loads(answer[2])
            if job["status"]["state"] == "DONE" and not job["configuration"].get("dryRun"):
                name = job["jobReference"]["jobId"]
                answers[name], kinds[name] = answer, "load" if "load" in job["configuration"] else "query"
                return running(answer)
        return answer

    world.publish(batch(1))
    with endpoint(str(world.settings.warehouse_endpoint), slow) as address:
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert_loaded(world, 1)
    assert {kinds[name] for name, times in asked.items() if times > 2} == {"load", "query"}
    assert set(asked) == set(answers)


def test_a_table_that_another_loader_changed_meanwhile_is_looked_at_again(world: World) -> None:
    world.source_columns = tuple(
        Column(name=name, source_type="any", spark_type=kind, nullable=False)
        for name, kind in (("payment_id", "bigint"), ("amount", "decimal(18,2)"))
    )
    world.publish([payment(1)])
    world.load()
    world.columns = {**PAYMENTS, "channel": "string"}
    world.publish([{**payment(2, channel="app"), "amount": None}])
    changes = 0

    def changed(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        nonlocal changes
        changes += method == "PATCH"
        # The first try of each: the column that is new, the one that may be NULL now.
        return documented("changed meanwhile") if method == "PATCH" and changes % 2 else forward()

    with endpoint(str(world.settings.warehouse_endpoint), changed) as address:
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    assert changes == 4
    assert [(row["amount"], row["channel"]) for row in world.rows("payment_id")] == [(1, None), (None, "app")]
