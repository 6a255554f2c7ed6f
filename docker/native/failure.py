"""The one exception these scripts end with: a message for a person, and an exit code."""

from __future__ import annotations


class Failure(Exception):
    """What went wrong and what to do about it.

    Args:
        message: one or a few sentences, no secrets.
        exit_code: 2 where the user has to change something, 3 where something outside failed.
    """

    def __init__(self, message: str, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code
