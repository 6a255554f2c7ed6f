"""Rules of the datasets: one YAML file a dataset, one definition a rule.

Row rules become Spark predicates that set single rows aside; dataset rules, and the row rules once
more on what is left, are proved by Great Expectations. Importing this needs neither.
"""

from __future__ import annotations

from expectations.suite import Rule, Suite, load_suite

__all__ = ["Rule", "Suite", "load_suite"]
