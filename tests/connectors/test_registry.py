"""Sources by entry point: real distributions in a folder on the path, each with the metadata that pip would install."""

from __future__ import annotations

import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors import registry
from connectors.capabilities import KeyScanSource
from connectors.errors import SpecError
from jobs.spec.reader import read_spec
from tests.support.ledger_source import WHOLE

CHECKOUT = Path(__file__).parents[2]
SPEC = """\
pipeline: books
schedule: "@daily"
source:
  type: ledger
  connection: books
datasets:
  - name: entries
    path: in/
    primary_key: [id]
    write_disposition: append
    bigquery: {table: books.entries}
"""

Installed = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """Puts a distribution with one module and one entry point on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set[str]()

    def add(distribution: str, module: str, code: str = WHOLE, name: str = "ledger", attribute: str = "Ledger") -> None:
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[lakeferry.sources]\n{name} = {module}:{attribute}\n")
        modules.add(module)

    _forget()
    yield add
    _forget()
    for module in modules:
        sys.modules.pop(module, None)


def _forget() -> None:
    registry.source_class.cache_clear()
    registry._offered.cache_clear()


def test_a_pipeline_finds_a_source_of_another_distribution(install: Installed, tmp_path: Path) -> None:
    install("lakeferry-ledger", "ledger_source")
    (tmp_path / "books.yaml").write_text(SPEC)
    spec = read_spec(tmp_path / "books.yaml")
    assert spec.source_options(spec.datasets[0]).model_dump() == {"path": "in/"}
    assert registry.source_types() == ["aurora", "kafka", "ledger", "s3", "tidb"]
    assert registry.source_types(KeyScanSource) == ["aurora", "tidb"]


def test_an_unknown_type_has_its_line_and_the_nearest(install: Installed, tmp_path: Path) -> None:
    install("lakeferry-ledger", "ledger_source")
    (tmp_path / "books.yaml").write_text(SPEC.replace("type: ledger", "type: ledgr"))
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "books.yaml")
    assert str(caught.value).endswith(
        "books.yaml:4: unknown source type 'ledgr'. Valid: aurora, kafka, ledger, s3, tidb. Did you mean ledger?"
    )


def test_a_distribution_does_not_replace_a_built_in_type(install: Installed) -> None:
    install("other-kafka", "other_kafka", name="kafka")
    assert registry.source_class("kafka").__module__ == "connectors.kafka.source"


@pytest.mark.parametrize(
    ("code", "attribute", "problem"),
    [
        ("import not_installed_anywhere", "Ledger", "cannot be imported: ModuleNotFoundError: No module named 'not_in"),
        ("raise SystemExit(3)", "Ledger", "cannot be imported: SystemExit: 3"),
        (WHOLE, "Leger", "cannot be imported: AttributeError: module 'ledger_source' has no attribute 'Leger'"),
        ("Ledger = 1", "Ledger", "is not a subclass of connectors.base.Source"),
        ("class Ledger: pass", "Ledger", "is not a subclass of connectors.base.Source"),
        (WHOLE.replace("Options = Options", ""), "Ledger", "has no Options, a subclass of connectors.base.SourceOptio"),
        (WHOLE.replace("def count", "def counted"), "Ledger", "does not implement count."),
        (
            WHOLE.replace("path: str", "path: str\n        rows_name_their_place: ClassVar[bool] = True").replace(
                "from connectors", "from typing import ClassVar\n    from connectors", 1
            ),
            "Ledger",
            "has identity_columns where Options.rows_name_their_place is true, and nowhere else",
        ),
        (
            WHOLE.replace("def ping", "def slice_reader(self, dataset, plan): ...\n        def ping"),
            "Ledger",
            "has slice_reader and lacks slices_at_once (ArrowSource)",
        ),
    ],
)
def test_what_is_no_whole_source_names_its_distribution(
    install: Installed, code: str, attribute: str, problem: str
) -> None:
    install("lakeferry-ledger", "ledger_source", code, attribute=attribute)
    with pytest.raises(SpecError) as caught:
        registry.source_class("ledger")
    assert "source type 'ledger'" in str(caught.value)
    assert "lakeferry-ledger 1.2" in str(caught.value)
    assert problem in str(caught.value)


def test_two_distributions_of_one_name_are_both_named(install: Installed) -> None:
    install("lakeferry-ledger", "ledger_source")
    install("acme-ledger", "acme_source")
    with pytest.raises(SpecError, match=r"2 .* offer .* 'ledger': acme-ledger 1\.2 and lakeferry-ledger 1\.2"):
        registry.source_class("ledger")


def test_entry_points_are_read_once_and_only_for_types_that_are_not_built_in(
    install: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("lakeferry-ledger", "ledger_source")
    read, scans = registry.entry_points, list[str]()
    monkeypatch.setattr(registry, "entry_points", lambda *, group: scans.append(group) or read(group=group))
    for source_type in ("aurora", "kafka", "s3", "tidb"):
        registry.source_class(source_type)
    assert scans == []
    for _ in range(1000):
        registry.source_class("ledger")
        with pytest.raises(SpecError):
            registry.source_class("unknown")
    assert scans == ["lakeferry.sources"]


def test_the_built_in_sources_are_declared_as_entry_points() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["lakeferry.sources"] == registry.SOURCES
