"""A limit on the connections of one process to a source.

`max_connections` in a connection's extras is the limit; the default is 4. The driver of a Spark application is one
process, and it decides which tasks read at once. So the limit holds for all datasets and pipelines of the application,
wherever its executors run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock, local

from connectors.connection import Connection, variable_name
from connectors.errors import ConfigurationError

DEFAULT_MAX_CONNECTIONS = 4

_budgets: dict[tuple[str, str, int], ConnectionBudget] = {}
_lock = Lock()


class ConnectionBudget:
    """Permits to connect, served in the order in which they are asked for."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = most
        self._waiting: deque[object] = deque()
        self._changed = Condition()
        self._own = local()

    @contextmanager
    def taken(self, wanted: int = 1) -> Iterator[int]:
        """Holds up to `wanted` permits: as many as are free, at least one. Waits until one is free.

        A thread that already holds permits goes on with these: it does its work one step after the other.
        """
        own_permits: int = getattr(self._own, "permits", 0)
        if own_permits:
            yield own_permits
            return
        with self._changed:
            turn = object()
            self._waiting.append(turn)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is turn and self._free > 0)
                permits = min(max(wanted, 1), self._free)
                self._free -= permits
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
        self._own.permits = permits
        try:
            yield permits
        finally:
            self._own.permits = 0
            with self._changed:
                self._free += permits
                self._changed.notify_all()


def budget_of(connection: Connection) -> ConnectionBudget:
    """Returns the budget that all users of a connection share.

    Raises:
        ConfigurationError: `max_connections` is not a whole number from 1 on.
    """
    text = connection.extra.get("max_connections", str(DEFAULT_MAX_CONNECTIONS)).strip()
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ConfigurationError(
            f"connection {connection.id}: max_connections is {text!r}",
            where=variable_name(connection.id),
            fix="Write a whole number from 1 on, such as max_connections=4",
        )
    with _lock:
        return _budgets.setdefault((connection.id, connection.address, int(text)), ConnectionBudget(int(text)))
