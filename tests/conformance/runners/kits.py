"""A runner of each kind, with the stand-in stage where it looks for its stages."""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import uuid
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from jobs.runtime.settings import Settings
from lakeferry_airflow.runners import Work, open_runner

if TYPE_CHECKING:
    from lakeferry_airflow.runners import Ended, Runner

CHECKOUT = Path(__file__).resolve().parents[3]
STAND_IN = Path(__file__).with_name("stand_in_stage.py")
ROLE = "arn:aws:iam::123456789012:role/lakeferry-job"
SECRET = "correct-horse-battery"


class Kit(ABC):
    """Makes runners, and work for them. `folder` is where the stand-in meets the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """Settings that name the runner."""

    def runner(self, **changes: Any) -> Runner:
        """A runner with the kit's settings, some of them changed."""
        return open_runner(self.settings.model_copy(update=changes))

    def work(self, name: str, attempt: int = 1) -> Work:
        return Work(
            pipeline="payments",
            run_id="manual__2026-11-23T00:00:00+00:00",
            stage="extract",
            plan_uri=f"file://{self.folder}/{name}",
            through="check",
            attempt=attempt,
            connections={"AIRFLOW_CONN_AURORA_PAYMENTS": f"mysql://lakeferry:{SECRET}@db:3306/shop"},
        )

    def pids(self, name: str, count: int) -> list[int]:
        """Processes that have begun the plan's work; waits until there are so many."""
        path = self.folder / f"{name}.pids"
        until = time.monotonic() + 120
        while time.monotonic() < until:
            found = [int(line) for line in path.read_text().split()] if path.exists() else []
            if len(found) >= count:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{name} was not run {count} times")

    def let_go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()


class LocalKit(Kit):
    """The local runner, over the entries in a folder of the test's own."""

    @property
    def settings(self) -> Settings:
        return Settings(runner="local", state_dir=self.folder / "state")


class EmrKit(Kit):
    """The EMR runner, against an AWS whose EMR Serverless runs jobs, with small artifacts.

    Application, artifacts and lake are the kit's own. `application` may be replaced, as `deploy` replaces artifacts.
    """

    def __init__(self, folder: Path, aws: Aws) -> None:
        super().__init__(folder)
        self._bucket = aws.bucket
        self._prefix = uuid.uuid4().hex[:12]
        self._s3 = boto3.client("s3", endpoint_url=aws.endpoint)
        self.emr = boto3.client("emr-serverless", endpoint_url=aws.endpoint)
        self.application = self.make_application()
        self.deploy("1")

    @property
    def settings(self) -> Settings:
        return Settings(
            runner="emr_serverless",
            state_dir=self.folder / "state",
            lake=f"s3://{self._bucket}/{self._prefix}/lake",
            artifacts=f"s3://{self._bucket}/{self._prefix}/artifacts",
            emr_application_id=self.application,
            emr_job_role_arn=ROLE,
        )

    def make_application(self, **options: Any) -> str:
        created = self.emr.create_application(name="lakeferry", releaseLabel="emr-7.12.0", type="SPARK", **options)
        application: str = created["applicationId"]
        return application

    def deploy(self, release: str) -> None:
        """Do what `make package` does: add a release, then let the manifest name it. Its jobs tell the release."""
        for path, body in _small_artifacts(release).items():
            self._s3.put_object(Bucket=self._bucket, Key=f"{self._prefix}/artifacts/{path}", Body=body)

    def jobs(self, application: str | None = None) -> list[str]:
        """Ids of the jobs that EMR was made to start."""
        try:
            pages = self.emr.list_job_runs(applicationId=application or self.application)
        except self.emr.exceptions.ResourceNotFoundException:
            return []
        return [job["id"] for job in pages["jobRuns"]]

    def job(self, job_id: str) -> dict[str, Any]:
        """Returns EMR's description of a job, by the id that the runner gives it."""
        application, _, job_run = job_id.partition("/")
        described: dict[str, Any] = self.emr.get_job_run(applicationId=application, jobRunId=job_run)["jobRun"]
        return described

    def put_output(self, job_id: str, text: str) -> None:
        """Put what a running job has written so far where EMR puts it."""
        application, _, job_run = job_id.partition("/")
        folder = f"{self._prefix}/artifacts/logs/applications/{application}/jobs/{job_run}/SPARK_DRIVER"
        self._s3.put_object(Bucket=self._bucket, Key=f"{folder}/stdout.gz", Body=gzip.compress(text.encode()))

    def lake_documents(self) -> dict[str, str]:
        """All documents of the lake, by key."""
        prefix = f"{self._prefix}/lake/"
        listed = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix): self._s3.get_object(Bucket=self._bucket, Key=item["Key"])["Body"]
            .read()
            .decode()
            for item in listed
        }

    def put_lake_document(self, key: str, text: str) -> None:
        """Put a document into the lake, over one that is there."""
        self._s3.put_object(Bucket=self._bucket, Key=f"{self._prefix}/lake/{key}", Body=text.encode())

    def delete_lake_document(self, key: str) -> None:
        """Delete a document of the lake, as an error may ask a person to."""
        self._s3.delete_object(Bucket=self._bucket, Key=f"{self._prefix}/lake/{key}")


class Aws:
    """moto with EMR in a process of its own, on a free port, in an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.bucket = "artifacts"
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("LAKEFERRY_", "AIRFLOW_"))
        }
        self._log = (folder / "moto.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(CHECKOUT / "docker/native/moto_with_emr.py"), str(self.port)],
            env=environment | {"LAKEFERRY_STATE_DIR": str(folder / "aws")},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        _wait_for_port(self.port)
        boto3.client("s3", endpoint_url=self.endpoint).create_bucket(Bucket=self.bucket)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def ended(runner: Runner, job_id: str) -> tuple[Ended, str]:
    """Returns how the job ended, and its output until then."""
    lines: list[str] = []
    return runner.wait(job_id, lines.append), "\n".join(lines)


def _small_artifacts(release: str) -> dict[str, bytes]:
    source, environment = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(source, "w") as packed:
        packed.writestr("jobs/__init__.py", "")
    with tarfile.open(fileobj=environment, mode="w:gz") as packed:
        module = b"WORD = 'the library'\n"
        entry = tarfile.TarInfo("in_the_environment.py")
        entry.size = len(module)
        packed.addfile(entry, io.BytesIO(module))
    manifest = {
        "entries": {"extract": f"releases/{release}/extract.py"},
        "source": f"releases/{release}/lakeferry.zip",
        "environment": "environments/1.tar.gz",
        "jars": [],
    }
    return {
        f"releases/{release}/extract.py": f'print("release {release}", flush=True)\n'.encode() + STAND_IN.read_bytes(),
        f"releases/{release}/lakeferry.zip": source.getvalue(),
        "environments/1.tar.gz": environment.getvalue(),
        "manifest.json": json.dumps(manifest).encode(),
    }


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}")
