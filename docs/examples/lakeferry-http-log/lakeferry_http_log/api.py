"""The client of the HTTP API. Every request has a timeout, and every failure becomes an error of Lakeferry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from connectors.connection import Connection
from connectors.errors import AccessDenied, ObjectNotFound, ServiceUnavailable

TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class LogApi:
    """Reads logs. It can be pickled, so that Spark's tasks use it, too."""

    connection: Connection

    def log_names(self) -> list[str]:
        """Returns the names of all logs."""
        names: list[str] = self._get("/logs")
        return names

    def record_count(self, log: str) -> int:
        """Returns how many records a log has now. Raises `ObjectNotFound`, with the logs that exist."""
        return int(self._get(f"/logs/{quote(log, safe='')}", log)["records"])

    def records(self, log: str, start: int, end: int) -> list[str]:
        """Returns the text of the records in `[start, end)`."""
        texts: list[str] = self._get(f"/logs/{quote(log, safe='')}?start={start:d}&end={end:d}", log)
        return texts

    def _get(self, path: str, log: str | None = None) -> Any:
        address = self.connection.address
        request = Request(f"http://{address}{path}", headers={"Authorization": f"Bearer {self.connection.password}"})
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                return json.load(response)
        except HTTPError as error:
            if error.code in (401, 403):
                # The connection's id is named, its token is not.
                raise AccessDenied(
                    f"{address} refuses the token of connection {self.connection.id!r}", fix="Correct the token"
                ) from None
            if error.code == 404 and log is not None:
                raise ObjectNotFound(f"there is no log {log!r} at {address}", choices=self.log_names()) from None
            raise ServiceUnavailable(f"{address} answers with HTTP status {error.code}") from None
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ServiceUnavailable(f"{address} does not answer: {reason}", fix="Check the address") from None
