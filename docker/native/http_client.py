"""The least of HTTP: the status code of an answer."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request


def ask(method: str, url: str) -> int | None:
    """The status code, or None where nothing answers. Proxies are not asked: this is for loopback."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, method=method), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None


def status(url: str) -> int | None:
    """The status code of a GET, or None where nothing answers."""
    return ask("GET", url)
