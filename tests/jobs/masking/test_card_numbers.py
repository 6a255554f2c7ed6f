"""`mask: truncate` keeps four digits of card numbers, and nothing of anything else."""

from __future__ import annotations

import pyarrow as pa
import pytest

from jobs.masking.card_numbers import last_four, last_four_array


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("4111111111111234", "1234"),
        ("4111 1111-1111\u30fc1234", "1234"),
        ("４１１１１１１１１１１１１２３４", "1234"),
        ("123456789012", "9012"),
        ("1234567890123456789", "6789"),
        ("12345678901", None),
        ("12345678901234567890", None),
        ("4111111111111234 cvc 123", None),
        ("４１１１/1111/1111/1234", None),
        ("", None),
    ],
)
def test_card_numbers_and_what_is_none(text: str, kept: str | None) -> None:
    assert last_four(text) == kept


def test_numbers_and_nulls_of_a_column() -> None:
    cards = pa.array([4111111111111234, None, 12])
    assert last_four_array(cards).to_pylist() == ["1234", None, None]
