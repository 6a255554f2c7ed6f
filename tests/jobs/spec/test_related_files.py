"""A run reads its own pipeline and those files that may share a name with it, not the whole folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connectors.errors import SpecError
from jobs.spec import reader as spec_reader
from jobs.spec.reader import load_pipeline

TEXT = """\
pipeline: {name}
source: {{type: aurora, connection: c}}
datasets:
  - name: {dataset}
    table: s.t
    primary_key: [id]
    write_disposition: merge
    bigquery: {{table: shop.{table}}}
"""


def write(folder: Path, name: str, dataset: str, table: str) -> None:
    (folder / f"{name}.yaml").write_text(TEXT.format(name=name, dataset=dataset, table=table))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read as pipelines."""
    names: list[str] = []
    whole = spec_reader.read_spec

    def noted(path: Path) -> object:
        names.append(path.name)
        return whole(path)

    monkeypatch.setattr(spec_reader, "read_spec", noted)
    return names


def test_of_a_large_folder_one_file_is_read(tmp_path: Path, read: list[str]) -> None:
    for number in range(30):
        write(tmp_path, f"p{number:02d}", f"d{number:02d}", f"t{number:02d}")
    assert load_pipeline(tmp_path, "p07").pipeline == "p07"
    assert set(read) == {"p07.yaml"}


@pytest.mark.parametrize(
    ("dataset", "table"),
    [
        ("taken", "mine"),
        ("'taken'", "mine"),
        ('"t\\x61ken"', "mine"),
        ('"ta\\\n      ken"', "mine"),
        ("own", "taken"),
        ("&name taken", "mine"),
    ],
)
def test_a_name_that_another_file_has_is_refused_however_it_is_written(
    tmp_path: Path, dataset: str, table: str
) -> None:
    write(tmp_path, "a", dataset, table)
    write(tmp_path, "z", "taken", "taken")
    with pytest.raises(SpecError, match="taken"):
        load_pipeline(tmp_path, "z")


def test_files_that_cannot_be_looked_into_stop_no_other_pipeline(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to("gone.yaml")
    write(tmp_path, "z", "z", "z")
    assert load_pipeline(tmp_path, "z").pipeline == "z"


def test_a_pipeline_finds_the_dataset_it_follows(tmp_path: Path, read: list[str]) -> None:
    write(tmp_path, "a", "followed", "a")
    write(tmp_path, "b", "b", "b")
    text = "pipeline: z\nschedule: {{after: [{0}]}}\ndatasets:\n  - name: z\n    inputs: [followed]\n"
    text += "    transform: m:f\n    write_disposition: replace\n    bigquery: {{table: mart.z}}\n"
    (tmp_path / "z.yaml").write_text(text.format("followed"))
    assert load_pipeline(tmp_path, "z").pipeline == "z"
    assert set(read) == {"a.yaml", "z.yaml"}
    (tmp_path / "z.yaml").write_text(text.format("folowed"))
    with pytest.raises(SpecError, match="Did you mean followed"):
        load_pipeline(tmp_path, "z")
