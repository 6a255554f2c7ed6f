"""Runs a submitted job as EMR Serverless would: files from S3, an environment of nothing but its own."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from emr.submission import Submission

_SMALL_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Java options for a JVM that lives for seconds on a machine of few cores."""
_SERVICES = ("S3", "SECRETS_MANAGER", "EMR_SERVERLESS", "GLUE", "STS")


class Executions:
    """Jobs by id, each in a folder of its own below `folder`.

    `endpoint` is where this AWS answers. Artifacts with the same address, size and ETag are fetched once.
    """

    def __init__(self, folder: Path, endpoint: str) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._cancelled: set[str] = set()
        self._lock = Lock()
        self._fetching = Lock()
        self._s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(connect_timeout=5, read_timeout=60),
        )

    def run(
        self, application_id: str, job_id: str, submission: Submission, started: Callable[[], bool]
    ) -> tuple[int, str]:
        """Run a job to its end.

        `started` is called before its process begins and answers whether it still should.

        Returns:
            The exit code, and what to say of it.
        """
        work = self._folder / job_id
        work.mkdir(parents=True)
        command = self._prepare(submission, work)
        with (work / "stdout").open("wb") as stdout, (work / "stderr").open("wb") as stderr:
            with self._lock:
                if job_id in self._cancelled or not started():
                    return 1, "cancelled before it began"
                process = subprocess.Popen(
                    command,
                    cwd=work,
                    env=self._environment(submission, work),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
                self._running[job_id] = process
            code = process.wait()
            with self._lock:
                del self._running[job_id]
        self._put_logs(application_id, job_id, submission, work)
        for name in submission.archives:
            (work / name).unlink(missing_ok=True)
        shutil.rmtree(work / "spark-local", ignore_errors=True)
        return code, "" if code == 0 else f"Job failed, please check complete logs in {submission.log_uri or work}"

    def stop(self, job_id: str) -> None:
        """End a job and all its processes."""
        with self._lock:
            self._cancelled.add(job_id)
            process = self._running.get(job_id)
            if process is not None:
                os.killpg(process.pid, signal.SIGKILL)

    def stop_all(self) -> None:
        for job_id in list(self._running):
            self.stop(job_id)

    def _prepare(self, submission: Submission, work: Path) -> list[str]:
        entry = self._fetch(submission.entry, work / submission.entry.rsplit("/", 1)[-1])
        for name, address in submission.archives.items():
            (work / name).symlink_to(self._unpacked(address))
        confs = {
            **submission.confs,
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.local.dir": str(work / "spark-local"),
            "spark.ui.enabled": "false",
        }
        driver_options = "spark.driver.extraJavaOptions"
        confs[driver_options] = f"{confs.get(driver_options, '')} {_SMALL_JVM}".strip()
        command = [str(Path(_spark_home()) / "bin" / "spark-submit"), "--master", "local[2]"]
        for option, addresses in (("--jars", submission.jars), ("--py-files", submission.py_files)):
            if addresses:
                command += [option, ",".join(str(self._cached(address)) for address in addresses)]
        for key, value in confs.items():
            command += ["--conf", f"{key}={value}"]
        return [*command, str(entry), *submission.arguments]

    def _environment(self, submission: Submission, work: Path) -> dict[str, str]:
        """Nothing of this machine's environment but where its programs are: no settings, no connections."""
        python = Path(sys.base_prefix) / "bin"
        own = {
            "PATH": os.pathsep.join((str(python), "/usr/local/bin", "/usr/bin", "/bin")),
            "HOME": str(work),
            "JAVA_HOME": os.environ.get("JAVA_HOME") or str(Path(shutil.which("java") or "").resolve().parents[1]),
            "SPARK_HOME": _spark_home(),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LAUNCHER_OPTS": _SMALL_JVM,
            # The job's role gives these on AWS.
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            **{f"AWS_ENDPOINT_URL_{service}": self._endpoint for service in _SERVICES},
        }
        return own | submission.environment

    def _cached(self, address: str) -> Path:
        parts = urlsplit(address)
        if parts.scheme != "s3":
            raise ValueError(f"{address} is not on S3, where alone EMR Serverless can read")
        head = self._s3.head_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
        mark = f"{head['ETag'].strip(chr(34))}-{head['ContentLength']}"
        path = self._folder / "artifacts" / mark / parts.path.rsplit("/", 1)[-1]
        with self._fetching:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                draft = path.with_name(path.name + ".part")
                self._fetch(address, draft)
                draft.replace(path)
        return path

    def _unpacked(self, address: str) -> Path:
        """The folder of an archive's files, unpacked once, as nodes of YARN do, which link it into each job's folder.
        The next job need not compile the modules again that one has compiled."""
        archive = self._cached(address)
        folder = archive.with_name(f"{archive.name}.files")
        with self._fetching:
            if not folder.exists():
                draft = archive.with_name(f"{archive.name}.draft")
                shutil.rmtree(draft, ignore_errors=True)
                _unpack(archive, draft)
                draft.rename(folder)
        return folder

    def _fetch(self, address: str, target: Path) -> Path:
        parts = urlsplit(address)
        if parts.scheme != "s3":
            raise ValueError(f"{address} is not on S3, where alone EMR Serverless can read")
        self._s3.download_file(parts.netloc, parts.path.lstrip("/"), str(target))
        return target

    def _put_logs(self, application_id: str, job_id: str, submission: Submission, work: Path) -> None:
        if submission.log_uri is None:
            return
        parts = urlsplit(submission.log_uri)
        folder = f"{parts.path.strip('/')}/applications/{application_id}/jobs/{job_id}/SPARK_DRIVER"
        for stream in ("stdout", "stderr"):
            body = gzip.compress((work / stream).read_bytes())
            self._s3.put_object(Bucket=parts.netloc, Key=f"{folder.lstrip('/')}/{stream}.gz", Body=body)


def _unpack(archive: Path, target: Path) -> None:
    target.mkdir()
    if archive.suffix in (".zip", ".jar"):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(target)
    else:
        with tarfile.open(archive) as packed:
            packed.extractall(target, filter="data")


def _spark_home() -> str:
    import pyspark

    return str(Path(pyspark.__file__).parent)
