"""Tables of keys list the keys of the models behind the YAML, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from connectors.kafka.source import KafkaOptions
from connectors.mysql.options import MySQLOptions
from connectors.s3.options import S3Options
from jobs.spec.bigquery_table import WarehouseSpec
from jobs.spec.models import DatasetSpec, PipelineSpec

_DOCS = Path(__file__).parents[2] / "docs"
# `file` and `options` are no keys; `inputs` and `transform` are those of derived datasets, in derived.md.
_NO_KEYS = {"PipelineSpec": {"file"}, "DatasetSpec": {"options", "inputs", "transform"}}


@pytest.mark.parametrize(
    ("document", "section", "model"),
    [
        ("reference/files.md", "# Files of pipelines", PipelineSpec),
        ("reference/files.md", "## Keys of every dataset", DatasetSpec),
        ("how-to/tables.md", "# Tables of", MySQLOptions),
        ("how-to/tables.md", "## In BigQuery", WarehouseSpec),
        ("how-to/topics.md", "# Topics of", KafkaOptions),
        ("how-to/csv.md", "# CSV files", S3Options),
    ],
)
def test_every_key_is_documented(document: str, section: str, model: type[BaseModel]) -> None:
    fields = {
        field.alias or name
        for name, field in model.model_fields.items()
        if name not in _NO_KEYS.get(model.__name__, set())
    }
    assert set(_keys(document, section)) == fields


def _keys(document: str, section: str) -> list[str]:
    """The first cells of the first table behind a heading, whose header begins with `key`."""
    text = (_DOCS / document).read_text(encoding="utf-8")
    table = text[text.index(f"{section}") :].split("\n| key", 1)[1].split("\n\n", 1)[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    return [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]
