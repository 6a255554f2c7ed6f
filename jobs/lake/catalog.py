"""The Iceberg catalog as plain Python sees it, through PyIceberg: no Spark."""

from __future__ import annotations

import os

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError

from connectors.errors import ServiceUnavailable, SettingError
from jobs.lake.names import CATALOG
from jobs.settings import Settings

RAW, CURATED, QUARANTINE = "raw", "curated", "quarantine"
NAMESPACES = (RAW, CURATED, QUARANTINE)


def open_catalog(settings: Settings) -> Catalog:
    """The catalog the settings name.

    Raises:
        SettingError: a catalog of another kind.
    """
    files = {"s3.connect-timeout": "5", "s3.request-timeout": "15"}
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
    """Make the lake's namespaces where they are not there yet; several runs may do so at once."""
    for namespace in NAMESPACES:
        if catalog.namespace_exists(namespace):
            continue
        try:
            catalog.create_namespace(namespace)
        except (NamespaceAlreadyExistsError, IntegrityError):
            continue  # Another run made it in the meantime.


def data_folder(table: Table) -> str:
    """Where a table's data files lie."""
    return f"{table.location().rstrip('/')}/data"


def find_table(catalog: Catalog, namespace: str, dataset: str) -> Table | None:
    """The table, or None where it was never made.

    Raises:
        ServiceUnavailable: the lake or its catalog does not answer.
    """
    try:
        return catalog.load_table((namespace, dataset))
    except (NoSuchTableError, NoSuchNamespaceError):
        return None
    except OSError as error:
        raise ServiceUnavailable(
            f"the lake does not answer: {namespace}.{dataset} cannot be read", fix="Locally: make up"
        ) from error
