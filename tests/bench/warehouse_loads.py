"""Part four: published rows into the warehouse, against `load_table_from_file` called by hand on the same files.

Both go through one proxy, which counts what they send. Only Lakeferry's load stage is measured, in a process of its
own: its files, the proof of them, and the transaction.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.cloud import bigquery

from connectors.bigquery.columns import WarehouseColumn
from connectors.bigquery.tables import ensure_dataset, make_staging
from jobs.lake.catalog import open_catalog
from jobs.lake.names import RAW
from jobs.runtime.settings import Settings
from jobs.stages.load.transport_files import columns_of, data_files, write_parquet
from jobs.warehouse.client import open_warehouse
from tests.bench.lake_runs import Lake
from tests.bench.outcome import Outcome, of_process, tried
from tests.bench.progress import say
from tests.bench.tables import payments
from tests.bench.watched import ContenderFailed, Watched, watch
from tests.bench.whole_tables import PIPELINE
from tests.bench.workplace import Workplace
from tests.support.counting_proxy import CountingProxy

BY_HAND = "load_table_from_file"
PROOFS = ("off", "fingerprint")
_BATCH = 1


@dataclass(frozen=True)
class Sent:
    """What a contender asked of the warehouse: bytes of all its requests, and jobs."""

    bytes: int
    load_jobs: int
    query_jobs: int


@dataclass(frozen=True)
class WarehouseLoads:
    """A size's outcomes by contender. `file_bytes` are those of the files BigQuery gets, `lake_files` what the rows lie
    in before."""

    rows: int
    lake_files: int
    files: int
    file_bytes: int
    outcomes: dict[str, Outcome]
    sent: dict[str, Sent]


def measure_warehouse_loads(work: Workplace, sizes: Sequence[int]) -> list[WarehouseLoads] | None:
    """Bring tables of these sizes into the lake, then into the warehouse; None where the warehouse is no emulator: a
    benchmark spends nobody's money."""
    settings = work.lake("lake").settings
    if not settings.warehouse_endpoint:
        say("The warehouse is the real BigQuery: nothing is loaded into it")
        return None
    return [_measure(work, rows) for rows in sizes]


def _measure(work: Workplace, rows: int) -> WarehouseLoads:
    say(f"{rows:,} rows into the warehouse")
    lake = work.lake("lake")
    table = payments(rows)
    lake.pipeline(PIPELINE, [table], "off")
    lake.run(PIPELINE, "into the lake", rows)
    raw = open_catalog(lake.settings).load_table((RAW, table))
    folder = work.folder / "transport"
    folder.mkdir()
    columns = columns_of(raw.schema())
    written = write_parquet(raw, _BATCH, columns, folder)
    outcomes: dict[str, Outcome] = {}
    sent: dict[str, Sent] = {}

    def take(contender: str, run: Callable[[Settings], Watched]) -> None:
        def measured() -> Outcome:
            with _Watch(lake.settings) as watched:
                took = run(watched.settings)
            sent[contender] = watched.sent()
            return of_process(contender, rows, took)

        work.quiet()
        outcomes[contender] = tried(contender, rows, measured)

    take(BY_HAND, partial(_by_hand, work, folder, columns, rows))
    for proof in PROOFS:
        lake.pipeline(PIPELINE, [table], proof)
        take(f"lakeferry load, {proof}", partial(_load, lake, rows))
    work.remove("transport")
    return WarehouseLoads(
        rows=rows,
        lake_files=len(data_files(raw, _BATCH)),
        files=len(written),
        file_bytes=sum(file.size_bytes for file in written),
        outcomes=outcomes,
        sent=sent,
    )


def _load(lake: Lake, rows: int, settings: Settings) -> Watched:
    """Into a table and a ledger that are not there yet."""
    open_warehouse(settings).client.delete_dataset("bench", delete_contents=True, not_found_ok=True)
    own = {
        "LAKEFERRY_WAREHOUSE_ENDPOINT": str(settings.warehouse_endpoint),
        "LAKEFERRY_WAREHOUSE_LEDGER_DATASET": settings.warehouse_ledger_dataset,
    }
    return lake.load(PIPELINE, rows, own)


def _by_hand(
    work: Workplace, folder: Path, columns: Sequence[WarehouseColumn], rows: int, settings: Settings
) -> Watched:
    # The emulator makes no table for a load.
    warehouse = open_warehouse(settings)
    ensure_dataset(warehouse, _dataset(settings))
    make_staging(warehouse, f"{_dataset(settings)}.by_hand", columns)
    own = {"BENCH_BIGQUERY": str(settings.warehouse_endpoint), "BENCH_PROJECT": settings.warehouse_project}
    watched = watch(
        [sys.executable, str(Path(__file__).with_name("hand_load.py")), str(folder), f"{_dataset(settings)}.by_hand"],
        environment={**os.environ, **own},
        log=work.logs / f"by-hand-{rows}",
        limit_seconds=work.limits.seconds,
        server_cpu=work.limits.server_cpu,
    )
    if watched.code != 0:
        raise ContenderFailed(watched.reason())
    loaded = int(watched.output.read_text(encoding="utf-8").split()[-1])
    if loaded != rows:
        raise ContenderFailed(f"loaded {loaded:,} of {rows:,} rows")
    return watched


class _Watch:
    """Counts what goes to the warehouse. `settings` lead there through the proxy, to a ledger of this measure's own,
    whose dataset is gone afterwards."""

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(str(settings.warehouse_endpoint))
        self._client = open_warehouse(settings).client
        self._proxy = CountingProxy(address.hostname or "", address.port or 80)
        self._before = set(self._jobs())
        self.settings = settings.model_copy(
            update={
                "warehouse_endpoint": f"http://127.0.0.1:{self._proxy.port}",
                "warehouse_ledger_dataset": f"bench_{uuid.uuid4().hex[:8]}",
            }
        )

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()
        self._client.delete_dataset(_dataset(self.settings), delete_contents=True, not_found_ok=True)

    def sent(self) -> Sent:
        kinds = [kind for name, kind in self._jobs().items() if name not in self._before]
        return Sent(self._proxy.sent_bytes, kinds.count(bigquery.LoadJob), kinds.count(bigquery.QueryJob))

    def _jobs(self) -> dict[str, type[Any]]:
        # All of them: the emulator does not look at the time that is asked for.
        return {job.job_id: type(job) for job in self._client.list_jobs(all_users=True)}


def _dataset(settings: Settings) -> str:
    return settings.warehouse_ledger_dataset
