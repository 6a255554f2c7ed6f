"""Never more connections to a source than its connection allows, in one process.

`max_connections` in a connection's extras says how many, 4 where it says nothing. The driver of a Spark
application is one process, and which tasks read at once is its decision: so the budget holds for all
datasets and pipelines of the application, wherever its executors are.
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
    """Permits to connect; who asked first is served first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = most
        self._waiting: deque[object] = deque()
        self._changed = Condition()
        self._own = local()

    @contextmanager
    def taken(self, wanted: int = 1) -> Iterator[int]:
        """Hold up to `wanted` permits: what is free, at least one, which is waited for.

        A thread that holds some already goes on with these: what it does then, it does one after the other.
        """
        held: int = getattr(self._own, "permits", 0)
        if held:
            yield held
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
    """The budget all users of a connection share.

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
