"""Plain YAML is read from libyaml's events, and what is not plain by nodes: the values are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.errors import SpecError
from connectors.yaml import documents as yaml_documents
from connectors.yaml.documents import DEEPEST, MOST_NODES, load_yaml
from connectors.yaml.events import NotPlain, plain_document

PLAIN: dict[str, Any] = {
    "": None,
    "# nothing\n": None,
    "a: b\n": {"a": "b"},
    "a:\n": {"a": None},
    "a: ~\n": {"a": None},
    "a: [yes, Off, true]\n": {"a": [True, False, True]},
    "a: [0, -0, 12, +5]\n": {"a": [0, 0, 12, 5]},
    "a: [1.5, .5, -1.5e+3, 1e3]\n": {"a": [1.5, 0.5, -1500.0, "1e3"]},
    "'no': '12'\n\"~\": '<<'\n": {"no": "12", "~": "<<"},
    "a: |\n  b\n   c\nd: >-\n  e\n  f\n": {"a": "b\n c\n", "d": "e f"},
    "a: b\n  c\n": {"a": "b c"},
    "a: |- # note\n  b\n": {"a": "b"},
    "- {a: {}}\n- []\n- 売上 😀\n": [{"a": {}}, [], "売上 😀"],
    "a: http://b/c\nd: e#f\n": {"a": "http://b/c", "d": "e#f"},
    "---\na: 1\n...\n": {"a": 1},
}
NOT_PLAIN = [
    "a: &b c\n",
    "a: *b\n",
    "a: !!str 1\n",
    "a: ! 1\n",
    "<<: {}\n",
    "=: a\n",
    "a: 0300\n",
    "a: 1_000\n",
    "a: 12:30\n",
    "a: 0x10\n",
    "a: .inf\n",
    "a: 2026-01-01\n",
    "a: 1\na: 2\n",
    "no: a\n",
    "12: a\n",
    "? [a]\n: b\n",
    "a:\tb\n",
    "{a: b?c}\n",
    "a:\n\ufeff  b: c\n",
    "a: 1\n---\na: 2\n",
    "%YAML 1.1\n---\na: 1\n",
    "[" * 51,
    "[" * 100_000,
    "- [" + "a, " * MOST_NODES + "]\n",
    "a: [b\n",
    "a: \x07\n",
    'a: "b\\0"\n',
    '"\\ud83d": b\n',
    "a: |# note\n  b\n",
    "a: >-2# note\n    b\n",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_documents_are_read_alike_in_both_ways(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repr(plain_document(text, DEEPEST, MOST_NODES)) == repr(PLAIN[text])
    (tmp_path / "x.yaml").write_text(text)
    assert repr(load_yaml(tmp_path / "x.yaml")[0]) == repr(PLAIN[text])

    def without_libyaml(*arguments: object) -> None:
        raise NotPlain

    monkeypatch.setattr(yaml_documents, "plain_document", without_libyaml)
    assert repr(load_yaml(tmp_path / "x.yaml")[0]) == repr(PLAIN[text])


@pytest.mark.parametrize("text", NOT_PLAIN, ids=lambda text: text[:20])
def test_what_is_not_plain_is_left_to_the_careful_reading(text: str) -> None:
    with pytest.raises(NotPlain):
        plain_document(text, DEEPEST, MOST_NODES)


def test_lines_of_a_plain_document_are_found_when_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: b\n\nc:\n  - d: on\n    e: f\n")
    document, lines = load_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("another: text\n")
    assert document == {"a": "b", "c": [{"d": True, "e": "f"}]}
    assert lines is not None
    assert lines.at("c", 0, "e") == "x.yaml:5"
    assert lines.has("c", 0, "d")
    assert lines.plain_word("c", 0, "d") == "on"


def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a:\n  b: 1\n  b: 2\n")
    with pytest.raises(SpecError, match=r"x\.yaml:3: key 'b' stands twice"):
        load_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("escape", "code"), [("\\0", "0000"), ("\\x00", "0000"), ("\\ud83d", "D83D"), ("\\uDFFF", "DFFF")]
)
def test_a_character_that_no_database_stores_is_refused_with_its_line(tmp_path: Path, escape: str, code: str) -> None:
    for text in (f'a: b\nc: "d{escape}"\n', f'a: b\n"{escape}": d\n'):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(SpecError, match=rf"x\.yaml:2: the character U\+{code} is not text"):
            load_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text('a: "\\U0001F600 \\u58F2\\n"\n')
    assert load_yaml(tmp_path / "x.yaml")[0] == {"a": "😀 売\n"}
