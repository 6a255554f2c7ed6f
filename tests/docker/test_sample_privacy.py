"""The sample's columns: the phone numbers are masked, and nothing else is taken for personal."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import events
import pytest
import settlements
import shop
import wallet
from world import World

from connectors.base import Column, ReadRequest
from jobs.masking.personal_data import privacy_warnings
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.spec.reader import load_pipelines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BEGAN = datetime(2026, 1, 31, 12, 0, 0)
WORLD = World(rows=2000, seed=1, began=BEGAN)
AT = BEGAN + timedelta(hours=1)


def _settlements() -> Iterable[dict[str, Any]]:
    return [record._asdict() for records in settlements.files(WORLD, AT).values() for record in records]


def _events() -> Iterable[dict[str, Any]]:
    return [json.loads(message.value) for message in events.messages(WORLD, AT) if not message.is_bad]


ROWS: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
    "payments": lambda: [row._asdict() for row in shop.payments(WORLD, AT)],
    "merchants": lambda: [row._asdict() for row in shop.merchants(WORLD, AT)],
    "balance_entries": lambda: [row._asdict() for row in wallet.entries(WORLD, AT)],
    "settlements": _settlements,
    "app_events": _events,
}


class _Sampled:
    """A source that shows every row of the sample."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def sample(self, _: ReadRequest, columns: Sequence[str], limit: int) -> list[tuple[str | None, ...]]:
        return [tuple(None if row[c] is None else str(row[c]) for c in columns) for row in self.rows[:limit]]


def _warnings(name: str, hidden: frozenset[str]) -> tuple[str, ...]:
    rows = list(ROWS[name]())
    types = {
        column: "bigint" if isinstance(rows[0][column], int) and column != "is_bad" else "string" for column in rows[0]
    }
    columns = [Column(name=column, source_type="sample", spark_type=kind) for column, kind in types.items()]
    return privacy_warnings(_Sampled(rows), ReadRequest("p", name, (), object(), hidden), columns)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(ROWS))
def test_no_false_warning(name: str) -> None:
    specs, _ = load_pipelines(CHECKOUT / "dags" / "pipelines")
    [dataset] = [dataset for spec in specs.values() for dataset in spec.datasets if dataset.name == name]
    assert _warnings(name, frozenset(dataset.mask)) == ()


def test_unmasked_the_phone_numbers_would_be_told() -> None:
    [told] = _warnings("payments", frozenset())
    assert told.startswith("column payments.phone looks like phone numbers (")
