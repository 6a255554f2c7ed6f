"""Each error says what to do about it, under a code that stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.errors import LakeferryError

CODES = {
    "LF-000": ("LakeferryError", "retry", 3),
    "LF-100": ("ConfigurationError", "fix_configuration", 2),
    "LF-101": ("SpecError", "fix_configuration", 2),
    "LF-102": ("SettingError", "fix_configuration", 2),
    "LF-103": ("UsageError", "fix_configuration", 2),
    "LF-104": ("WindowUnfit", "fix_configuration", 2),
    "LF-105": ("PlanUnreadable", "fix_configuration", 2),
    "LF-106": ("ConnectionNotFound", "fix_configuration", 2),
    "LF-107": ("AccessDenied", "fix_configuration", 2),
    "LF-108": ("ObjectNotFound", "fix_configuration", 2),
    "LF-109": ("UnsupportedType", "fix_configuration", 2),
    "LF-110": ("TransformFailed", "fix_configuration", 2),
    "LF-111": ("LakeAltered", "fix_configuration", 2),
    "LF-112": ("PackageMissing", "fix_configuration", 2),
    "LF-200": ("ServiceError", "retry", 3),
    "LF-201": ("ServiceUnavailable", "retry", 3),
    "LF-202": ("CuratedBehind", "retry", 3),
    "LF-203": ("CopyDiffers", "retry", 3),
    "LF-204": ("RunnerFailed", "retry", 3),
    "LF-205": ("CredentialsMissing", "retry", 3),
    "LF-300": ("ReplanNeeded", "plan_again", 3),
    "LF-301": ("SourceMoved", "plan_again", 3),
    "LF-302": ("LakeMoved", "plan_again", 3),
    "LF-400": ("DataError", "look_at_data", 1),
    "LF-401": ("ReconciliationFailed", "look_at_data", 1),
    "LF-402": ("CheckFailed", "look_at_data", 1),
    "LF-403": ("TooManyRejected", "look_at_data", 1),
    "LF-404": ("DuplicateKey", "look_at_data", 1),
    "LF-405": ("SchemaBroken", "look_at_data", 1),
    "LF-406": ("LoadRefused", "look_at_data", 1),
    "LF-407": ("TargetDiffers", "look_at_data", 1),
}
"""Codes are added here and never given to another error: receipts in lakes hold them."""
_DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "troubleshooting.md"


def classes(kind: type[LakeferryError] = LakeferryError) -> Iterator[type[LakeferryError]]:
    """The errors of the product: tests may define others."""
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == LakeferryError.__module__:
            yield from classes(each)


def test_each_error_has_a_code_of_its_own_a_recovery_and_an_exit_code() -> None:
    every = list(classes())
    assert len({kind.code for kind in every}) == len(every)
    assert {kind.code: (kind.__name__, kind.recovery, kind.exit_code) for kind in every} == CODES


@pytest.mark.parametrize("kind", classes())
def test_a_stage_leaves_a_receipt_of_what_comes_back(kind: type[LakeferryError]) -> None:
    """A mistake in the configuration is mended and a service comes back: then the same plan goes on."""
    assert kind("x").comes_back == (kind.recovery in ("plan_again", "look_at_data"))


def test_the_docs_list_each_code_with_its_exit_code() -> None:
    text = _DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d) \| (LF-\d+) \|", text, re.MULTILINE)
    documented = {code: (name, int(exit_code)) for name, exit_code, code in rows}
    own = {code: (name, exit_code) for code, (name, _, exit_code) in CODES.items()}
    assert documented == {code: entry for code, entry in own.items() if code != LakeferryError.code}
