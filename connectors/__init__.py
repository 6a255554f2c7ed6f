"""Sources and the warehouse, each in its module, imported only when used."""

from __future__ import annotations

from connectors.registry import SOURCES, open_source, source_class, source_types

__all__ = ["SOURCES", "open_source", "source_class", "source_types"]
