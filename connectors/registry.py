"""Finds the class of a source by its type: a table for the built-in sources, entry points for those of others.

A distribution offers a source by an entry point of the group `lakeferry.sources` (PyPA, "Entry points specification").
The built-in sources need no entry point: a checkout and the zip on EMR have no installed distribution. Entry points are
read only for a type that is not built in, once per process, so a thousand pipelines parse as fast as one. A built-in
type cannot be replaced.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from connectors.base import Source, SourceOptions, SourceSettings
from connectors.capabilities import CAPABILITIES, members
from connectors.connection import Connection
from connectors.errors import ConfigurationError, SpecError
from connectors.optional import hinted

GROUP = "lakeferry.sources"
SOURCES: dict[str, str] = {
    "aurora": "connectors.mysql:AuroraSource",
    "tidb": "connectors.mysql:TiDBSource",
    "kafka": "connectors.kafka:KafkaSource",
    "s3": "connectors.s3:S3Source",
}
"""Built-in source type → `module:class`. `pyproject.toml` declares the same as entry points."""


@cache
def source_class(source_type: str) -> type[Source]:
    """Return the class of a source type.

    Raises:
        PackageMissing: a package that a built-in source needs is not installed.
        SpecError: there is no such type (the message lists those that exist), two distributions offer it, it cannot be
            imported, or it is not a complete source.
    """
    if source_type in SOURCES:
        module, name = SOURCES[source_type].split(":")
        with hinted():
            cls: type[Source] = getattr(import_module(module), name)
        return cls
    return _from_entry_point(source_type)


def open_source(source_type: str, connection: Connection, settings: SourceSettings | None = None) -> Source:
    """Return a source of that type on that connection; nothing is contacted yet. The errors are `source_class`'s."""
    return source_class(source_type)(connection, settings)


def source_types(capability: type | None = None) -> list[str]:
    """Return all source types, built-in or of installed distributions, sorted; with a capability, those that have it.

    A type that cannot be imported has no capability.
    """
    types = sorted(SOURCES.keys() | _offered().keys())
    return types if capability is None else [name for name in types if _has(name, capability)]


def _has(source_type: str, capability: type) -> bool:
    try:
        return issubclass(source_class(source_type), capability)
    except ConfigurationError:
        return False


@cache
def _offered() -> Mapping[str, list[EntryPoint]]:
    offered: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry in entry_points(group=GROUP):
        offered[entry.name].append(entry)
    return dict(offered)


def _from_entry_point(source_type: str) -> type[Source]:
    entries = _offered().get(source_type, [])
    if not entries:
        near = get_close_matches(source_type, source_types(), n=1)
        raise SpecError(
            f"unknown source type {source_type!r}",
            choices=source_types(),
            fix=f"Did you mean {near[0]}?" if near else "Choose one, or install the distribution that offers it",
        )
    if len(entries) > 1:
        raise SpecError(
            f"{len(entries)} distributions offer a source type {source_type!r}: "
            + " and ".join(sorted(_distribution(entry) for entry in entries)),
            fix="Uninstall all but one of them",
        )
    [entry] = entries
    try:
        loaded = entry.load()
    except (Exception, SystemExit) as error:
        raise SpecError(
            f"source type {source_type!r} ({entry.value} of {_distribution(entry)}) cannot be imported: "
            f"{type(error).__name__}: {error}",
            fix="Install what it needs, or a version that works with this one",
        ) from error
    return _checked(loaded, entry)


def _checked(loaded: object, entry: EntryPoint) -> type[Source]:
    """Return the class that an entry point names, if it is a whole source."""
    if not (isinstance(loaded, type) and issubclass(loaded, Source)):
        raise _unfit(entry, "is not a subclass of connectors.base.Source")
    options = getattr(loaded, "Options", None)
    if not (isinstance(options, type) and issubclass(options, SourceOptions)):
        raise _unfit(entry, "has no Options, a subclass of connectors.base.SourceOptions")
    missing = sorted(getattr(loaded, "__abstractmethods__", ()))
    if missing or inspect.isabstract(loaded):
        raise _unfit(entry, f"does not implement {', '.join(missing)}")
    if options.rows_name_their_place != bool(loaded.identity_columns):
        raise _unfit(
            entry,
            "has identity_columns where Options.rows_name_their_place is true, and nowhere else: set both or none",
        )
    for capability in CAPABILITIES:
        offered = {name for name in members(capability) if hasattr(loaded, name)}
        absent = sorted(members(capability) - offered)
        if offered and absent:
            raise _unfit(
                entry, f"has {', '.join(sorted(offered))} and lacks {', '.join(absent)} ({capability.__name__})"
            )
    return loaded


def _unfit(entry: EntryPoint, problem: str) -> SpecError:
    return SpecError(
        f"source type {entry.name!r}: {entry.value} of {_distribution(entry)} {problem}",
        fix="Ask its author for a version that fits this one",
    )


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
