"""JSON messages are taken apart without touching what they say."""

from __future__ import annotations

import base64
import gzip

import pytest

from connectors.kafka.messages import NotAMessage, fields, take_apart, tombstone_record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        (' \n{ "a" : 1 , "b":\ttrue }\r\n', {"a": "1", "b": "true"}),
        ('{"a":12345678901234567890.12,"b":1.10,"c":1E+2}', {"a": "12345678901234567890.12", "b": "1.10", "c": "1E+2"}),
        ('{"a":null,"b":"null","c":""}', {"a": None, "b": "null", "c": ""}),
        ('{"o":{"z": 1.50, "a":[1,  {"k":null}]},"l":[ ]}', {"o": '{"z": 1.50, "a":[1,  {"k":null}]}', "l": "[ ]"}),
        ('{"a":"\\ud83d\\ude00 \\u00e9\\n\\"","b":"😀"}', {"a": '😀 é\n"', "b": "😀"}),
        ('{"o":{"a":1,"a":2}}', {"o": '{"a":1,"a":2}'}),
        ('{"n":' + "9" * 5000 + "}", {"n": "9" * 5000}),
    ],
)
def test_each_field_has_its_own_text(text: str, expected: dict[str, str | None]) -> None:
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"a":1,}', "not JSON"),
        ('{"a":01}', "not JSON"),
        ('{"a" 1}', "not JSON"),
        ("{'a':1}", "not JSON"),
        ('{"a":"tab\there"}', "not JSON"),
        ('{"a":NaN}', "not JSON"),
        ('{"o":{"a":Infinity}}', "not JSON"),
        ('\ufeff{"a":1}', "not JSON"),
        ("[1]", "not a JSON object"),
        ('"x"', "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"a":1}{"b":2}', "more text after the object"),
        ('{"a":1} x', "more text after the object"),
        ('{"a":1,"a":2}', "stands twice"),
        ('{"a":"\\ud83d"}', "surrogate"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_message_says_why_and_repeats_nothing(text: str, reason: str) -> None:
    with pytest.raises(NotAMessage) as caught:
        fields(text)
    assert reason in str(caught.value)


def test_a_value_that_is_no_text_is_kept_in_base64() -> None:
    assert take_apart(b"\xff\xfe{}") == ({}, "not UTF-8 (the record is in base64)", "//57fQ==")


@pytest.mark.parametrize(
    ("key", "record"),
    [
        (b"1", '{"key": "1", "value": null}'),
        ("番号 7".encode(), '{"key": "番号 7", "value": null}'),
        (b"\xff\x00", '{"key_in_base64": "/wA=", "value": null}'),
        (b"", '{"key": "", "value": null}'),
        (None, '{"key": null, "value": null}'),
    ],
)
def test_a_tombstone_is_kept_with_its_key(key: bytes | None, record: str) -> None:
    assert tombstone_record(key) == record


def test_a_tombstone_is_refused_as_an_empty_message() -> None:
    assert take_apart(None) == ({}, "empty message (a tombstone)", None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b'\x00\x00\x00\x00\x07{"id":1}', "Confluent's wire format: a zero byte and a schema id of 4 bytes"),
        (b"\x00\x00\x00\x01\x00\x02\xff", "Confluent's wire format"),
        (b"\x03\x00" + bytes(range(16)) + b"{}", "AWS Glue"),
        (b"\x03\x05" + bytes(range(16)) + b"x\x9c", "AWS Glue"),
        (b"\xc3\x01" + bytes(8) + b"\x02", "Avro object"),
        (b"Obj\x01\x04", "Avro file"),
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (b"\x28\xb5\x2f\xfd\x20\x02", "Zstandard"),
    ],
)
def test_the_reason_of_a_framed_message_names_the_framing(value: bytes, words: str) -> None:
    parsed, reason, record = take_apart(value)
    assert parsed == {}
    assert reason is not None
    assert reason.startswith("not plain JSON: it is ")
    assert words in reason
    if reason.endswith("(the record is in base64)"):
        assert base64.b64decode(str(record)) == value
    else:
        assert record == value.decode()


def test_a_zero_byte_alone_is_no_framing() -> None:
    assert take_apart(b"\x00{}")[1] == "not JSON"
