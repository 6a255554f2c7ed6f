"""Fetches or builds, once, all that the local services and the project need: packages, environment, jars."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bigquery
import kafka
import oldest_airflow
import tidb
from failure import Failure
from places import CHECKOUT, NATIVE, VENV, VENV_PYTHON, cache_dir, state_dir
from steps import cached, run, say, side_by_side, step

UV = "0.13.9"
SYSTEM = {
    # the -core packages hold the programs without the service: nothing is started, nothing is set up in /etc
    "mariadbd": "mariadb-server-core",
    "mariadb": "mariadb-client-core",
    "java": "openjdk-17-jre-headless",
    "mvn": "maven",
}
BROWSER = {"chromium": "chromium"}
"""The browser in which tests look at the pages; nothing else needs it."""
FONTS = {Path("/usr/share/fonts/opentype/ipafont-gothic/ipag.ttf"): "fonts-ipafont-gothic"}
"""What has no program: files, and the packages they come in. Without one a Japanese page is a page of boxes."""
GO_FIX = "Install Go 1.25 or newer from https://go.dev/dl/ (Debian's golang is too old for TiDB) and put it on PATH."


def setup() -> None:
    """Make everything that is missing; where nothing is, return at once.

    Raises:
        Failure: Python is too old, a tool is missing and cannot be installed, or a step failed.
    """
    _check_python()
    missing = missing_system_packages()
    if missing:
        install_system_packages(missing)
    parts: list[Callable[[], None]] = []
    if not is_python_ready():
        parts.append(make_python)
    if not (cache_dir() / jars_name()).is_dir() or not kafka.is_installed():
        parts.append(fetch_jars)
    beside: list[Callable[[], None]] = []
    if not tidb.is_installed():
        beside.append(build_tidb)
    if not bigquery.is_installed():
        beside.append(make_emulator)
    if parts or beside:
        say("Setting up")

    def make_spark() -> None:
        side_by_side(parts)
        link_jars()
        archive_classes()

    # The archive needs the environment and the jars alone: it is made while TiDB is built.
    side_by_side([make_spark, *beside])


def make_environment() -> None:
    """Make the Python environment alone, which is all that the unit tests need.

    Raises:
        Failure: Python is too old, or a step failed.
    """
    _check_python()
    if not is_python_ready():
        make_python()


def _check_python() -> None:
    version = sys.version_info[:2]
    if not (3, 11) <= version < (3, 14):
        running = ".".join(map(str, version))
        raise Failure(
            f"Python {running} will not do. Run this with 3.11, 3.12 or 3.13: make PYTHON=python3.11", exit_code=2
        )


def archive_classes() -> None:
    """Have Spark's classes parsed once for all starts; a note in .venv says for which packages and jars, and where
    that is. Other checkouts may have pushed it out of the cache since."""
    note = VENV / ".lakeferry-archive"
    code = b"".join(
        (CHECKOUT / "jobs" / "launch" / name).read_bytes()
        for name in ("archive_path.py", "class_archive.py", "spark_home.py")
    )
    wanted = f"{stamps()['packages']} {jars_name()} {hashlib.sha256(code).hexdigest()}"
    noted = note.read_text(encoding="utf-8").splitlines() if note.exists() else []
    if noted[:1] == [wanted] and all(Path(archive).exists() for archive in noted[1:]):
        return
    with step("preparing Spark for quick starts"):
        jars = {"LAKEFERRY_SPARK_PACKAGES_DIR": str(cache_dir() / jars_name())}
        archived = run([VENV_PYTHON, "-m", "jobs.launch.class_archive"], log="spark", cwd=CHECKOUT, environment=jars)
    note.write_text(f"{wanted}\n{archived}", encoding="utf-8")


def make_browser() -> None:
    """Install the browser of the tests, and a font in which Japanese is no boxes, where they are missing."""
    missing = not_installed(BROWSER) + [package for file, package in FONTS.items() if not file.exists()]
    if missing:
        install_system_packages(missing)


def make_oldest_airflow() -> None:
    """Make the environment of the oldest Airflow, which nothing but a test uses, where it is missing."""
    if not oldest_airflow.python().exists():
        tool = uv()
        with step("installing the oldest Airflow that is supported, for the tests"):
            cached(oldest_airflow.cache_name(), lambda draft: oldest_airflow.build(draft, tool))


def not_installed(programs: dict[str, str]) -> list[str]:
    """The packages of those programs that are not here."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    return [package for program, package in programs.items() if shutil.which(program, path=path) is None]


def missing_system_packages() -> list[str]:
    missing = not_installed(SYSTEM)
    if find_uv() is None and importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")
    return missing


def install_system_packages(packages: list[str]) -> None:
    """Install Debian packages, with sudo where the user is not root, after saying which."""
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise Failure(
            f"These Debian packages are missing, and apt-get is not here: {wanted}. Install them.", exit_code=2
        )
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    say(f"Installing system packages{' with sudo' if prefix else ''}: {wanted}")
    if prefix and shutil.which("sudo") is None:
        raise Failure(f"Not root, and sudo is not here. As root, run: apt-get install {wanted}", exit_code=2)
    if prefix and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode != 0:
        if not sys.stdin.isatty():
            raise Failure(f"sudo asks for a password. Run this first: sudo apt-get install {wanted}", exit_code=2)
        subprocess.run(["sudo", "-v"], check=False)
    fix = f"Try it by hand: {' '.join([*prefix, 'apt-get', 'install', wanted])}"
    with step(f"installing {wanted}"):
        # sudo may drop the environment, so the variable goes through env(1).
        apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
        run([*apt, "update"], log="apt", fix=fix)
        run([*apt, "install", "--no-install-recommends", *packages], log="apt", fix=fix)


def find_uv() -> str | None:
    """A `uv` that runs: from PATH, else the one fetched earlier."""
    for candidate in (shutil.which("uv"), str(cache_dir() / f"uv-{UV}" / "bin" / "uv")):
        if candidate and Path(candidate).exists():
            probe = subprocess.run([candidate, "--version"], capture_output=True, check=False, cwd=CHECKOUT)
            if probe.returncode == 0:
                return candidate
    return None


def uv() -> str:
    """Returns a `uv` that runs; fetches it into the cache if it is missing."""
    path = find_uv()
    if path:
        return path
    with step(f"fetching uv {UV}"):

        def build(draft: Path) -> None:
            run([sys.executable, "-m", "venv", draft], log="uv")
            run([draft / "bin" / "python", "-m", "pip", "install", "-q", f"uv=={UV}"], log="uv")

        directory = cached(f"uv-{UV}", build)
    return str(directory / "bin" / "uv")


def stamps() -> dict[str, str]:
    """Names the state the environment should be in: of the pinned packages, and of the project itself."""

    def digest(name: str) -> str:
        return hashlib.sha256(f"{CHECKOUT} compiled".encode() + (CHECKOUT / name).read_bytes()).hexdigest()

    return {"packages": digest("requirements.txt"), "project": digest("pyproject.toml")}


def is_stamped(part: str) -> bool:
    stamp = VENV / f".lakeferry-{part}"
    return stamp.exists() and stamp.read_text(encoding="ascii") == stamps()[part]


def is_python_ready() -> bool:
    return VENV_PYTHON.exists() and is_stamped("packages") and is_stamped("project")


def make_python() -> None:
    """Make .venv exactly what requirements.txt pins, and put the `lakeferry` command into it."""
    tool = uv()
    wanted = stamps()
    target: list[str | Path] = ["--python", VENV_PYTHON]
    with step("installing the pinned Python packages into .venv"):
        if not VENV_PYTHON.exists():
            run([tool, "venv", "--python", sys.executable, VENV], log="python", cwd=CHECKOUT)
        if not is_stamped("packages"):
            requirements = CHECKOUT / "requirements.txt"
            # Where Python may not write bytecode (PYTHONDONTWRITEBYTECODE, as in many images), each process
            # would compile all it imports: seconds every time.
            options = ["--require-hashes", "--compile-bytecode"]
            run([tool, "pip", "sync", *target, *options, requirements], log="python", cwd=CHECKOUT)
        # sync removes what is not pinned, the project with it
        run([tool, "pip", "install", *target, "--no-deps", "--editable", "."], log="python", cwd=CHECKOUT)
        for part, stamp in wanted.items():
            (VENV / f".lakeferry-{part}").write_text(stamp, encoding="ascii")


def jars_name() -> str:
    """The cache's name for the jars: it changes with the pom."""
    return f"jars-{hashlib.sha256((NATIVE / 'jars' / 'pom.xml').read_bytes()).hexdigest()[:12]}"


def fetch_jars() -> None:
    """Fetch Spark's and Kafka's jars. One after the other: Maven's local repository takes one writer."""
    if not (cache_dir() / jars_name()).is_dir():
        with step("fetching Spark's jars with Maven, about 120 MB"):
            cached(jars_name(), lambda draft: copy_jars(NATIVE / "jars" / "pom.xml", draft, "-DexcludeTransitive=true"))
    if not kafka.is_installed():
        with step("fetching Kafka with Maven, about 54 MB"):
            cached(kafka.cache_name(), lambda draft: copy_jars(kafka.POM, draft))


def copy_jars(pom: Path, target: Path, *options: str) -> None:
    run(
        ["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={target}", *options],
        log="maven",
        cwd=state_dir(),
        fix="Maven needs to reach Maven Central, or the mirror in ~/.m2/settings.xml.",
    )


def link_jars() -> None:
    """Point `jars`, the default of LAKEFERRY_SPARK_PACKAGES_DIR, at this checkout's jars, in one step."""
    link = cache_dir() / "jars"
    if link.is_symlink() and link.readlink() == Path(jars_name()):
        return
    if link.is_dir() and not link.is_symlink():
        link.rename(cache_dir() / f"jars-before-{os.getpid()}")
    draft = cache_dir() / f".jars.{os.getpid()}"
    draft.symlink_to(jars_name())
    draft.replace(link)


def build_tidb() -> None:
    if shutil.which("go") is None:
        raise Failure(f"TiDB is built with Go, which is not here. {GO_FIX}", exit_code=2)
    with step("building TiDB, about 10 minutes the first time"):
        cached(tidb.cache_name(), lambda draft: tidb.build(draft, GO_FIX))


def make_emulator() -> None:
    tool = uv()
    with step("installing the BigQuery emulator"):
        cached(bigquery.cache_name(), lambda draft: bigquery.build(draft, tool))
