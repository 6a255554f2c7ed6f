"""Sizes as people write and read them."""

from __future__ import annotations

import pytest

from connectors.bigquery.cost import bytes_of, bytes_text


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (10485760, 10485760),
        ("10485760", 10485760),
        ("10 GB", 10_000_000_000),
        ("10gib", 10_737_418_240),
        ("1.5 TB", 1_500_000_000_000),
        ("500_000 KB", 500_000_000),
        ("90071992547409.93 MB", 90071992547409930000),
    ],
)
def test_a_size_is_bytes_or_a_text_with_a_unit(written: object, size: int) -> None:
    assert bytes_of(written) == size


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        *((written, "a size is") for written in ("ten", "10 apples", "-1 GB", 1.5, None, True, "")),
        ("1 MB", "at least 10 MiB"),
        (0, "at least 10 MiB"),
    ],
)
def test_what_is_no_size_or_less_than_anything_costs_is_refused(written: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        bytes_of(written)


def test_sizes_are_told_with_the_digits_that_matter() -> None:
    assert [bytes_text(size) for size in (0, 999, 1000, 12_345_678_901, 2 * 10**15)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "12.3 GB",
        "2 PB",
    ]
