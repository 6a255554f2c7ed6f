"""Positions and shapes as snapshot properties: small ones whole, large ones (file lists, wide tables) as path and
hash of a document.

A snapshot property is repeated in every later metadata file of its table, so large values are kept beside it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import JsonValue

from connectors.errors import SchemaBroken
from jobs.lake.documents import Documents

LARGEST_PROPERTY_BYTES = 4096


def write_position(
    documents: Documents, dataset: str, position: dict[str, JsonValue] | None, folder: str = "positions"
) -> str | None:
    """Return the property's text. If a document is needed, it is written first, in `folder`."""
    if position is None:
        return None
    text = json.dumps(position, sort_keys=True, ensure_ascii=False)
    if len(text.encode()) <= LARGEST_PROPERTY_BYTES:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    key = f"{folder}/{dataset}/{digest}.json"
    documents.create(key, text)
    return json.dumps({"document": key, "sha256": digest})


def read_position(documents: Documents, value: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    """Return the position behind a snapshot's property.

    Raises:
        SchemaBroken: the document is not the one the snapshot names.
    """
    if value is None or set(value) != {"document", "sha256"}:
        return value
    text = documents.read(str(value["document"]))
    if hashlib.sha256(text.encode()).hexdigest() != value["sha256"]:
        raise SchemaBroken(
            f"position document {value['document']} is not the one its snapshot names",
            fix="Restore it from the bucket's versions",
        )
    parsed: Any = json.loads(text)
    position: dict[str, JsonValue] = parsed
    return position
