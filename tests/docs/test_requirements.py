"""`requirements.txt` pins what `pyproject.toml` asks for, and nothing less."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from jobs.runtime.project import CODE_ROOT

PROJECT = tomllib.loads((CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIRED = [
    *PROJECT["project"]["dependencies"],
    *(text for extra in PROJECT["project"].get("optional-dependencies", {}).values() for text in extra),
    *PROJECT["dependency-groups"]["dev"],
]
PINNED = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)",
        (CODE_ROOT / "requirements.txt").read_text(encoding="utf-8"),
        re.M,
    )
}


@pytest.mark.parametrize("text", REQUIRED)
def test_each_dependency_is_pinned_to_a_version_it_allows(text: str) -> None:
    requirement = Requirement(text)
    if requirement.name == PROJECT["project"]["name"]:  # its own extras, which are compared themselves
        assert requirement.extras <= set(PROJECT["project"]["optional-dependencies"])
        return
    assert canonicalize_name(requirement.name) in PINNED, f"requirements.txt lacks {requirement.name}: compile it again"
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)], prereleases=True)


def test_what_is_pinned_for_the_project_itself_is_required_by_it() -> None:
    """`uv pip compile` writes below a pin what requires it: a dependency that was removed leaves its pin behind."""
    pins = re.split(r"^(?=\S)", (CODE_ROOT / "requirements.txt").read_text(encoding="utf-8"), flags=re.M)
    direct = {re.split(r"[=\[]", pin)[0] for pin in pins if "lakeferry (pyproject.toml" in pin}
    required = {canonicalize_name(Requirement(text).name) for text in REQUIRED}
    assert {canonicalize_name(name) for name in direct} <= required
    assert len(direct) > 20
