"""One broken file breaks only itself: a pipeline's YAML, a suite, a view's SQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.errors import SpecError
from connectors.yaml.text_files import LARGEST_BYTES
from jobs.spec.reader import load_pipeline, load_pipelines, read_spec
from tests.support.suites import load_suite
from tests.support.views import checked_sql

GOOD = """\
pipeline: {name}
source: {{type: aurora, connection: c}}
datasets:
  - name: {name}
    table: shop.{name}
    primary_key: [id]
    write_disposition: merge
    bigquery: {{table: shop.{name}}}
"""


def good(folder: Path) -> None:
    (folder / "good.yaml").write_text(GOOD.format(name="good"))


def write(content: bytes | str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode()) and None


def nine_levels_of_aliases() -> str:
    levels = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return "pipeline: x\n" + "\n".join(levels) + "\n"


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "CP932": (
        write("pipeline: x\ndescription: 売上\n".encode("cp932")),
        r"x\.yaml:2: the file is not UTF-8 \(byte 0x94 in line 2\)\. Save the file in UTF-8",
    ),
    "UTF-16": (write("pipeline: x\n".encode("utf-16")), r"x\.yaml:1: .*not UTF-8 .*it begins as UTF-16"),
    "UTF-16 without a mark": (write("pipeline: x\n".encode("utf-16-le")), r"x\.yaml:1: .*NUL character"),
    "AppleDouble": (write(bytes.fromhex("00051607000200 00b0")), r"x\.yaml:1: .*begins as AppleDouble"),
    "a broken link": (lambda path: path.symlink_to("gone.yaml"), r"x\.yaml: .*symbolic link to a file that does not"),
    "a link to itself": (lambda path: path.symlink_to(path.name), r"x\.yaml: the file cannot be read"),
    "a folder": (lambda path: path.mkdir(), r"x\.yaml: this is a folder, and a text file is expected"),
    "a named pipe": (os.mkfifo, r"x\.yaml: this is a named pipe"),
    "a file that refuses to be read": (
        lambda path: path.symlink_to("/proc/self/mem"),
        r"x\.yaml: the file cannot be read: Input/output error",
    ),
    "a device": (lambda path: path.symlink_to("/dev/zero"), r"x\.yaml: this is a device"),
    "brackets": (write("[" * 3000), r"x\.yaml:1: values are nested more than 50 levels deep"),
    "brackets on lines": (write("[\n" * 3000), r"x\.yaml:51: values are nested more than 50 levels deep"),
    "nested mappings": (write("{a: " * 3000), r"x\.yaml:1: values are nested more than 50 levels deep"),
    "nested dashes": (write("- " * 3000 + "1"), r"x\.yaml:1: values are nested more than 50 levels deep"),
    "a list in itself": (write("pipeline: x\nx: &x [*x]\n"), r"x\.yaml:2: alias \*x stands inside the value that &x"),
    "a mapping in itself": (write("pipeline: x\nx: &x {a: *x}\n"), r"x\.yaml:2: alias \*x stands inside"),
    "a merge of itself": (write("pipeline: x\nx: &x\n  <<: *x\n"), r"x\.yaml:3: alias \*x stands inside"),
    "aliases that grow": (write(nine_levels_of_aliases()), r"x\.yaml:7: there are more than 200,000 values"),
    "aliases that deepen": (
        write("a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))),
        r"x\.yaml:50: values are nested more than 50 levels deep",
    ),
    "an unknown alias": (write("pipeline: *x\n"), r"x\.yaml:1: not YAML: found undefined alias"),
    "a tab": (write("pipeline: x\nsource:\n\ttype: aurora\n"), r"x\.yaml:3: not YAML"),
    "a control character": (write("pipeline: x\ndescription: a\x07b\n"), r"x\.yaml:2: not YAML: the character U\+0007"),
    "a list as a key": (write("pipeline: x\n? [a]\n: b\n"), r"x\.yaml:2: a key must be text"),
    "no date": (write("pipeline: x\ndescription: 2026-02-30\n"), r"x\.yaml:2: 2026-02-30 is not a date .*Quote it"),
    "a Python object": (write("pipeline: !!python/name:os.system x\n"), r"x\.yaml:1: the tag .* is not supported"),
    "a tag that fails": (write("pipeline: !!int x\n"), r"x\.yaml:1: the tag !!int is not supported"),
    "two documents": (write("pipeline: x\n---\npipeline: y\n"), r"x\.yaml:2: not YAML"),
    "nothing": (write(""), r"x\.yaml: a pipeline is a mapping"),
    "comments only": (write("# nothing\n"), r"x\.yaml: a pipeline is a mapping"),
    "a scalar": (write("pipeline\n"), r"x\.yaml: a pipeline is a mapping"),
    "too many bytes": (write("#" * (LARGEST_BYTES + 1)), r"x\.yaml: the file has 1,048,577 bytes"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.timeout(15)
def test_a_broken_pipeline_breaks_only_itself(tmp_path: Path, kind: str) -> None:
    good(tmp_path)
    make, message = BROKEN[kind]
    make(tmp_path / "x.yaml")
    specs, broken = load_pipelines(tmp_path)
    assert list(specs) == ["good"]
    assert [path.name for path in broken] == ["x.yaml"]
    with pytest.raises(SpecError, match=message):
        raise broken[tmp_path / "x.yaml"]
    assert load_pipeline(tmp_path, "good").pipeline == "good"
    with pytest.raises(SpecError, match=message):
        load_pipeline(tmp_path, "x")


def test_what_editors_and_file_systems_leave_is_not_read(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "._good.yaml").write_bytes(bytes.fromhex("00051607000200 00b0"))
    (tmp_path / ".#good.yaml").symlink_to("root@host.1234")
    (tmp_path / ".good.yaml.swp").write_bytes(b"b0VIM")
    (tmp_path / "good.yaml~").write_text("pipeline: [")
    (tmp_path / "#good.yaml#").write_text("pipeline: [")
    (tmp_path / "..data").mkdir()
    assert load_pipelines(tmp_path) == ({"good": load_pipeline(tmp_path, "good")}, {})


@pytest.mark.parametrize("name", ["pay.yml", "pay.YAML", "pay.YML"])
def test_another_ending_is_refused_by_name(tmp_path: Path, name: str) -> None:
    good(tmp_path)
    (tmp_path / name).write_text(GOOD.format(name="pay"))
    specs, broken = load_pipelines(tmp_path)
    assert list(specs) == ["good"]
    words = f"{name}: a pipeline's file ends in .yaml. Rename it to pay.yaml, or remove it."
    assert [str(error) for error in broken.values()] == [words]
    with pytest.raises(SpecError, match=r"Rename it to pay\.yaml"):
        load_pipeline(tmp_path, "pay")


def test_beside_a_yaml_file_the_other_ending_breaks_nothing(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "good.yml").write_text("pipeline: [")
    assert load_pipeline(tmp_path, "good").pipeline == "good"


def test_a_name_that_is_not_utf_8_can_be_printed(tmp_path: Path) -> None:
    good(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\x94\x84.yaml")).write_text(GOOD.format(name="x"))
    specs, broken = load_pipelines(tmp_path)
    assert list(specs) == ["good"]
    [error] = broken.values()
    words = rb"\x94\x84.yaml:1: pipeline is 'x' in a file named \x94\x84.yaml"
    assert str(error).encode("utf-8").startswith(words)


def test_what_is_healthy_is_read(tmp_path: Path) -> None:
    text = GOOD.format(name="x").replace("[id]", "&key [id]") + "  - {<<: {}, name: y, table: shop.y, "
    text += "primary_key: *key, write_disposition: merge, bigquery: {table: shop.y}}\n"
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "x.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    (tmp_path / "x.yaml").symlink_to("shared/x.yaml")
    specs, broken = load_pipelines(tmp_path)
    assert broken == {}
    assert [dataset.primary_key for dataset in specs["x"].datasets] == [["id"], ["id"]]


def test_a_pipeline_of_a_thousand_datasets_is_read(tmp_path: Path) -> None:
    entry = "  - {{name: d{n}, table: shop.d{n}, primary_key: [id], cursor: updated_at, lag_seconds: 300, "
    entry += "write_disposition: merge, bigquery: {{table: shop.d{n}, cluster_by: [id]}}}}\n"
    text = "pipeline: many\nsource: {type: aurora, connection: c}\ndatasets:\n"
    (tmp_path / "many.yaml").write_text(text + "".join(entry.format(n=n) for n in range(1000)))
    assert len(read_spec(tmp_path / "many.yaml").datasets) == 1000


RULE = "rows:\n  - expect_column_values_to_not_be_null: {column: 売上}\n"
SUITES: dict[str, tuple[Callable[[Path], None], str]] = {
    "CP932": (write(RULE.encode("cp932")), r"x\.yaml:2: the file is not UTF-8"),
    "UTF-16": (write(RULE.encode("utf-16")), r"x\.yaml:1: .*it begins as UTF-16"),
    "a folder": (lambda path: path.mkdir(), r"x\.yaml: this is a folder"),
    "a broken link": (lambda path: path.symlink_to("gone"), r"x\.yaml: .*symbolic link to a file that does not exist"),
    "a named pipe": (os.mkfifo, r"x\.yaml: this is a named pipe"),
    "brackets": (write("[" * 3000), r"x\.yaml:1: values are nested more than 50 levels deep"),
    "a list in itself": (write("rows: &x [*x]\n"), r"x\.yaml:1: alias \*x stands inside"),
    "another ending": (
        lambda path: path.with_suffix(".yml").write_text(RULE) and None,
        r"x\.yml: no expectations 'x' in .*Rename it to x\.yaml",
    ),
}


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.timeout(15)
def test_a_broken_suite_is_named_with_its_cause(tmp_path: Path, kind: str) -> None:
    make, message = SUITES[kind]
    make(tmp_path / "x.yaml")
    with pytest.raises(SpecError, match=message):
        load_suite(tmp_path, "x", None)


def test_a_suite_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + RULE.encode())
    assert load_suite(tmp_path, "x", None).rows[0].expectation.columns() == {"column": "売上"}


QUERY = "SELECT id AS `番号` FROM shop.good"
VIEWS: dict[str, tuple[Callable[[Path], None], str]] = {
    "CP932": (write(("\n" + QUERY).encode("cp932")), r"v\.sql:2.*: the file is not UTF-8 \(byte 0x94 in line 2\)"),
    "UTF-16": (write(QUERY.encode("utf-16")), r"v\.sql:1.*it begins as UTF-16"),
    "a folder": (lambda path: path.mkdir(), r"v\.sql.*: this is a folder"),
    "a broken link": (lambda path: path.symlink_to("gone"), r"v\.sql.*: .*symbolic link to a file that does not exist"),
    "a named pipe": (os.mkfifo, r"v\.sql.*: this is a named pipe"),
    "nothing there": (lambda path: None, r"no file v\.sql|v\.sql: the file cannot be read: No such file"),
}


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.timeout(15)
def test_a_broken_view_is_named_when_its_pipeline_is_read(tmp_path: Path, kind: str) -> None:
    good(tmp_path)
    text = GOOD.format(name="p") + "views:\n  - {name: shop.v, sql: v.sql}\n"
    (tmp_path / "p.yaml").write_text(text)
    make, message = VIEWS[kind]
    make(tmp_path / "v.sql")
    specs, broken = load_pipelines(tmp_path)
    assert list(specs) == ["good"]
    with pytest.raises(SpecError, match=message) as caught:
        raise broken[tmp_path / "p.yaml"]
    assert "view shop.v" in str(caught.value)
    assert "p.yaml:10" in str(caught.value)
    with pytest.raises(SpecError, match=message):
        checked_sql(tmp_path / "v.sql")


def test_a_query_that_is_nested_too_deep_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.sql").write_text(f"SELECT {'(' * 5000}1{')' * 5000} AS one FROM shop.good")
    with pytest.raises(SpecError, match=r"v\.sql: .*nested too deep"):
        checked_sql(tmp_path / "v.sql")


def test_a_view_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "v.sql").write_bytes(b"\xef\xbb\xbf" + QUERY.encode())
    assert checked_sql(tmp_path / "v.sql") == QUERY
