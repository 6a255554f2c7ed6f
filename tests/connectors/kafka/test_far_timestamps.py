"""Ranges of offsets are parted where a timestamp is beyond what Spark can read."""

from __future__ import annotations

from connectors.kafka.cluster import OffsetRange
from connectors.kafka.far_timestamps import parted


def test_each_range_is_cut_at_the_first_far_offset_of_its_partition() -> None:
    ranges = [OffsetRange(0, 0, 10, 1), OffsetRange(0, 10, 20, 2), OffsetRange(0, 20, 30, 3), OffsetRange(1, 5, 9, 3)]
    near, far = parted(ranges, {0: 15, 1: 9})
    assert near == [OffsetRange(0, 0, 10, 1), OffsetRange(0, 10, 15, 2), OffsetRange(1, 5, 9, 3)]
    assert far == [OffsetRange(0, 15, 20, 2), OffsetRange(0, 20, 30, 3)]


def test_an_older_far_record_makes_the_whole_range_far() -> None:
    """The index names the first such record of a partition only: later ones may lie anywhere behind it."""
    assert parted([OffsetRange(0, 10, 20, 1)], {0: 3}) == ([], [OffsetRange(0, 10, 20, 1)])
