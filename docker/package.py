"""Makes what EMR runs: `make package`, with LAKEFERRY_ARTIFACTS=s3://bucket/folder to put it there too.

dist/artifacts/ then holds the manifest and what it names, by content, so that an upload never changes
what a running job reads:

    manifest.json              what belongs together
    releases/HASH/*.py         the stages' entries
    releases/HASH/lakeferry.zip  connectors, jobs, expectations; transforms; sources of other distributions
    environments/HASH.tar.gz   the libraries, as folders for PYTHONPATH: no interpreter, no Spark, no Airflow
    jars/*.jar                 Iceberg, Kafka and a JDBC driver

A folder of libraries, not a packed virtual environment: that would hold this machine's interpreter,
which the workers do not have. The libraries are built wheels for the workers' platform, in the pinned versions.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "docker"), str(CHECKOUT / "docker" / "native")]

from source_packages import distribution_files, distribution_requirements, source_distributions  # noqa: E402

from connectors.aws_errors import AwsFixes, translated  # noqa: E402
from connectors.errors import LakeferryError, ServiceUnavailable, SettingError, UsageError  # noqa: E402
from failure import Failure  # noqa: E402
from install import uv  # noqa: E402
from jobs.launch.commands import spark_jars  # noqa: E402
from jobs.runs.receipts import PLAN_STAGES  # noqa: E402
from jobs.runtime.settings import Settings, load_settings  # noqa: E402
from places import cache_dir  # noqa: E402

OUT = CHECKOUT / "dist" / "artifacts"
PACKAGES = ("connectors", "jobs", "expectations")
PLATFORM = "x86_64-manylinux_2_34"
"""Amazon Linux 2023, which EMR 8 runs on, has glibc 2.34."""
# What only Airflow's side and the command line need, or the workers have: the extra of Great Expectations
# would bring a second Spark.
_NOT_ON_WORKERS = ("croniter", "pyspark", "typer")
_WORKERS_EXTRAS = ("kafka", "mysql")
_WITHOUT_EXTRA = {"great-expectations": "great-expectations", "pyiceberg": "pyiceberg[sql-sqlite,pyarrow,glue]"}
_DEAD_WEIGHT = ("bin", "pandas/tests", "pyarrow/include", "pyarrow/tests", "pyarrow/src")
_ARCHIVES_KEPT = 2
"""Archives of libraries that stay in the cache: other checkouts of this user may have other versions."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    """Build, upload where an address is set, and say what came of it."""
    try:
        settings = load_settings()
        manifest = build(settings)
        if settings.artifacts:
            upload(manifest, settings.artifacts)
    except (LakeferryError, Failure) as error:
        print(error, file=sys.stderr)
        return error.exit_code
    sizes = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{OUT}: {sizes / 1e6:.0f} MB")
    if settings.artifacts:
        print(f"uploaded to {settings.artifacts}")
    else:
        print("not uploaded: LAKEFERRY_ARTIFACTS=s3://bucket/folder make package does that too")
    return 0


def build(settings: Settings) -> dict[str, Any]:
    """Fill dist/artifacts; what is there with the same content is kept.

    Returns:
        The manifest: paths below the artifacts' root.

    Raises:
        SettingError: no jars, or no folder of pipelines or suites.
        Failure: `uv` is not there and cannot be fetched.
        ServiceUnavailable: the libraries cannot be fetched.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    release = _release(settings)
    entries = {stage: f"{release}/{stage}.py" for stage in PLAN_STAGES}
    manifest = {
        "entries": dict(sorted(entries.items())),
        "source": f"{release}/lakeferry.zip",
        "environment": _environment(settings.emr_python),
        "jars": _jars(settings),
        "python": settings.emr_python,
    }
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    _remove_older(manifest)
    return manifest


def upload(manifest: dict[str, Any], artifacts: str) -> None:
    """Put what the manifest names below `artifacts` where it is not there yet, the manifest last."""
    import boto3
    from botocore.config import Config

    parts = urlsplit(artifacts)
    if parts.scheme != "s3" or not parts.netloc:
        raise SettingError(
            f"LAKEFERRY_ARTIFACTS={artifacts} is no folder on S3",
            where="LAKEFERRY_ARTIFACTS",
            choices=["s3://bucket/folder"],
        )
    s3 = boto3.client("s3", config=Config(connect_timeout=5, read_timeout=60))
    prefix = parts.path.strip("/")

    def key(path: str) -> str:
        return f"{prefix}/{path}" if prefix else path

    named = [*manifest["entries"].values(), manifest["source"], manifest["environment"], *manifest["jars"]]
    fixes = AwsFixes(
        rights="Grant s3:PutObject and s3:ListBucket on the bucket",
        missing="Create the bucket",
        unavailable="Run again",
    )
    with translated(artifacts, fixes):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=key(""))
        there = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}
        for path in [*(path for path in named if there.get(key(path)) != (OUT / path).stat().st_size), "manifest.json"]:
            print(f"uploading {path}")
            # `upload_file` would wrap the client's error into one of another kind.
            with (OUT / path).open("rb") as file:
                s3.upload_fileobj(file, parts.netloc, key(path))


def source_files(settings: Settings) -> dict[str, Path]:
    """Returns the files of `lakeferry.zip` by their names in it. From the pipelines' folder it takes transforms only,
    which lie at the top of the zip, where Python finds them: a plan holds the pipeline, its rules and its views' SQL.

    Raises:
        SettingError: the folder of the pipelines is not there, or holds a module of a name that Lakeferry uses.
        UsageError: a distribution that offers a source cannot be packed.
    """
    sources: dict[str, Path] = {}
    for package in PACKAGES:
        sources |= _files(CHECKOUT / package, package, (".py",))
    folder = settings.pipelines
    if not folder.is_dir():
        raise SettingError(
            f"{folder} is no folder", where="LAKEFERRY_PIPELINES", fix="Name the folder of the pipelines"
        )
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        # On EMR the zip comes first on Python's path.
        top = name.split("/")[0].removesuffix(".py")
        whose = "a package of Lakeferry" if top in PACKAGES else "a module of Python's standard library"
        # A folder without __init__.py hides nothing ("Namespace packages" in the language reference).
        is_module = name == f"{top}.py" or (folder / top / "__init__.py").is_file()
        if top in PACKAGES or (is_module and top in sys.stdlib_module_names):
            fix = "Give the module another name"
            raise SettingError(f"{path} has the name of {whose}", where="LAKEFERRY_PIPELINES", fix=fix)
        if path.is_file() and "__pycache__" not in path.parts:
            sources[name] = path
    for distribution in source_distributions():
        files = distribution_files(distribution, PACKAGES)
        twice = sorted(files.keys() & sources.keys())
        if twice:
            raise UsageError(
                f"{distribution.name} has a file {twice[0]}, and so have the pipelines or another distribution",
                fix="Rename the module beside the pipelines, or uninstall one of the distributions",
            )
        sources |= files
    return dict(sorted(sources.items()))


def _files(folder: Path, name: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for path in folder.rglob("*")
        if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts
    }


def _release(settings: Settings) -> str:
    """The source, as a zip whose hash depends on nothing but its content; returns its folder."""
    files = source_files(settings)
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = f"releases/{digest.hexdigest()[:16]}"
    target = OUT / folder
    if not (target / "lakeferry.zip").is_file():
        target.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target / "lakeferry.zip.part", "w", zipfile.ZIP_DEFLATED) as packed:
            for name, path in files.items():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        for stage in PLAN_STAGES:
            shutil.copyfile(CHECKOUT / "jobs" / f"{stage}.py", target / f"{stage}.py")
        (target / "lakeferry.zip.part").rename(target / "lakeferry.zip")
    return folder


def _environment(python: str) -> str:
    """The libraries' archive; returns its path. Named by what it is made from, so made once for all checkouts."""
    wanted = _libraries()
    pinned = _pinned()
    version = python.removeprefix("python")
    inputs = "\n".join([*wanted, pinned, version, PLATFORM, Path(__file__).read_text(encoding="utf-8")])
    digest = hashlib.sha256(inputs.encode()).hexdigest()[:16]
    name = f"environments/{digest}.tar.gz"
    if (OUT / name).is_file():
        return name
    (OUT / "environments").mkdir(exist_ok=True)
    kept = cache_dir() / f"workers-{digest}.tar.gz"
    if not kept.is_file():
        _fetch_environment(wanted, pinned, version, kept)
    os.utime(kept)
    # A draft of its own: two that package at once must not see half a file of each other.
    with tempfile.TemporaryDirectory(dir=OUT) as scratch:
        draft = Path(scratch) / kept.name
        shutil.copyfile(kept, draft)
        draft.rename(OUT / name)
    archives = sorted(kept.parent.glob("workers-*.tar.gz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in archives[_ARCHIVES_KEPT:]:
        path.unlink(missing_ok=True)
    return name


def _fetch_environment(wanted: list[str], pinned: str, version: str, target: Path) -> None:
    """Install the libraries for the workers' platform and pack them into `target`."""
    print("fetching the libraries for the workers")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".workers-") as scratch:
        folder = Path(scratch) / "environment"
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text(pinned, encoding="utf-8")
        command = [uv(), "pip", "install", "--quiet", "--target", str(folder), "--only-binary", ":all:"]
        command += ["--python-version", version, "--python-platform", PLATFORM]
        done = subprocess.run(
            [*command, "--constraints", str(constraints), *wanted], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ServiceUnavailable(f"the libraries cannot be installed: {done.stderr.strip()[-2000:]}")
        _strip(folder)
        draft = Path(scratch) / "environment.tar.gz"
        with (
            draft.open("wb") as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, mtime=0) as compressed,
            tarfile.open(fileobj=compressed, mode="w") as packed,
        ):
            for path in sorted(folder.rglob("*")):
                packed.add(path, str(path.relative_to(folder)), recursive=False, filter=_anonymous)
        draft.rename(target)


def _libraries() -> list[str]:
    """What the workers' stages and sources require, those of other distributions included."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    libraries = []
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(wanted for extra in _WORKERS_EXTRAS for wanted in extras[extra])]:
        name = requirement.split("[")[0].split("=")[0].split("<")[0].split(">")[0].strip()
        if not name.startswith(_NOT_ON_WORKERS):
            libraries.append(_WITHOUT_EXTRA.get(name, requirement))
    absent = ("apache-airflow", *_NOT_ON_WORKERS)
    for distribution in source_distributions():
        libraries += distribution_requirements(distribution, absent)
    return libraries


def _pinned() -> str:
    """The versions of requirements.txt, one a line, without hashes: uv takes none in constraints."""
    lines = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.rstrip(" \\") for line in lines if line and line[0] not in " #-") + "\n"


def _strip(folder: Path) -> None:
    for name in _DEAD_WEIGHT:
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in folder.rglob("*.py[ix]"):
        path.unlink()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _jars(settings: Settings) -> list[str]:
    (OUT / "jars").mkdir(exist_ok=True)
    for jar in spark_jars(settings):
        target = OUT / "jars" / jar.name
        if not target.is_file() or target.stat().st_size != jar.stat().st_size:
            shutil.copyfile(jar, target)
    return [f"jars/{jar.name}" for jar in spark_jars(settings)]


def _remove_older(manifest: dict[str, Any]) -> None:
    """Leave in dist/ only what the manifest names; on S3 older releases stay for jobs that run."""
    named = {
        OUT / path
        for path in (*manifest["entries"].values(), manifest["source"], manifest["environment"], *manifest["jars"])
    }
    for path in OUT.rglob("*"):
        if path.is_file() and path not in named and path.name != "manifest.json":
            path.unlink()
    for path in sorted(OUT.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


if __name__ == "__main__":
    sys.exit(main())
