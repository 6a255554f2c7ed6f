"""What a source may offer beyond `Source`: one small protocol per capability.

A source has a capability if its class has all methods of the protocol. It may name the protocol as a base class, which
lets mypy compare the signatures. Test with `isinstance(source, ArrowSource)`, or with `issubclass` without opening it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from connectors.base import FingerprintOf, KeyScanPlan, ReadPlan, ReadRequest, SliceReader


@runtime_checkable
class ArrowSource(Protocol):
    """Slices can be read as Arrow columns in Spark's tasks, without Spark's rows. Such a read costs about a third."""

    @abstractmethod
    def slice_reader(
        self, dataset: ReadRequest, plan: ReadPlan, fingerprint: FingerprintOf = "nothing", counted: bool = True
    ) -> SliceReader:
        """Returns what reads the plan's slices. It is made where the plan is known.

        Args:
            counted: ask the server for the rows of each slice, too.

        Raises:
            SourceMoved: see `Source.read`.
        """
        ...

    @abstractmethod
    def slices_at_once(self) -> int:
        """Returns how many slices a `slice_reader` may read at once, if nothing else reads."""
        ...


@runtime_checkable
class KeyScanSource(Protocol):
    """Deleted rows can be found by reading all keys: what `deletes: sweep` needs."""

    @abstractmethod
    def plan_key_scan(self, dataset: ReadRequest, plan: ReadPlan) -> KeyScanPlan:
        """Freezes how all keys are read, at the snapshot of `plan` if it has one. Control plane."""
        ...


@runtime_checkable
class SamplingSource(Protocol):
    """Planning can look at some values, to warn of personal data that no mask covers."""

    @abstractmethod
    def sample(self, dataset: ReadRequest, columns: Sequence[str], limit: int) -> list[tuple[str | None, ...]]:
        """Returns text of these columns from at most `limit` rows if that is cheap, otherwise nothing. Control
        plane."""
        ...


CAPABILITIES: tuple[type, ...] = (ArrowSource, KeyScanSource, SamplingSource)


def members(capability: type) -> frozenset[str]:
    """Returns the names of the methods that make up a capability."""
    return frozenset(name for name in vars(capability) if not name.startswith("_"))
