"""Which contents a plan knows as published, and which it reads again."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.base import Window
from connectors.s3.bucket import Access, S3File, open_file
from tests.connectors.s3.bucket_world import World, etag, keys, listings, put_in_parts, read_through


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
        "in/archive/2-copied.csv (as in/2.csv). Write `copies: read` on the dataset to read them all the same",
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
