"""For tests of sources outside this project: the conformance suite, and what it asks of a source's author."""

from __future__ import annotations

from connectors.optional import hinted

with hinted():
    import pytest

# Without this, a failed assertion of the suite shows no values (pytest manual, "Assertion rewriting").
pytest.register_assert_rewrite("connectors.testing.source_suite")

from connectors.testing.factory import Row, Sample, SourceFactory  # noqa: E402
from connectors.testing.source_suite import SourceSuite  # noqa: E402

__all__ = ["Row", "Sample", "SourceFactory", "SourceSuite"]
