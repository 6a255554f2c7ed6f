"""What a message that is no JSON begins with, in words: a producer that frames or packs its messages is recognised.

None of these openings is JSON (RFC 8259), so no message is refused that would otherwise be read.
"""

from __future__ import annotations

from typing import NamedTuple


class _Framing(NamedTuple):
    opening: bytes
    least_bytes: int
    words: str


_REGISTRY = "it is framed for a schema registry"
_FRAMINGS = (
    # Confluent's documentation, "Wire format" of Formats, Serializers, and Deserializers.
    _Framing(b"\x00", 5, f"{_REGISTRY} (Confluent's wire format: a zero byte and a schema id of 4 bytes come first)"),
    # AWS Glue Schema Registry's serializer (`AWSSchemaRegistryConstants`): plain, and packed with zlib.
    _Framing(b"\x03\x00", 18, f"{_REGISTRY} (AWS Glue: a header of 18 bytes comes first)"),
    _Framing(b"\x03\x05", 18, f"{_REGISTRY} (AWS Glue: a header of 18 bytes comes first, the rest is packed)"),
    # Apache Avro's specification, "Single-object encoding" and "Object container files".
    _Framing(b"\xc3\x01", 10, "it is an Avro object"),
    _Framing(b"Obj\x01", 4, "it is an Avro file"),
    # RFC 1952 and RFC 8878.
    _Framing(b"\x1f\x8b", 2, "it is packed with gzip"),
    _Framing(b"\x28\xb5\x2f\xfd", 4, "it is packed with Zstandard"),
)


def framing(value: bytes) -> str | None:
    """What a message's value is framed or packed with, or None."""
    for known in _FRAMINGS:
        if len(value) >= known.least_bytes and value.startswith(known.opening):
            return known.words
    return None
