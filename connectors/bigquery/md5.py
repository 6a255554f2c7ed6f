"""MD5 of many short texts: a checksum here, no secret, so it is computed where FIPS 140 forbids it for those.

CPython's own implementation where it is there: OpenSSL's is looked up anew for each text, which takes longer than to
hash it.
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
