"""The Iceberg catalog as plain Python sees it, through PyIceberg: no Spark."""

from __future__ import annotations

import os
import re

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError

from connectors.errors import ServiceUnavailable, SettingError
from jobs.lake.missing_parts import missing_file
from jobs.lake.names import CATALOG, CURATED, DATABASE_PREFIX, QUARANTINE, RAW
from jobs.runtime.settings import Settings

NAMESPACES = (RAW, CURATED, QUARANTINE)
_DEFAULT_PREFIX = "database-prefix-is-default"
"""Property of a catalog whose databases nobody has named."""


def open_catalog(settings: Settings) -> Catalog:
    """Open the catalog that the settings name.

    Raises:
        SettingError: a catalog of another kind.
    """
    files = {"s3.connect-timeout": "5", "s3.request-timeout": "15", DATABASE_PREFIX: settings.databases}
    if settings.database_prefix is None:
        files[_DEFAULT_PREFIX] = "true"
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3")
    if endpoint:
        files |= {"s3.endpoint": endpoint, "s3.path-style-access": "true"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        files |= {"s3.region": region}
    if settings.catalog.startswith("sqlite:///"):
        path = settings.catalog_file
        path.parent.mkdir(parents=True, exist_ok=True)
        return load_catalog(CATALOG, type="sql", uri=f"sqlite:///{path}", warehouse=settings.lake, **files)
    if settings.catalog == "glue":
        return load_catalog(CATALOG, type="glue", warehouse=settings.lake, **files)
    raise SettingError(
        f"LAKEFERRY_CATALOG={settings.catalog} is not a catalog",
        where="LAKEFERRY_CATALOG",
        choices=["sqlite:///PATH", "glue"],
    )


def ensure_namespaces(catalog: Catalog) -> None:
    """Make the lake's namespaces where they are not there yet; several runs may do so at once.

    Raises:
        SettingError: a database of that name lies outside the lake: it is another lake's. Or the lake has databases of
            an earlier version, which had no prefix.
    """
    for namespace in NAMESPACES:
        name = database(catalog, namespace)
        if catalog.namespace_exists(name):
            location = catalog.load_namespace_properties(name).get("location")
            if location:
                _check_location(catalog, f"database {name}", str(location))
            continue
        if name != namespace and _DEFAULT_PREFIX in catalog.properties:
            _check_earlier_names(catalog, namespace, name)
        try:
            catalog.create_namespace(name)
        except (NamespaceAlreadyExistsError, IntegrityError):
            continue  # Another run made it in the meantime.


def _check_earlier_names(catalog: Catalog, namespace: str, name: str) -> None:
    """Refuse databases of an earlier version: beside them, under new names, an existing lake would look like a new one.

    Several lakes may share the database of an earlier version, so each of its tables is looked at until one lies inside
    this lake.

    Args:
        namespace: the database's name in an earlier version.
        name: its name now.

    Raises:
        SettingError: a table of that database lies inside the lake; or none does as far as they can be read, and some
            cannot.
    """
    if not catalog.namespace_exists(namespace):
        return
    unread: list[str] = []
    for identifier in catalog.list_tables(namespace):
        try:
            table = catalog.load_table(identifier)
        except NoSuchTableError:
            continue  # Somebody dropped it since the list was read.
        except OSError:
            # Perhaps the other lake's files are closed to this one.
            unread.append(".".join(identifier))
            continue
        if _is_inside(catalog, table.location()):
            raise SettingError(
                f"the lake has a database {namespace} of an earlier version, and by default it is {name} now",
                where="LAKEFERRY_DATABASE_PREFIX",
                fix="Set LAKEFERRY_DATABASE_PREFIX to the empty text, for Airflow and its jobs, to go on with it",
            )
    if unread:
        raise SettingError(
            f"the catalog has a database {namespace} of an earlier version, by default it is {name} now, and the "
            f"metadata of {len(unread)} of its tables cannot be read ({', '.join(unread[:3])}): they may be this "
            "lake's",
            where="LAKEFERRY_DATABASE_PREFIX",
            fix="If they are this lake's, set LAKEFERRY_DATABASE_PREFIX to the empty text, for Airflow and its jobs; "
            f"if they are another lake's, set it to {name.removesuffix(namespace)}",
        )


def database(catalog: Catalog, namespace: str) -> str:
    """Return the catalog's database that holds a namespace of the lake."""
    return f"{catalog.properties.get(DATABASE_PREFIX, '')}{namespace}"


def namespace_of(table: Table) -> str:
    """Return the namespace of the lake (`raw`, `curated` or `quarantine`) that a table is in, under any prefix of its
    database; for any other database, its own name."""
    name = table.name()[0]
    return next((namespace for namespace in NAMESPACES if name.endswith(namespace)), name)


def name_in(table: Table, namespace: str) -> str:
    """Return the name of the same dataset's table in a namespace of the same lake, as `database.table`."""
    name, dataset = table.name()[0], table.name()[-1]
    return f"{name.removesuffix(namespace_of(table))}{namespace}.{dataset}"


def data_folder(table: Table) -> str:
    """Return where a table's data files lie."""
    return f"{table.location().rstrip('/')}/data"


def find_table(catalog: Catalog, namespace: str, dataset: str) -> Table | None:
    """Return the table, or None if it was never created.

    Raises:
        ServiceUnavailable: the lake or its catalog does not answer.
        LakeAltered: the table's metadata file is gone.
        SettingError: the table lies outside the lake: it is another lake's.
    """
    try:
        table = catalog.load_table((database(catalog, namespace), dataset))
    except (NoSuchTableError, NoSuchNamespaceError):
        return None
    except FileNotFoundError as error:
        raise missing_file(str(error), dataset) from error
    except OSError as error:
        raise ServiceUnavailable(
            f"the lake does not answer: {namespace}.{dataset} cannot be read", fix="Locally: make up"
        ) from error
    _check_location(catalog, f"table {'.'.join(table.name())}", table.location())
    return table


def _check_location(catalog: Catalog, what: str, location: str) -> None:
    """Refuse to share a catalog's databases between two lakes: one would go on from the other's position."""
    if not _is_inside(catalog, location):
        raise SettingError(
            f"{what} of the catalog lies at {location}, outside the lake {catalog.properties['warehouse']}: it belongs "
            "to another lake",
            where="LAKEFERRY_LAKE",
            fix="Set LAKEFERRY_LAKE to the lake you mean, or LAKEFERRY_DATABASE_PREFIX to names of this lake's own",
        )


def _is_inside(catalog: Catalog, location: str) -> bool:
    """Whether an address is in the catalog's lake."""
    lake = _plain(catalog.properties["warehouse"])
    return _plain(location) == lake or _plain(location).startswith(f"{lake}/")


def _plain(location: str) -> str:
    """Remove what differs between writers: `s3a://` for `s3://`, `file:/` for `file:///`, a slash at the end."""
    return re.sub(r"^file:/*", "file:/", re.sub(r"^s3[an]://", "s3://", location)).rstrip("/")
