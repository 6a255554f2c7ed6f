"""Which files of a set are read, in which listing, and by what their content is known: the position of an S3 dataset.

The position holds every file that lies under the prefix, and the newest of those that are gone: a file that is deleted
and comes back is known. `MOST_GONE` bounds them, so the position grows with the files that are there, not with time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import JsonValue

from connectors.s3.bucket import S3File

MOST_GONE = 10_000
"""How many contents that lie under no key any more are remembered."""


@dataclass(frozen=True)
class Known:
    """A file as it was read. `listing` is the number of the listing that first showed it; None: an earlier version of
    Lakeferry read it, which numbered none. `digest` is the MD5 of its bytes where that is not its ETag and was seen; an
    empty text where no row of it was published. `copy_of` is the key of the file that it is a copy of: it was not
    read."""

    etag: str
    size: int | None = None
    listing: int | None = None
    digest: str | None = None
    copy_of: str | None = None

    def to_json(self) -> JsonValue:
        values: list[JsonValue] = [self.etag, self.size, self.listing, self.digest, self.copy_of]
        while values[-1] is None:
            values.pop()
        return values


@dataclass(frozen=True)
class ReadFiles:
    """What is read: `files` by key as they were listed last, `gone` contents that are under no key now, oldest first.
    `waiting` files were listed and could not be read: key to ETag and listing. `listing` is the number of the last
    listing of which files were read."""

    listing: int = 0
    files: Mapping[str, Known] = field(default_factory=dict)
    gone: Mapping[str, Known] = field(default_factory=dict)
    waiting: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, position: Mapping[str, JsonValue] | None) -> ReadFiles:
        """Read a position, also one of an earlier version: `{"files": {key: etag}}`."""
        if position is None:
            return cls()
        found = cast("Mapping[str, Any]", position)
        return cls(
            listing=int(found.get("listing", 0)),
            files={key: _known(entry) for key, entry in found["files"].items()},
            gone={key: _known(entry) for key, entry in found.get("gone", {}).items()},
            waiting={key: (entry[0], int(entry[1])) for key, entry in found.get("waiting", {}).items()},
        )

    def to_position(self) -> dict[str, JsonValue]:
        position: dict[str, JsonValue] = {
            "listing": self.listing,
            "files": {key: known.to_json() for key, known in self.files.items()},
        }
        if self.gone:
            position["gone"] = {key: known.to_json() for key, known in self.gone.items()}
        if self.waiting:
            position["waiting"] = {key: list(entry) for key, entry in self.waiting.items()}
        return position

    def without_copies(self) -> ReadFiles:
        """The same, but the files are unknown that were not read, as copies."""
        return replace(self, files={key: known for key, known in self.files.items() if known.copy_of is None})

    def holds(self, file: S3File) -> bool:
        """Whether this very object, by key and ETag, was read or is known as a copy."""
        known = self.files.get(file.key)
        return known is not None and known.etag == file.etag

    def numbered(self, file: S3File) -> S3File:
        """A file with the number of the listing that first showed it, which may be the one that is made now."""
        if self.holds(file):
            return replace(file, listing=self.files[file.key].listing)
        etag, listing = self.waiting.get(file.key, (None, None))
        return replace(file, listing=listing if etag == file.etag else self.listing + 1)

    def after(self, listed: Sequence[S3File], copies: Mapping[str, Known], waiting: Mapping[str, str]) -> ReadFiles:
        """What is read once the files of a new listing are.

        Args:
            copies: files that are not read, by key, as they are known from now on.
            waiting: keys of files that cannot be read now.
        """
        files: dict[str, Known] = {}
        for file in listed:
            if self.holds(file):
                files[file.key] = replace(self.files[file.key], size=file.size)
            elif file.key in copies:
                files[file.key] = copies[file.key]
            elif file.key not in waiting:
                files[file.key] = Known(file.etag, file.size, self.numbered(file).listing)
        kept = {key: known for key, known in self.gone.items() if key not in copies}
        for key, known in self.files.items():
            if key not in files or (files[key].etag != known.etag and key not in copies):
                kept.pop(key, None)
                kept[key] = known
        return ReadFiles(
            listing=self.listing + 1,
            files=files,
            gone=dict(list(kept.items())[-MOST_GONE:]),
            waiting={f.key: (f.etag, cast("int", self.numbered(f).listing)) for f in listed if f.key in waiting},
        )

    def with_digests(self, digests: Mapping[tuple[str, str], str]) -> ReadFiles:
        """The same, with the digests (as of `Known`) of files that were read, by key and ETag."""
        files = {
            key: replace(known, digest=digests[key, known.etag])
            if (key, known.etag) in digests and digests[key, known.etag] != known.etag
            else known
            for key, known in self.files.items()
        }
        return replace(self, files=files)


def _known(entry: Any) -> Known:
    return Known(entry) if isinstance(entry, str) else Known(*entry)
