"""Links between the documents lead to files and headings that are there, and the index leads to every document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_INDEX = _ROOT / "docs" / "README.md"
_DECISIONS = _ROOT / "docs" / "decisions" / "README.md"
_BESIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
_DOCUMENTS = [
    *(_ROOT / name for name in _BESIDE),
    *sorted(page for page in (_ROOT / "docs").rglob("*.md") if "examples" not in page.parts),
]
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _links(document: Path) -> list[tuple[Path, str]]:
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    return [((document.parent / path).resolve() if path else document, anchor) for path, anchor in _LINK.findall(text)]


def _anchors(document: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them: lower case, blanks as hyphens, no other punctuation."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: str(path.relative_to(_ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = _links(document)

    assert [str(path) for path, _ in links if not path.exists()] == []
    assert [f"{path}#{anchor}" for path, anchor in links if anchor and anchor not in _anchors(path)] == []


def test_the_index_has_every_document() -> None:
    linked = {path for index in (_INDEX, _DECISIONS) for path, _ in _links(index)}
    assert set(_DOCUMENTS) - {_INDEX} <= linked


def test_the_readme_is_short() -> None:
    assert len((_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90
