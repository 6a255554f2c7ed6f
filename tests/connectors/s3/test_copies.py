"""Which contents a plan knows as published, and which it reads again."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from connectors.base import Window
from connectors.s3.bucket import Access, S3File, open_file
from tests.support.bucket_world import World, etag, keys, listings, put_in_parts, read_through


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the files that plans read, as they come."""
    keys: list[str] = []

    def counted(access: Access, client: Any, file: S3File) -> Any:
        keys.append(file.key)
        return open_file(access, client, file)

    monkeypatch.setattr("connectors.s3.copies.open_file", counted)
    return keys


def test_content_that_is_published_is_known_under_any_key_and_etag(world: World) -> None:
    text = "a,s\n1,old\n"
    world.put("in/1.csv", text)
    put_in_parts(world, "in/2.csv", "a,s\n2,in parts\n")
    world.put("in/empty.csv", "")
    world.put("in/header.csv", "a,s\n")
    world.put("in/refused.csv", "1,x\n")
    dataset = world.dataset()
    first = world.source.plan(dataset, None, None)
    world.source.count(dataset, first)
    good = {f"s3://{world.bucket}/in/{name}.csv" for name in (1, 2)}
    position = world.source.position_after(first, {0: good})

    world.client.delete_object(Bucket=world.bucket, Key="in/1.csv")
    world.client.delete_object(Bucket=world.bucket, Key="in/2.csv")
    world.put("in/archive/1.csv", text)
    put_in_parts(world, "in/archive/1-in-parts.csv", text)
    world.put("in/archive/2-copied.csv", "a,s\n2,in parts\n")
    world.put("in/archive/empty.csv", "")
    world.put("in/archive/header.csv", "a,s\n")
    world.put("in/archive/refused.csv", "1,x\n")
    world.put("in/new.csv", "a,s\n1,new\n")
    second = world.source.plan(dataset, position, None)
    assert keys(second) == [["in/archive/empty.csv", "in/archive/header.csv", "in/archive/refused.csv", "in/new.csv"]]
    assert second.warnings == (
        f"3 files of s3://{world.bucket} hold what is published already, and are not read: "
        "in/archive/1-in-parts.csv (as in/1.csv), in/archive/1.csv (as in/1.csv), "
        "in/archive/2-copied.csv (as in/2.csv). Write `copies: read` on the dataset to read them anyway",
    )
    position = read_through(world, dataset, second)

    world.put("in/1.csv", text)
    put_in_parts(world, "in/new.csv", "a,s\n1,new\n")
    third = world.source.plan(dataset, position, None)
    assert third.slices == ()
    assert "in/1.csv (as in/1.csv), in/new.csv (as in/new.csv)" in third.warnings[0]
    assert "in/archive" not in third.warnings[0]
    # Those that an earlier plan has passed over are read too, as new ones.
    passed_over = ["in/archive/1-in-parts.csv", "in/archive/1.csv", "in/archive/2-copied.csv"]
    reading = world.dataset(copies="read")
    all_of_them = world.source.plan(reading, position, None)
    assert listings(all_of_them) == dict.fromkeys(["in/1.csv", *passed_over, "in/new.csv"], 3)
    assert all_of_them.warnings == ()
    window = world.source.plan(reading, position, Window(start="2020-01-01T00:00:00Z"))
    assert {listings(window)[key] for key in passed_over} == {3}
    position = read_through(world, reading, all_of_them)
    assert world.source.plan(reading, position, None).slices == ()
    back = world.source.plan(dataset, position, None)
    assert (back.slices, back.warnings) == ((), ())


def test_content_that_published_no_row_is_not_known(world: World) -> None:
    dataset = world.dataset()
    world.put("in/all.csv", "a,s\nx1,x\nx2,y\n")
    world.put("in/some.csv", "a,s\nx1,x\n2,y\n")
    world.put("in/empty.csv", "")
    plan = world.source.plan(dataset, None, None)
    world.source.count(dataset, plan)
    position = world.source.position_after(plan, {0: frozenset({f"s3://{world.bucket}/in/some.csv"})})
    assert world.source.plan(dataset, position, None).slices == ()
    world.put("in/again/all.csv", "a,s\nx1,x\nx2,y\n")
    world.put("in/again/some.csv", "a,s\nx1,x\n2,y\n")
    again = world.source.plan(world.dataset(columns={"a": "string", "s": "string"}), position, None)
    assert listings(again) == {"in/again/all.csv": 2}
    assert "in/again/some.csv (as in/some.csv)" in again.warnings[0]


def test_contents_are_compared_once(world: World, read: list[str]) -> None:
    for number in range(5):
        put_in_parts(world, f"in/{number}.csv", f"a,s\n{number},x\n")
    dataset = world.dataset()
    position: Any = {"files": {f"in/{number}.csv": etag(world, f"in/{number}.csv") for number in range(5)}}
    put_in_parts(world, "in/5.csv", "a,s\n5,x\n")
    first = world.source.plan(dataset, position, None)
    assert keys(first) == [["in/5.csv"]]
    assert sorted(read) == [f"in/{number}.csv" for number in range(6)]
    # As with `reconcile: off`: nothing is counted.
    position = world.source.position_after(first)
    read.clear()
    put_in_parts(world, "in/6.csv", "a,s\n6,x\n")
    put_in_parts(world, "in/archive/5.csv", "a,s\n5,x\n")
    world.put("in/archive/4.csv", "a,s\n4,x\n")
    second = world.source.plan(dataset, position, None)
    assert keys(second) == [["in/6.csv"]]
    assert "in/archive/4.csv (as in/4.csv), in/archive/5.csv (as in/5.csv)" in second.warnings[0]
    # Copies are opened once more, to see whether they have a row.
    assert sorted(set(read)) == ["in/6.csv", "in/archive/4.csv", "in/archive/5.csv"]
    for number in range(6):
        world.client.delete_object(Bucket=world.bucket, Key=f"in/{number}.csv")
    read.clear()
    put_in_parts(world, "in/7.csv", "a,s\n5,x\n")
    third = world.source.plan(dataset, world.source.position_after(second), None)
    assert "in/7.csv (as in/archive/5.csv)" in third.warnings[0] or "in/7.csv (as in/5.csv)" in third.warnings[0]
    assert set(read) == {"in/7.csv"}


def test_a_moved_file_is_compared_with_the_one_of_its_name_first(world: World, read: list[str]) -> None:
    for number in range(5):
        put_in_parts(world, f"in/{number}.csv", f"a,s\n{number},x\n")
    position: Any = {"files": {f"in/{number}.csv": etag(world, f"in/{number}.csv") for number in range(5)}}
    world.put("in/archive/4.csv", "a,s\n4,x\n")
    assert world.source.plan(world.dataset(), position, None).slices == ()
    assert set(read) == {"in/4.csv", "in/archive/4.csv"}


def test_the_same_bytes_under_another_value_of_the_path_are_other_rows(world: World) -> None:
    dataset = world.dataset(columns={"a": "int", "s": "string", "dt": "date"})
    world.put("in/dt=2026-11-20/1.csv", "a,s\n1,x\n")
    position = read_through(world, dataset, world.source.plan(dataset, None, None))
    world.put("in/dt=2026-11-21/1.csv", "a,s\n1,x\n")
    second = world.source.plan(dataset, position, None)
    assert keys(second) == [["in/dt=2026-11-21/1.csv"]]
    assert second.warnings == ()


def test_a_key_whose_content_goes_back_is_read_again(world: World) -> None:
    dataset = world.dataset()
    position = None
    for number, text in enumerate(["a,s\n1,one\n", "a,s\n1,two\n", "a,s\n1,one\n"], 1):
        world.put("in/state.csv", text)
        plan = world.source.plan(dataset, position, None)
        assert listings(plan) == {"in/state.csv": number}
        assert plan.warnings == ()
        position = read_through(world, dataset, plan)


def test_a_position_of_an_earlier_version_goes_on(world: World) -> None:
    world.put("in/1.csv", "a,s\n1,x\n")
    world.put("in/2.csv", "a,s\n2,x\n")
    dataset = world.dataset()
    position: Any = {"files": {key: etag(world, key) for key in ("in/1.csv", "in/2.csv")}}
    assert world.source.describe_position(position) == "2 files, the last in/2.csv"
    assert world.source.plan(dataset, position, None).slices == ()
    put_in_parts(world, "in/copy.csv", "a,s\n2,x\n")
    world.put("in/3.csv", "a,s\n3,x\n")
    plan = world.source.plan(dataset, position, None)
    assert listings(plan) == {"in/3.csv": 1}
    assert "in/copy.csv (as in/2.csv)" in plan.warnings[0]
    assert listings(world.source.plan(dataset, position, Window(start="2020-01-01T00:00:00Z"))) == {
        "in/1.csv": None,
        "in/2.csv": None,
        "in/3.csv": 1,
    }


def test_every_content_of_a_key_stays_known(world: World) -> None:
    dataset = world.dataset()
    position = None
    for text in ("a,s\n1,one\n", "a,s\n1,two\n", "a,s\n1,three\n"):
        world.put("in/latest.csv", text)
        position = read_through(world, dataset, world.source.plan(dataset, position, None))
    world.put("in/archive/1.csv", "a,s\n1,one\n")
    world.put("in/archive/2.csv", "a,s\n1,two\n")
    archived = world.source.plan(dataset, position, None)
    assert archived.slices == ()
    assert "in/archive/1.csv (as in/latest.csv), in/archive/2.csv (as in/latest.csv)" in archived.warnings[0]
    position = read_through(world, dataset, archived)
    # The key goes back to a content it had, regardless of copies of that content under other keys.
    world.put("in/latest.csv", "a,s\n1,two\n")
    back = world.source.plan(dataset, position, None)
    assert (keys(back), back.warnings) == ([["in/latest.csv"]], ())
    position = read_through(world, dataset, back)
    # Deleted and restored: its last content is known, one of before is a return.
    world.client.delete_object(Bucket=world.bucket, Key="in/latest.csv")
    world.put("in/5.csv", "a,s\n5,x\n")
    position = read_through(world, dataset, world.source.plan(dataset, position, None))
    world.put("in/latest.csv", "a,s\n1,two\n")
    restored = world.source.plan(dataset, position, None)
    assert restored.slices == ()
    assert "in/latest.csv (as in/latest.csv)" in restored.warnings[0]
    world.put("in/latest.csv", "a,s\n1,three\n")
    assert keys(world.source.plan(dataset, position, None)) == [["in/latest.csv"]]


def test_a_key_that_becomes_a_copy_of_another_leaves_its_content_known(world: World) -> None:
    dataset = world.dataset()
    world.put("in/k1.csv", "a,s\n1,one\n")
    world.put("in/k2.csv", "a,s\n1,two\n")
    position = read_through(world, dataset, world.source.plan(dataset, None, None))
    world.put("in/k1.csv", "a,s\n1,two\n")
    overwritten = world.source.plan(dataset, position, None)
    assert overwritten.slices == ()
    world.put("in/new.csv", "a,s\n3,new\n")
    position = read_through(world, dataset, world.source.plan(dataset, position, None))
    world.put("in/archive/k1.csv", "a,s\n1,one\n")
    moved = world.source.plan(dataset, position, None)
    assert moved.slices == ()
    assert "in/archive/k1.csv (as in/k1.csv)" in moved.warnings[0]
    # A key that was a copy, has held another content since, and holds the copy again was never read with it.
    position = read_through(world, dataset, moved)
    world.put("in/archive/k1.csv", "a,s\n4,else\n")
    position = read_through(world, dataset, world.source.plan(dataset, position, None))
    world.put("in/archive/k1.csv", "a,s\n1,one\n")
    assert world.source.plan(dataset, position, None).slices == ()


def test_contents_that_are_gone_under_an_earlier_position_stay_known(world: World) -> None:
    dataset = world.dataset()
    world.put("in/1.csv", "a,s\n1,x\n")
    world.put("in/there.csv", "a,s\n0,x\n")
    of_1 = etag(world, "in/1.csv")
    position: Any = {
        "listing": 3,
        "files": {"in/there.csv": [etag(world, "in/there.csv"), 8, 1]},
        "gone": {"in/gone.csv": [of_1, 8, 2]},
    }
    plan = world.source.plan(dataset, position, None)
    assert plan.slices == ()
    assert "in/1.csv (as in/gone.csv)" in plan.warnings[0]


def test_the_newest_contents_that_are_gone_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.s3.read_files.MOST_GONE", 2)
    dataset = world.dataset()
    position = None
    for number in range(1, 6):
        world.put("in/latest.csv", f"a,s\n{number},x\n")
        if number > 1:
            world.put(f"in/archive/{number - 1}.csv", f"a,s\n{number - 1},x\n")
        plan = world.source.plan(dataset, position, None)
        # What is archived as it is replaced is under a key: nothing is forgotten, and nothing is read twice.
        assert keys(plan) == [["in/latest.csv"]]
        assert not any("remembered" in warning for warning in plan.warnings)
        position = read_through(world, dataset, plan)
    assert len(position["gone"]) == 4
    for number in range(1, 5):
        world.client.delete_object(Bucket=world.bucket, Key=f"in/archive/{number}.csv")
    world.put("in/6.csv", "a,s\n6,x\n")
    plan = world.source.plan(dataset, position, None)
    assert plan.warnings == (
        f"4 contents have left s3://{world.bucket}, deleted or replaced, and only the last 2 are remembered: 2 of them "
        "would be read as new if they came again",
    )
    position = read_through(world, dataset, plan)
    assert len(position["gone"]) == 2
    # Contents that leave one by one are forgotten without a word.
    world.put("in/6.csv", "a,s\n7,x\n")
    assert world.source.plan(dataset, position, None).warnings == ()


def test_what_was_counted_is_known_to_another_attempt(world: World) -> None:
    dataset = world.dataset()
    put_in_parts(world, "in/1.csv", "a,s\n1,x\n")
    world.put("in/2.csv", "a,s\n2,x\n")
    plan = world.source.plan(dataset, None, None)
    assert world.source.observations(plan) == {"digests": {}}
    world.source.count(dataset, plan)
    observations = world.source.observations(plan)
    assert observations == {
        "digests": {"0": ["c70f29cb1ce545df76569d90de77a7d9", "acfcd98e4371e286ec8d41a77f0df199"]},
    }
    other = type(world.source)(world.connection)
    other.recall(plan, observations)
    assert other.position_after(plan) == world.source.position_after(plan) != plan.position


@pytest.fixture
def kms(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bucket answers as one that is encrypted with SSE-KMS: an ETag of 32 hexadecimal digits that is not the MD5,
    another one for each object ("Object", Amazon S3 API Reference). Returns the keys of HEAD and GET requests."""
    asked: list[str] = []
    real: dict[str, str] = {}

    def disguise(key: str, etag: str) -> str:
        plain = etag.strip('"')
        shown = hashlib.md5(f"{key} {plain}".encode(), usedforsecurity=False).hexdigest()
        real[shown] = plain
        return f'"{shown}"'

    def listed(parsed: Any, **_: Any) -> None:
        for entry in parsed.get("Contents", []):
            entry["ETag"] = disguise(entry["Key"], entry["ETag"])

    def requested(params: Any, **_: Any) -> None:
        asked.append(params["Key"])
        if "IfMatch" in params:
            params["IfMatch"] = real[params["IfMatch"]]

    def answered(parsed: Any, **_: Any) -> None:
        if "ETag" in parsed:
            parsed["ETag"] = disguise(asked[-1], parsed["ETag"])
            parsed["ServerSideEncryption"] = "aws:kms"

    def client(access: Access) -> Any:
        client: Any = real_client(access)
        client.meta.events.register("after-call.s3.ListObjectsV2", listed)
        for operation in ("HeadObject", "GetObject"):
            client.meta.events.register(f"provide-client-params.s3.{operation}", requested)
            client.meta.events.register(f"after-call.s3.{operation}", answered)
        return client

    real_client = Access.client
    monkeypatch.setattr(Access, "client", client)
    return asked


def test_an_etag_of_32_digits_is_not_taken_for_an_md5(world: World, kms: list[str]) -> None:
    dataset = world.dataset()
    world.put("in/1.csv", "a,s\n1,x\n")
    world.put("in/2.csv", "a,s\n2,x\n")
    # As with `reconcile: off`: nothing is counted, and no MD5 is known.
    position = world.source.plan(dataset, None, None).position
    world.put("in/archive/1.csv", "a,s\n1,x\n")
    world.put("in/3.csv", "a,s\n3,x\n")
    second = world.source.plan(dataset, position, None)
    assert keys(second) == [["in/3.csv"]]
    assert [warning for warning in second.warnings if "in/archive/1.csv (as in/1.csv)" in warning]
    assert not any("may be copies" in warning for warning in second.warnings)
    # The MD5s are kept: of known files none is asked or read again, there or gone.
    world.client.delete_object(Bucket=world.bucket, Key="in/2.csv")
    world.put("in/archive/2.csv", "a,s\n2,x\n")
    kms.clear()
    third = world.source.plan(dataset, second.position, None)
    assert third.slices == ()
    assert "in/archive/2.csv (as in/2.csv)" in third.warnings[0]
    assert set(kms) == {"in/archive/2.csv"}


def test_a_file_that_cannot_be_compared_is_named(world: World, kms: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = world.dataset()
    world.put("in/1.csv", "a,s\n1,x\n")
    uncounted = world.source.plan(dataset, None, None)
    counted = read_through(world, dataset, uncounted)
    world.client.delete_object(Bucket=world.bucket, Key="in/1.csv")
    world.put("in/archive/1.csv", "a,s\n1,x\n")
    world.put("in/longer.csv", "a,s\n1,another size\n")
    plan = world.source.plan(dataset, uncounted.position, None)
    assert keys(plan) == [["in/archive/1.csv", "in/longer.csv"]]
    assert plan.warnings == (
        f"1 files of s3://{world.bucket} may be copies of published files and are read as new: in/archive/1.csv. They "
        "have the size of such files, and there is no MD5 to compare. `reconcile: counts` takes it of files that are "
        "read; plan reads at most 1,024 MiB to take it",
    )
    known = world.source.plan(dataset, counted, None)
    assert keys(known) == [["in/longer.csv"]]
    assert "in/archive/1.csv (as in/1.csv)" in known.warnings[0]
    monkeypatch.setattr("connectors.s3.copies.MOST_COMPARED_BYTES", 7)
    too_large = world.source.plan(dataset, counted, None)
    assert keys(too_large) == [["in/archive/1.csv", "in/longer.csv"]]
    assert "may be copies of published files and are read as new: in/archive/1.csv. " in too_large.warnings[0]


def test_files_of_one_size_are_compared_without_a_warning(
    world: World, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.s3.copies.MOST_ASKED", 2)
    for number in range(4):
        world.put(f"in/{number}.csv", f"a,s\n{number},x\n")
    position: Any = {
        "listing": 1,
        "files": {f"in/{number}.csv": [etag(world, f"in/{number}.csv"), 8, 1] for number in range(4)},
        "gone": {"in/gone.csv": ["0" * 32, 8, 1]},
    }
    dataset = world.dataset()
    for number in range(4, 6):
        world.put(f"in/{number}.csv", f"a,s\n{number},x\n")
        plan = world.source.plan(dataset, position, None)
        assert (keys(plan), plan.warnings) == ([[f"in/{number}.csv"]], ())
        position = plan.position
    assert read == []
