"""Files whose content is published already: copied to another key, restored, or uploaded again with another ETag.

An equal ETag means an equal content. Another ETag says nothing if it is not the MD5 of the bytes, as with objects that
were uploaded in parts, or are encrypted with SSE-KMS or SSE-C ("Object", Amazon S3 API Reference). An ETag does not
show which kind it is: that of SSE-KMS has 32 hexadecimal digits, too. So S3 is asked for a file's encryption
(HeadObject), unless its MD5 was taken before. If the ETag is not an MD5 and the size is that of a known file, the file
is read here, to compare the MD5 of its bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from connectors.errors import SourceMoved
from connectors.md5 import md5
from connectors.s3.bucket import BUFFER_BYTES, Access, S3File, head, moved, open_file
from connectors.s3.files import Layout, file_records
from connectors.s3.records import path_values

if TYPE_CHECKING:
    from connectors.s3.read_files import Known, ReadFiles

MOST_COMPARED_BYTES = 1 << 30
"""How much one plan reads to compare contents. A file beyond this counts as new."""
MOST_ASKED = 200
"""For how many known files one plan asks how they are encrypted."""


class Contents:
    """The published contents of a set of files.

    Two files are not copies of each other if a declared column has different values in their keys: their rows differ.
    """

    def __init__(self, access: Access, layout: Layout, before: ReadFiles, listed: Iterable[S3File]) -> None:
        self._access = access
        self._client = access.client()
        self._layout = layout
        self._newest = before.newest()
        self._listed = {file.key: file for file in listed}
        self._bytes_allowed = MOST_COMPARED_BYTES
        self._requests_allowed = MOST_ASKED
        self._md5s: dict[tuple[str, str], str | None] = {}
        self.uncompared: list[str] = []
        """Keys of files that may be copies: a published file of their size has no MD5 to compare with."""
        self._by_etag: dict[str, list[tuple[str, Known]]] = defaultdict(list)
        self._by_size: dict[int, dict[str | None, list[tuple[str, Known]]]] = defaultdict(lambda: defaultdict(list))
        # Files that were read come before their copies.
        remembered = [*before.files.items(), *before.gone]
        self._earlier: dict[str, list[Known]] = defaultdict(list)
        for key, known in sorted(remembered, key=lambda entry: entry[1].copy_of is not None):
            if known.digest == "":
                continue
            if known is not self._newest[key] and known.copy_of in (None, key):
                self._earlier[key].append(known)
            self._by_etag[known.etag].append((key, known))
            there = self._listed.get(key)
            size = there.size if known.size is None and there and there.etag == known.etag else known.size
            if size is not None:
                self._by_size[size][known.md5].append((key, known))

    @property
    def digests(self) -> dict[tuple[str, str], str]:
        """The MD5s that were taken, by key and ETag. They are kept in the position, so none is taken again."""
        return {at: digest for at, digest in self._md5s.items() if digest is not None}

    def copies(self, files: Iterable[S3File]) -> dict[str, Known]:
        """Returns the files that hold what is published, by key, in the form in which they are known from now on."""
        copies_by_key: dict[str, Known] = {}
        for file in files:
            original = self._original(file) if file.size else None
            if original is not None and not self._goes_back(file) and self._has_rows(file):
                key, known = original
                md5 = known.md5 or self._md5s.get((file.key, file.etag))
                copies_by_key[file.key] = replace(known, etag=file.etag, size=file.size, copy_of=key).with_md5(md5)
        return copies_by_key

    def _original(self, file: S3File) -> tuple[str, Known] | None:
        for key, known in self._by_etag.get(file.etag, ()):
            if known.size in (None, file.size) and self._may_be(file, key, known):
                return key, known
        same_size = self._by_size.get(file.size, {})
        unseen = [(key, known) for key, known in same_size.get(None, ()) if self._may_be(file, key, known)]
        if same_size.keys() - {None} or any(self._can_be_seen(*entry) for entry in unseen):
            for key, known in same_size.get(self._md5(file), ()) if self._md5(file) else ():
                if self._may_be(file, key, known):
                    return key, known
            for key, known in sorted(unseen, key=lambda entry: self._effort(file, *entry)):
                if self._same_bytes(file, key, known):
                    return key, known
        too_large = self._md5s.get((file.key, file.etag), "") is None
        if too_large or any(self._is_unsure(file, *entry) for entry in unseen):
            self.uncompared.append(file.key)
        return None

    def _can_be_seen(self, key: str, known: Known) -> bool:
        """Whether a file with an unknown MD5 can be compared: its ETag may be the MD5, or the file is still there."""
        return "-" not in known.etag or self._is_there(key, known)

    def _is_there(self, key: str, known: Known) -> bool:
        there = self._listed.get(key)
        return there is not None and there.etag == known.etag

    def _is_unsure(self, file: S3File, key: str, known: Known) -> bool:
        """Whether nothing shows that a file is not a copy of another one of its size. If the new file's ETag is its
        MD5, the ETag of a deleted file counts as an MD5, too."""
        mine = self._md5s.get((file.key, file.etag))
        if mine is None or self._md5s.get((key, known.etag)) is None:
            return "-" in known.etag or mine != file.etag
        return False

    def _effort(self, file: S3File, key: str, known: Known) -> tuple[bool, bool]:
        """The order of comparison: first with files that need not be read, then with files of the same name."""
        read = "-" in known.etag and (key, known.etag) not in self._md5s
        return read, key.rpartition("/")[2] != file.key.rpartition("/")[2]

    def _goes_back(self, file: S3File) -> bool:
        """Whether a key was read with this content before, and has had another since. Then it is a new state of the
        key, regardless of other keys."""
        return any(
            known.etag == file.etag or (known.size == file.size and self._same_bytes(file, file.key, known))
            for known in self._earlier.get(file.key, ())
        )

    def _may_be(self, file: S3File, key: str, known: Known) -> bool:
        if key == file.key and any(known is earlier for earlier in self._earlier.get(key, ())):
            return False
        return self._from_path(file.key) == self._from_path(key)

    def _same_bytes(self, file: S3File, key: str, known: Known) -> bool:
        mine = self._md5(file)
        if mine is None:
            return False
        # Only an ETag that is an MD5 has the MD5's value.
        return mine in (known.md5, known.etag) or (known.md5 is None and mine == self._md5_there(key, known))

    def _md5_there(self, key: str, known: Known) -> str | None:
        """Returns the MD5 of a known file that is still there; None if it is gone, or if it is not looked at."""
        if not self._is_there(key, known):
            return None
        if (key, known.etag) not in self._md5s and "-" not in known.etag:
            if not self._requests_allowed:
                return None
            self._requests_allowed -= 1
        return self._md5(self._listed[key])

    def _md5(self, file: S3File) -> str | None:
        """Returns the MD5 of a file's bytes, which may be its ETag. None if too much would be read, or if the file is
        gone."""
        at = (file.key, file.etag)
        if at not in self._md5s:
            try:
                self._md5s[at] = file.etag if self._etag_is_md5(file) else self._read_md5(file)
            except SourceMoved:
                # It was replaced, moved or archived a moment ago: the read will report it.
                self._md5s[at] = None
        return self._md5s[at]

    def _etag_is_md5(self, file: S3File) -> bool:
        if "-" in file.etag:
            return False
        headers = head(self._access, self._client, file)
        if headers["ETag"].strip('"') != file.etag:
            raise moved(file)
        return headers.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerAlgorithm" not in headers

    def _read_md5(self, file: S3File) -> str | None:
        if file.size > self._bytes_allowed:
            return None
        self._bytes_allowed -= file.size
        digest = md5(b"")
        with open_file(self._access, self._client, file) as stream:
            while data := stream.read(BUFFER_BYTES):
                digest.update(data)
        return str(digest.hexdigest())

    def _has_rows(self, file: S3File) -> bool:
        """Whether a file has a readable row: a file without one has nothing that could be published twice."""
        try:
            with open_file(self._access, self._client, file) as stream:
                content = file_records(stream, self._layout, file.key, file.uri)
                return content.names is not None and next(content.records, None) is not None
        except SourceMoved:
            return False

    def _from_path(self, key: str) -> Mapping[str, str | None]:
        declared = set(self._layout.names)
        return {name: value for name, value in path_values(key).items() if name in declared}
