"""Rules of the datasets: one YAML file per dataset; each rule is defined once.

Row rules become Spark predicates that set single rows aside. Great Expectations evaluates the dataset rules, and the
row rules once more on the remaining rows. Importing this package needs neither of the two.
"""

from __future__ import annotations

from expectations.suite import Rule, Suite, parse_suite, read_suite

__all__ = ["Rule", "Suite", "parse_suite", "read_suite"]
