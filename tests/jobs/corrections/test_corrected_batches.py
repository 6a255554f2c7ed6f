"""Corrections in the log: rows leave the batch that published them, and count in the one that sets them aside."""

from __future__ import annotations

from jobs.lake.batch_log import PublishedBatch, batch_of, corrected_batches
from jobs.stages.check.rejected_share import rejected_in_a_row


def _sealed(number: int, rows: int, quarantined: int = 0, **more: str) -> PublishedBatch:
    properties = {
        "lakeferry.batch": str(number),
        "lakeferry.run-id": f"run {number}",
        "lakeferry.generation": "1",
        "lakeferry.rows": str(rows),
        "lakeferry.quarantined": str(quarantined),
        **{f"lakeferry.{name.replace('_', '-')}": value for name, value in more.items()},
    }
    return batch_of(properties, 100 + number, 0)


def test_a_batch_without_the_property_corrects_nothing() -> None:
    batch = _sealed(1, 10)
    assert (batch.corrects, batch.corrected) == ({}, 0)


def test_corrections_of_one_batch_add_up() -> None:
    sealed = [
        _sealed(1, 10, 1),
        _sealed(2, 5),
        _sealed(3, 0, 2, corrects='{"1": 2}', moved_position="false"),
        _sealed(4, 0, 3, corrects='{"1": 3}', moved_position="false"),
    ]
    found = corrected_batches(reversed(sealed))
    assert [(b.batch, b.rows, b.quarantined, b.corrected) for b in found] == [
        (1, 5, 1, 5),
        (2, 5, 0, 0),
        (3, 0, 2, 0),
        (4, 0, 3, 0),
    ]
    assert sum(b.rows + b.quarantined for b in found) == 10 + 1 + 5
    assert [b.reads_on for b in found] == [True, True, False, False]


def test_a_correction_of_a_batch_that_is_gone_from_the_log_changes_no_other() -> None:
    [batch, correction] = corrected_batches([_sealed(2, 5), _sealed(3, 0, 2, corrects='{"1": 2}')])
    assert (batch.rows, correction.corrects) == (5, {1: 2})


def test_a_correction_is_no_batch_of_which_every_row_was_rejected() -> None:
    rejected = [
        _sealed(1, 10, accepted_rows="10", refused_rows="0"),
        _sealed(2, 0, 4, accepted_rows="0", refused_rows="4"),
        _sealed(3, 0, 9, corrects='{"1": 9}'),
        _sealed(4, 0, 3, accepted_rows="0", refused_rows="3"),
    ]
    assert rejected_in_a_row(corrected_batches(rejected)) == 7
    emptied = [
        _sealed(1, 0, 4, accepted_rows="0", refused_rows="4"),
        _sealed(2, 6, 1, accepted_rows="6", refused_rows="1"),
        _sealed(3, 0, 6, corrects='{"2": 6}'),
    ]
    assert rejected_in_a_row(corrected_batches(emptied)) == 0
