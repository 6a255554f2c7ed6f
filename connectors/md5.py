"""MD5 of many short texts. It is a checksum here and no secret, so it also runs where FIPS 140 forbids MD5 for those.

It uses CPython's own implementation if there is one: OpenSSL's is looked up again for each text, which takes longer
than the hash itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

md5: Callable[[bytes], Any]
try:
    from _md5 import md5  # type: ignore[import-not-found,no-redef]
except ImportError:
    md5 = partial(hashlib.md5, usedforsecurity=False)
