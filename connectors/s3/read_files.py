"""The position of an S3 dataset: the files of a set that were read, in which listing, and marks of their content.

The position holds every file that lies under the prefix, and the contents that left it: a file that was deleted, or
replaced under its key, is known when it comes back. Their number is bounded (`MOST_GONE`), so the position grows with
the number of existing files, not with time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import JsonValue

from connectors.s3.bucket import S3File
from connectors.s3.records import path_values

MOST_GONE = 10_000
"""How many contents that left their keys are remembered; if there are more files than this, as many as files."""

_ETAG_IS_MD5 = "="
"""The digest of a file whose ETag was found to be the MD5 of its bytes."""


@dataclass(frozen=True)
class Known:
    """A file as it was read. `listing` is the number of the listing that first showed it; None if an earlier version of
    Lakeferry read it, which did not number listings. `copy_of` is the key of the file of which it is a copy; then it
    was not read.

    `digest` is the MD5 of its bytes, `=` if its ETag is that MD5, and an empty text if no row of it was published. It
    has the value None if no MD5 was seen, or if an earlier version found that the ETag is the MD5.
    """

    etag: str
    size: int | None = None
    listing: int | None = None
    digest: str | None = None
    copy_of: str | None = None

    @property
    def md5(self) -> str | None:
        """The MD5 of its bytes; None if it was not seen."""
        return self.etag if self.digest == _ETAG_IS_MD5 else self.digest or None

    def with_md5(self, md5: str | None) -> Known:
        """Returns the same file with the MD5 of its bytes."""
        return replace(self, digest=_ETAG_IS_MD5 if md5 == self.etag else md5)

    def to_json(self) -> list[JsonValue]:
        values: list[JsonValue] = [self.etag, self.size, self.listing, self.digest, self.copy_of]
        while values[-1] is None:
            values.pop()
        return values


@dataclass(frozen=True)
class ReadFiles:
    """The files that were read: `files` by key as they were listed last, and in `gone` the contents that keys had
    before, each with its key, in the order in which they were removed. `waiting` files were listed and could not be
    read: key to ETag and listing. `listing` is the number of the last listing of which files were read.

    The position does not contain the rest: `newly_gone` counts the contents that are missing since the last listing,
    `forgotten` those of them that are not remembered."""

    listing: int = 0
    files: Mapping[str, Known] = field(default_factory=dict)
    gone: tuple[tuple[str, Known], ...] = ()
    waiting: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    newly_gone: int = 0
    forgotten: int = 0

    @classmethod
    def of(cls, position: Mapping[str, JsonValue] | None) -> ReadFiles:
        """Reads a position, also one of an earlier version: `{"files": {key: etag}}`, later with one content by key in
        `gone`."""
        if position is None:
            return cls()
        stored = cast("Mapping[str, Any]", position)
        gone = stored.get("gone", [])
        entries = [(key, entry) for key, *entry in gone] if isinstance(gone, list) else gone.items()
        return cls(
            listing=int(stored.get("listing", 0)),
            files={key: _known(entry) for key, entry in stored["files"].items()},
            gone=tuple((key, _known(entry)) for key, entry in entries),
            waiting={key: (entry[0], int(entry[1])) for key, entry in stored.get("waiting", {}).items()},
        )

    def to_position(self) -> dict[str, JsonValue]:
        position: dict[str, JsonValue] = {
            "listing": self.listing,
            "files": {key: known.to_json() for key, known in self.files.items()},
        }
        if self.gone:
            position["gone"] = [[key, *known.to_json()] for key, known in self.gone]
        if self.waiting:
            position["waiting"] = {key: list(entry) for key, entry in self.waiting.items()}
        return position

    def without_copies(self) -> ReadFiles:
        """Returns the same, except that files that were not read, as copies, are new. Their contents stay known."""
        copies = tuple((key, known) for key, known in self.files.items() if known.copy_of is not None)
        files = {key: known for key, known in self.files.items() if known.copy_of is None}
        return replace(self, files=files, gone=(*self.gone, *copies))

    def newest(self) -> dict[str, Known]:
        """Returns, by key, the last content that the key is known to have had."""
        return {**dict(self.gone), **self.files}

    def holds(self, file: S3File) -> bool:
        """Whether this very object, by key and ETag, was read or is known as a copy."""
        known = self.files.get(file.key)
        return known is not None and known.etag == file.etag

    def numbered(self, file: S3File) -> S3File:
        """Returns a file with the number of the listing that first showed it, which may be the current one."""
        if self.holds(file):
            return replace(file, listing=self.files[file.key].listing)
        etag, listing = self.waiting.get(file.key, (None, None))
        return replace(file, listing=listing if etag == file.etag else self.listing + 1)

    def after(self, listed: Sequence[S3File], copies: Mapping[str, Known], waiting: Mapping[str, str]) -> ReadFiles:
        """Returns the files that are read once those of a new listing are.

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
        gone = {(key, known.etag): known for key, known in self.gone}
        newly_gone: set[tuple[str, str]] = set()
        for key, known in self.files.items():
            now = files.get(key)
            # If a key is a copy of itself, it has the same content under another ETag.
            if now is None or (now.etag != known.etag and not (key in copies and now.copy_of == key)):
                gone.pop((key, known.etag), None)
                gone[key, known.etag] = known
                newly_gone.add((key, known.etag))
        remembered = {at: known for at, known in gone.items() if at[0] not in files or files[at[0]].etag != at[1]}
        forgotten = _forget(remembered, files)
        return ReadFiles(
            listing=self.listing + 1,
            files=files,
            gone=tuple((key, known) for (key, _), known in remembered.items()),
            waiting={f.key: (f.etag, cast("int", self.numbered(f).listing)) for f in listed if f.key in waiting},
            newly_gone=len(newly_gone),
            forgotten=len(newly_gone & forgotten),
        )

    def with_digests(self, digests: Mapping[tuple[str, str], str]) -> ReadFiles:
        """Returns the same, with the MD5s of files that were read, by key and ETag; an empty text for files of which no
        row was published."""
        files = {
            key: known.with_md5(digests[key, known.etag]) if (key, known.etag) in digests else known
            for key, known in self.files.items()
        }
        return replace(self, files=files)


def _known(entry: Any) -> Known:
    return Known(entry) if isinstance(entry, str) else Known(*entry)


def _forget(gone: dict[tuple[str, str], Known], files: Mapping[str, Known]) -> set[tuple[str, str]]:
    """Removes from `gone`, by key and ETag, what exceeds the bound. First go contents of which no row was published,
    and those that are remembered under another key; then those that left first. Returns what nothing remembers any
    more."""
    excess = len(gone) - max(MOST_GONE, len(files))
    if excess <= 0:
        return set()
    remembered = {_content(key, known) for key, known in files.items() if known.digest != ""}
    spare = []
    for at, known in reversed(gone.items()):
        content = _content(at[0], known)
        if known.digest == "" or content in remembered:
            spare.append(at)
        else:
            remembered.add(content)
    for at in spare[-excess:]:
        del gone[at]
    oldest = list(gone)[: max(0, excess - len(spare))]
    for at in oldest:
        del gone[at]
    return set(oldest)


def _content(key: str, known: Known) -> tuple[str, frozenset[tuple[str, str | None]]]:
    return known.md5 or known.etag, frozenset(path_values(key).items())
