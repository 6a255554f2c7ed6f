"""The position of a topic, and the offsets from which its read continues: no gap between the two stays unreported.

A position is `{"topic_id": …, "offsets": {"0": 123, …}, "leader_epochs": {"0": 4, …}}`: the next offset of each
partition, and the leader epoch of the log's end when the offset was recorded. A position of an earlier version has no
epochs, and neither has a partition whose broker names none. Their logs are compared by offsets alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from connectors.errors import DataError
from connectors.kafka.cluster import Cluster, End, Topic
from connectors.kafka.probes import Reached, truncated

_NEW_NAME = "Give the dataset a new name, so that it begins again in the lake and in the warehouse"


def position_at(topic: Topic, ends: Mapping[int, End]) -> dict[str, JsonValue]:
    """Returns the position of a plan that reads up to these ends."""
    epochs: dict[str, JsonValue] = {str(p): end.leader_epoch for p, end in ends.items() if end.leader_epoch is not None}
    offsets: dict[str, JsonValue] = {str(p): end.offset for p, end in ends.items()}
    position: dict[str, JsonValue] = {"topic_id": topic.id, "offsets": offsets}
    return position | ({"leader_epochs": epochs} if epochs else {})


@dataclass(frozen=True)
class Start:
    """Finds the offsets from which a topic's read continues. `first` are the oldest offsets that retention has left.
    `losses_accepted`: messages that retention took before they were read are a warning and not an error."""

    cluster: Cluster
    topic: Topic
    first: Mapping[int, int]
    ends: Mapping[int, End]
    losses_accepted: bool

    def offsets(self, position: Mapping[str, JsonValue] | None) -> tuple[dict[int, int], list[str]]:
        """Returns the offset from which each partition is read, and warnings. Without a position it is the oldest one.

        Raises:
            DataError: messages after the position, or before the first read of a new partition, are gone; the log no
                longer holds the messages before the position; the topic was deleted and created again.
        """
        if position is None:
            return dict(self.first), []
        if position.get("topic_id") not in (None, self.topic.id):
            raise DataError(
                f"topic {self.topic.name!r} was deleted and recreated since the last run: its offsets begin again, and "
                "its messages would be mistaken for those already in the lake",
                fix=_NEW_NAME,
            )
        reached = _numbers(position["offsets"])
        self._check_not_truncated(reached, _numbers(position.get("leader_epochs", {})))
        warnings = []
        start = {p: reached.get(p, 0) for p in self.topic.partitions}
        for p in self.topic.partitions:
            if start[p] < self.first[p]:
                warnings.append(self._lost(p, start[p], is_new=p not in reached))
                start[p] = self.first[p]
        return start, warnings

    def _lost(self, partition: int, start: int, *, is_new: bool) -> str:
        """Returns the warning that retention removed messages before they were read.

        Raises:
            DataError: such losses are not accepted.
        """
        first, end = self.first[partition], self.ends[partition].offset
        problem = f"topic {self.topic.name!r} partition {partition}: the next message is offset {start}, "
        if is_new:
            problem = f"topic {self.topic.name!r} partition {partition} is new and was never read, "
        problem += f"the topic has {first} to {end}"
        if not self.losses_accepted:
            raise DataError(
                f"{problem}: retention took {first - start} offsets before they were read",
                fix="To go on without them, set `lost_messages: accept` on the dataset for one run; "
                "to keep it from happening again, lengthen the topic's retention.ms or run more often",
            )
        return f"{problem}: {first - start} offsets are lost, accepted by lost_messages: accept"

    def _check_not_truncated(self, reached: Mapping[int, int], epochs: Mapping[int, int]) -> None:
        """Refuses a log that lost messages that were read: its offsets are, or will be, those of other messages.

        Only a new leader can lack messages, so the broker is asked only if there is a new one.
        """
        for p, offset in reached.items():
            if p in self.ends and offset > self.ends[p].offset:
                raise self._truncation(p, offset, self.ends[p].offset)
        changed = {
            p: Reached(reached[p], epoch)
            for p, epoch in epochs.items()
            if p in self.ends and p in reached and self.ends[p].leader_epoch not in (None, epoch)
        }
        for p, end in truncated(self.cluster, self.topic, changed).items() if changed else ():
            # If retention took the messages, the oldest offset is greater than the position; that is another matter.
            if reached[p] >= self.first[p]:
                raise self._truncation(p, reached[p], end)

    def _truncation(self, partition: int, reached: int, end: int) -> DataError:
        return DataError(
            f"topic {self.topic.name!r} partition {partition}: messages up to offset {reached} were read, and the log "
            f"that held them now ends at offset {end}: the broker lost {reached - end} offsets, and will give them "
            "to other messages",
            fix="A replica without these messages became leader (unclean.leader.election.enable), or a broker was "
            f"restored from an older copy, or the connection names another cluster: correct it. Otherwise: {_NEW_NAME}",
        )


def _numbers(value: JsonValue) -> dict[int, int]:
    return {int(p): int(cast("int", at)) for p, at in cast("dict[str, JsonValue]", value).items()}
