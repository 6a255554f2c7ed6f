"""`lakeferry doctor`: what is up, what each setting is, and whether every connection works."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import connectors
from connectors.connection import find_connection
from connectors.errors import AccessDenied, LakeferryError, SettingError
from connectors.yaml.text_files import shown_name
from jobs.lake.catalog import open_catalog
from jobs.lake.documents import open_documents
from jobs.masking.masks import find_mask_key
from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipelines
from jobs.warehouse.client import open_bucket, open_warehouse


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `exit_code` 0 where it is well, else that of its error."""

    what: str
    detail: str
    exit_code: int = 0


def examine(settings: Settings) -> list[Finding]:
    """Try everything a run needs, side by side; nothing is changed."""
    from connectors.bigquery.ledger import ledger_name

    specs, broken = load_pipelines(settings.pipelines)
    datasets = [dataset for spec in specs.values() for dataset in spec.datasets]
    tables = [dataset.bigquery.table for dataset in datasets]
    tables += [ledger_name(settings.warehouse_ledger_dataset, dataset.name) for dataset in datasets]
    checks: list[tuple[str, Callable[[], str]]] = [
        ("java", _java),
        ("spark jars", lambda: _jars(settings)),
        (f"lake {settings.lake}", lambda: f"{len(open_documents(settings.lake).list('plans/'))} plans"),
        (f"catalog {settings.catalog}", lambda: f"namespaces {open_catalog(settings).list_namespaces()}"),
        (f"warehouse {settings.warehouse_project}", lambda: _warehouse(settings, tables)),
    ]
    bucket = open_bucket(settings)
    if bucket is not None:
        checks.append((f"bucket {settings.warehouse_bucket}", bucket.ping))
    used: dict[str, str] = {}
    for spec in specs.values():
        if spec.source:
            used.setdefault(spec.source.connection, spec.source.type)
    for connection, source_type in sorted(used.items()):
        checks.append((f"connection {connection} ({source_type})", _pinging(connection, source_type)))
    hashing = {spec.mask_key for spec in specs.values() if spec.mask_key in spec.connections}
    for connection in sorted(hashing):
        checks.append((f"connection {connection} (mask key)", _finding_key(connection)))
    with ThreadPoolExecutor(8) as pool:
        findings = list(pool.map(lambda check: _find(*check), checks))
    findings += [
        Finding(f"pipeline file {shown_name(path)}", str(error), error.exit_code) for path, error in broken.items()
    ]
    findings += [Finding(f"pipeline {name}", f"{len(spec.datasets)} datasets") for name, spec in specs.items()]
    return findings


def _find(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look())
    except LakeferryError as error:
        return Finding(what, str(error), error.exit_code)


def _pinging(connection: str, source_type: str) -> Callable[[], str]:
    def ping() -> str:
        resolved = find_connection(connection)
        return connectors.open_source(source_type, resolved).ping()

    return ping


def _finding_key(connection: str) -> Callable[[], str]:
    return lambda: f"a key of {len(find_mask_key(connection))} bytes"


def _warehouse(settings: Settings, tables: list[str]) -> str:
    """Whether the warehouse answers, with whose credentials, and whether they may do what a load does."""
    from connectors.bigquery.tables import find_table

    warehouse = open_warehouse(settings)
    answer = warehouse.ping()
    if settings.warehouse_endpoint:
        return answer
    answer = f"{answer}, with {warehouse.credentials_kind()}"
    # A dry run is free and needs bigquery.jobs.create; BigQuery names it where it is missing.
    warehouse.estimate("SELECT 1")
    in_dataset: dict[str, list[str]] = {}
    for table in tables:
        in_dataset.setdefault(table.split(".")[0], []).append(table)
    for some in in_dataset.values():
        # Rights are given on datasets: the first table that is there stands for all.
        table = next((table for table in some if find_table(warehouse, table)), "")
        lacking = warehouse.lacking(table) if table else []
        if lacking:
            raise AccessDenied(
                f"{answer}: on {table} the permissions {', '.join(lacking)} are missing",
                fix="Grant roles/bigquery.dataEditor on its dataset",
            )
    return answer


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise SettingError("java is not on PATH: Spark needs Java 17", fix="Install Java 17")
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    return (shown.stderr or shown.stdout).splitlines()[0]


def _jars(settings: Settings) -> str:
    folder = Path(settings.spark_packages_dir)
    jars = list(folder.glob("*.jar"))
    if not any(jar.name.startswith("iceberg-spark-runtime") for jar in jars):
        raise SettingError(
            f"no Iceberg jar in {folder}", where="LAKEFERRY_SPARK_PACKAGES_DIR", fix="make setup fetches the jars"
        )
    return f"{len(jars)} in {folder}"
