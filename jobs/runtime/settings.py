"""`LAKEFERRY_*` settings: typed, read from the environment, listed by `lakeferry doctor`."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.errors import SettingError
from jobs.runtime.project import PROJECT
from jobs.spec.airflow_options import LONGEST_MINUTES, LONGEST_STAGE_MINUTES
from jobs.spec.names import Audience, BucketUrl, Bytes, WebAddress


class Settings(BaseSettings):
    """Every setting, with what it means. Secrets are not settings: they live in connections."""

    model_config = SettingsConfigDict(env_prefix="LAKEFERRY_", frozen=True, extra="ignore")

    lake: str = Field(
        default="s3://lakeferry-lake",
        description="root of the lake: s3://bucket/prefix, or file:///folder",
    )
    catalog: str = Field(
        default=f"sqlite:///{PROJECT}/.lakeferry/catalog.db",
        description="Iceberg catalog: sqlite:///path locally, glue on AWS",
    )
    database_prefix: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9_]*$",
        description="what the names of the catalog's databases begin with, so that lakes can share a catalog; default: "
        "the lake's bucket and prefix in glue, nothing in a sqlite catalog",
    )
    pipelines: Path = Field(default=PROJECT / "dags" / "pipelines", description="folder of the pipelines' YAML files")
    expectations: Path = Field(
        default=PROJECT / "expectations" / "suites", description="folder of the suites' YAML files"
    )
    runner: Literal["local", "emr_serverless"] = Field(default="local", description="where Spark stages run")
    spark_master: str = Field(default="local[2]", description="master of the local runner")
    spark_packages_dir: Path = Field(
        default=Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lakeferry" / "jars",
        description="folder of the jars the local runner adds to Spark",
    )
    spark_driver_memory: str = Field(default="2g", description="driver memory of the local runner")
    spark_java_options: str = Field(
        default="",
        description="further Java options of the local runner; small batches are best served by "
        "'-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m'",
    )
    rows_per_slice: int = Field(
        default=500_000, ge=1, description="rows that a slice aims at, where a source can choose"
    )
    slices_per_commit: int = Field(default=8, ge=1, description="slices appended to the lake in one commit")
    datasets_in_parallel: int = Field(
        default=4, ge=1, description="datasets moved side by side in one Spark application"
    )
    warehouse_project: str = Field(default="lakeferry-local", description="Google Cloud project of BigQuery")
    warehouse_location: str = Field(default="US", description="location of BigQuery datasets, load and query jobs")
    warehouse_endpoint: str | None = Field(
        default=None, description="BigQuery API endpoint; set for the emulator, empty for the real service"
    )
    warehouse_ledger_dataset: str = Field(
        default="lakeferry", description="BigQuery dataset of ledger and staging tables"
    )
    warehouse_quota_project: str | None = Field(
        default=None,
        description="project whose quota BigQuery's API calls use, where it is not that of the credentials",
    )
    warehouse_kms_key: str | None = Field(
        default=None,
        description="Cloud KMS key (projects/…/cryptoKeys/…) of the BigQuery datasets and tables that are made",
    )
    warehouse_impersonate: str | None = Field(
        default=None, description="e-mail address of the service account to act as in BigQuery"
    )
    warehouse_federation: Audience | None = Field(
        default=None,
        description="audience of the workload identity provider that takes this process's AWS credentials for BigQuery",
    )
    warehouse_bucket: BucketUrl | None = Field(
        default=None,
        description="gs://bucket/prefix that load jobs read from; empty: files are uploaded to BigQuery directly",
    )
    warehouse_bucket_endpoint: str | None = Field(
        default=None, description="Cloud Storage API endpoint; set for a stand-in, empty for the real service"
    )
    warehouse_spread_bytes: Bytes = Field(
        default=1024**3,
        description="size of a batch in the lake, such as 1 GiB, from which on Spark's executors copy it to the bucket",
    )
    max_bytes_billed: Bytes | None = Field(
        default=None,
        description="bytes that a batch's statements, or a view, may scan in BigQuery, such as 100 GB; empty: no limit",
    )
    artifacts: str | None = Field(default=None, description="s3:// folder where `make package` puts what EMR runs")
    emr_application_id: str | None = Field(default=None, description="EMR Serverless application to submit to")
    emr_job_role_arn: str | None = Field(default=None, description="IAM role the EMR job runs as")
    emr_aws_conn_id: str | None = Field(
        default=None,
        description="Airflow connection (Amazon Web Services) for EMR Serverless, artifacts and logs; empty: the "
        "credentials of where Airflow runs",
    )
    emr_python: str = Field(default="python3.11", description="Python on the EMR workers; `make package` builds for it")
    emr_deferrable: bool = Field(default=False, description="wait for EMR jobs in Airflow's triggerer, not in a worker")
    emr_studio_url: WebAddress | None = Field(
        default=None,
        description="address of the EMR Studio that shows the application's jobs, "
        "https://es-….emrstudio-prod.REGION.amazonaws.com; empty: links lead to a job's logs on S3",
    )
    triggerer: bool = Field(
        default=True,
        description="whether Airflow has a triggerer: the tasks of datasets wait there and follow the stages; without "
        "one they come after load, and stages on EMR wait in a worker",
    )
    watch_seconds: float = Field(
        default=5, gt=0, le=3600, description="seconds between two looks at the receipts of a run that is going on"
    )
    lake_url: WebAddress | None = Field(
        default=None,
        description="http(s) address below which a browser reads the lake's documents; empty: links lead to the S3 "
        "console",
    )
    state_dir: Path = Field(default=PROJECT / ".lakeferry", description="folder of what runs on this machine keeps")
    pass_environment: str = Field(
        default="",
        description="further variables that a task's own processes get from Airflow's environment: names with commas "
        "between them, such as MYTEAM_*,KRB5CCNAME; a * stands for any rest",
    )
    dags_paused: bool = Field(default=True, description="whether a new DAG starts paused")
    dag_id_prefix: str = Field(
        default="",
        pattern=r"^[\w.-]{0,100}$",
        description="what the ids of all DAGs begin with, before the pipeline's name",
    )
    asset_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]{0,50}$",
        description="what the names of all assets begin with, where two lakes share an Airflow",
    )
    schedules: bool = Field(
        default=True, description="whether cron schedules start runs; assets and triggers always do"
    )
    page_minutes: int = Field(
        default=5,
        ge=0,
        le=LONGEST_MINUTES,
        description="minutes between two drawings of the status page by Airflow; 0: it draws none",
    )
    task_retries: int = Field(
        default=3, ge=0, le=10_000, description="retries of a task after a crash or a failure outside"
    )
    plan_timeout_minutes: int = Field(
        default=60,
        ge=1,
        le=LONGEST_MINUTES,
        description="minutes the task plan may take, unless the pipeline's airflow.timeouts say",
    )
    stage_timeout_minutes: int = Field(
        default=720,
        ge=1,
        le=LONGEST_STAGE_MINUTES,
        description="minutes a stage may take, and its job on Spark, unless the pipeline's airflow.timeouts say",
    )
    run_timeout_minutes: int | None = Field(
        default=None,
        ge=1,
        le=LONGEST_MINUTES,
        description="minutes a run may take, unless the pipeline's airflow.timeouts say; empty: twice those of a stage",
    )
    task_retry_delay_seconds: int = Field(
        default=60, ge=0, le=30 * 24 * 3600, description="seconds before the first retry; it doubles"
    )

    @property
    def passed_names(self) -> tuple[str, ...]:
        """The names of `LAKEFERRY_PASS_ENVIRONMENT`."""
        return tuple(name for part in self.pass_environment.split(",") if (name := part.strip()))

    @property
    def catalog_file(self) -> Path:
        """The file of a `sqlite:///path` catalog."""
        return Path(self.catalog.removeprefix("sqlite:///")).absolute()

    @property
    def databases(self) -> str:
        """What the names of the catalog's databases begin with."""
        if self.database_prefix is not None or self.catalog != "glue":
            return self.database_prefix or ""
        # Glue takes lower-case letters, digits and _ ("Database structure" in its API reference).
        words = re.sub(r"[^a-z0-9]+", "_", self.lake.partition("://")[2].lower()).strip("_")
        return f"{words}_"

    @cached_property
    def lake_bucket(self) -> str | None:
        """The bucket of an s3:// lake, else None."""
        return self.lake.removeprefix("s3://").split("/", 1)[0] if self.lake.startswith("s3://") else None


def load_settings() -> Settings:
    """Read the settings file (for what the environment does not say), then the environment.

    Raises:
        SettingError: a value cannot be read; names the variable and what it takes.
    """
    read_settings_file()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"LAKEFERRY_{str(first['loc'][0]).upper()}"
        raise SettingError(f"setting {name}={first['input']!r}: {first['msg']}", where=name) from None


def read_settings_file() -> None:
    """Put `KEY=value` lines of the settings file into the environment where they are not set.

    The file is `LAKEFERRY_SETTINGS_FILE`, else `.lakeferry/settings.env` in the working directory or
    the project (`project_root`); `make up` writes it for the local services. No file is no error, unless one is named.
    """
    named = os.environ.get("LAKEFERRY_SETTINGS_FILE")
    candidates = (
        [Path(named)] if named else [Path.cwd() / ".lakeferry/settings.env", PROJECT / ".lakeferry/settings.env"]
    )
    file = next((path for path in candidates if path.is_file()), None)
    if file is None:
        if named:
            raise SettingError(f"LAKEFERRY_SETTINGS_FILE={named}: no such file", fix="Name a file, or unset it")
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.lstrip().startswith("#"):
            os.environ.setdefault(key.strip(), value.strip())
