"""A transport file sent in several chunks to the BigQuery emulator, for each fate of one of them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from connectors.bigquery import client, file_upload
from connectors.errors import ServiceUnavailable
from tests.support.bigquery_contract import documented, once_a_job
from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import World, payment

CHUNK = 256 * 1024
_RANDOM = random.Random(7)
MEMOS = {number: _RANDOM.randbytes(60_000).hex() for number in range(1, 11)}
"""Compressed by zstd, they are two chunks and a part of one."""
ASKED = 0
"""Bytes of the request that asks what of the file is there."""

Forward = Callable[[], Answer]
Trouble = Callable[[Forward], Answer | None]


def lost_reply(forward: Forward) -> None:
    forward()


def not_kept(first: bool) -> Answer:
    """Nothing of the chunk is there: the answer reports only the bytes before it."""
    return 308, {} if first else {"Range": f"bytes=0-{CHUNK - 1}"}, b""


TROUBLES: dict[str, Trouble] = {
    "lost request": lambda forward: None,
    "lost reply": lost_reply,
    "429": lambda forward: documented("too many requests"),
    "503": lambda forward: documented("backend"),
}


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_upload, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(file_upload, "RETRY", client.RETRY.with_delay(initial=0.01, maximum=0.01))


@pytest.fixture
def published(world: World) -> World:
    world.publish([payment(number, memo=memo) for number, memo in MEMOS.items()])
    return world


def load_with(world: World, number: int, trouble: Trouble, times: int = 1) -> list[int]:
    """Load where chunk `number` meets with trouble so many times; bytes of the upload's requests after the first."""
    service = once_a_job({})
    sent: list[int] = []
    met = 0

    def fault(method: str, path: str, body: bytes, forward: Forward) -> Answer | None:
        nonlocal met

        def served() -> Answer:
            answer = service(method, path, body, forward)
            assert answer is not None
            return answer

        if method != "PUT":
            return served()
        sent.append(len(body))
        if len(body) > 0 and len([size for size in sent if size]) > number and met < times:
            met += 1
            return trouble(served)
        return served()

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    return sent


def assert_whole(world: World) -> None:
    assert {row["payment_id"]: row["memo"] for row in world.rows()} == MEMOS
    assert world.ledger() == [(1, "run 1", len(MEMOS))]


def test_a_file_goes_in_chunks(published: World) -> None:
    *whole, last = load_with(published, 0, lambda forward: forward())
    assert whole == [CHUNK, CHUNK]
    assert 0 < last < CHUNK
    assert_whole(published)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("kind", list(TROUBLES))
def test_only_what_is_not_there_is_sent_again(published: World, kind: str, number: int) -> None:
    sent = load_with(published, number, TROUBLES[kind])

    order = [0, 1, 2]
    if kind != "lost reply":
        order.insert(number, number)
    sizes = [sent[0], CHUNK, sent[-1] or sent[-2]]
    expected = [sizes[chunk] for chunk in order]
    expected.insert(number + 1, ASKED)
    assert sent == expected
    assert_whole(published)


@pytest.mark.parametrize("number", range(2))
def test_what_the_service_did_not_keep_is_sent_again(published: World, number: int) -> None:
    sent = load_with(published, number, lambda forward: not_kept(number == 0))
    assert [size for size in sent if size][:-1] == [CHUNK] * 3
    assert_whole(published)


def test_a_chunk_refused_again_is_told_and_the_next_run_sends_the_file(published: World) -> None:
    with pytest.raises(ServiceUnavailable, match=r"answers 503: Try again later\. Run again later"):
        load_with(published, 1, TROUBLES["503"], times=2)
    assert published.ledger() == [(0, None, 0)]
    published.load()
    assert_whole(published)


def test_a_service_that_keeps_nothing_more_is_not_sent_to_for_ever(published: World) -> None:
    with pytest.raises(ServiceUnavailable, match=f"keeps no more than {CHUNK:,} bytes of it.*Run again later"):
        load_with(published, 1, lambda forward: not_kept(False), times=20)
    assert published.ledger() == [(0, None, 0)]
