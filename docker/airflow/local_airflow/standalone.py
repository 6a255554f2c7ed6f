"""Airflow on this machine: `make airflow`. Loopback, SQLite, LocalExecutor, no password.

    python docker/airflow/local_airflow/standalone.py            in the foreground, until Ctrl-C
    python docker/airflow/local_airflow/standalone.py start      in the background
    python docker/airflow/local_airflow/standalone.py status
    python docker/airflow/local_airflow/standalone.py stop

As a library: `start`, `stop`, `is_up`, and `rest` beside it for triggering and waiting. Nothing here
imports Airflow: its parts are processes of their own, and `airflow standalone` is not used because it
also opens log servers on all interfaces and leaves its children behind.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path, in place of those that the packages lie in.
    _CHECKOUT = Path(__file__).resolve().parents[3]
    sys.path[:1] = [str(_CHECKOUT), str(_CHECKOUT / "dags"), str(_CHECKOUT / "docker" / "airflow")]

import argparse
import itertools
import json
import os
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.errors import LakeferryError, ServiceUnavailable
from jobs.launch.processes import has_ended, started_at, stop_group
from jobs.runtime.project import CODE_ROOT, PROJECT
from jobs.runtime.settings import Settings, load_settings
from jobs.spec.consistency import PAGE_DAG
from jobs.spec.models import After
from jobs.spec.reader import load_pipelines
from lakeferry_airflow.dag_names import dag_id_of, pipeline_of
from local_airflow import rest

_API_SERVER = "api-server"
_PARTS = {
    _API_SERVER: ("api-server",),
    "dag-processor": ("dag-processor",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
_START_SECONDS = 180.0
_STOP_SECONDS = 30.0
_FIRST_PAGE_SECONDS = 60.0
_ENDED = ("success", "failed")
_MOST_SHOWN = 50


@dataclass(frozen=True)
class Home:
    """The folder in which this Airflow keeps its files."""

    folder: Path

    @property
    def pids(self) -> Path:
        return self.folder / "processes.json"

    @property
    def shell_variables(self) -> Path:
        return self.folder / "env.sh"

    def log(self, part: str) -> Path:
        return self.folder / f"{part}.log"


def home_of(settings: Settings) -> Home:
    return Home(settings.state_dir.absolute() / "airflow")


def start(settings: Settings, *, dags_folder: Path | None = None) -> None:
    """Start Airflow in the background and wait until it is healthy and has read the DAGs; nothing if it runs already.

    Raises:
        ServiceUnavailable: it does not come up; the message says which log to read.
        SettingError: its port is taken, or is no port.
    """
    if is_up(settings):
        return
    home = home_of(settings)
    stop(settings)
    rest.check_port_is_free()
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = _environment(home, dags_folder or PROJECT / "dags")
    _write_shell_variables(home, environment)
    _migrate(home, environment)
    processes = {}
    for part, arguments in _PARTS.items():
        with home.log(part).open("ab") as log:
            child = subprocess.Popen(
                [*_AIRFLOW, *arguments],
                env=environment,
                cwd=home.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        processes[part] = {"pid": child.pid, "started": started_at(child.pid) or ""}
        home.pids.write_text(json.dumps(processes), encoding="utf-8")
    try:
        _wait_until_ready(settings)
        if settings.page_minutes and ((dags_folder or PROJECT / "dags") / "lakeferry_page.py").is_file():
            _wait_for_first_page(dag_id_of(PAGE_DAG, settings))
    except BaseException:
        stop(settings)
        raise


def stop(settings: Settings) -> bool:
    """Stop what `start` started, by process id. Returns whether anything ran.

    The scheduler waits for its tasks at SIGTERM, and a task reports its end to the API server. So the API server goes
    on until the others have ended: a task without it would try to reach it for half a minute.
    """
    home = home_of(settings)
    running = _running(home)
    until = time.monotonic() + _STOP_SECONDS
    _stop_parts([process for part, process in running.items() if part != _API_SERVER], until)
    _stop_parts([process for part, process in running.items() if part == _API_SERVER], until)
    home.pids.unlink(missing_ok=True)
    return bool(running)


def _stop_parts(processes: Sequence[tuple[int, str]], until: float) -> None:
    """Stop processes, side by side; what runs at `until` (monotonic seconds) is killed soon after."""
    for pid, _ in processes:
        try:
            os.killpg(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
    for pid, started in processes:
        while not has_ended(pid, started) and time.monotonic() < until:
            _reap(pid)
            time.sleep(0.1)
        stop_group(pid, started, grace_seconds=5)
        _reap(pid)


def is_up(settings: Settings) -> bool:
    """Whether all parts run and the API answers."""
    return len(_running(home_of(settings))) == len(_PARTS) and rest.is_healthy()


def dead_parts(settings: Settings) -> list[str]:
    """Return the parts that should run and do not."""
    return [part for part in _PARTS if part not in _running(home_of(settings))]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="standalone.py", description="Airflow on this machine.")
    parser.add_argument("command", nargs="?", choices=["start", "stop", "status"], help="none: until Ctrl-C")
    command = parser.parse_args().command
    try:
        settings = load_settings()
        if command == "stop":
            _say("Airflow stopped." if stop(settings) else "Airflow was not running.")
            return 0
        if command == "status":
            up = is_up(settings)
            _say(f"Airflow is up: {rest.address()}" if up else "Airflow is not running.")
            return 0 if up else 3
        if is_up(settings):
            _say(f"Airflow is up already: {rest.address()} (no password). It ends where it was started, or with stop.")
            return 0
        _say("Starting Airflow (about half a minute) ...")
        start(settings)
        _say(f"Airflow is up: {rest.address()} (no password)")
        begins = _begins(settings)
        for name, how in itertools.islice(begins.items(), _MOST_SHOWN):
            _say(f"  {name:<20} {how}")
        if len(begins) > _MOST_SHOWN:
            _say(f"  and {len(begins) - _MOST_SHOWN:,} more")
        example = next((name for name in begins if name != dag_id_of(PAGE_DAG, settings)), "DAG")
        _say(f"Its command line: . {home_of(settings).shell_variables}; airflow dags trigger {example}")
        for name, problem in rest.import_errors().items():
            _say(f"{name}: {problem}")
        return 0 if command == "start" else _stay(settings)
    except LakeferryError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _begins(settings: Settings) -> dict[str, str]:
    """Describe how runs of each DAG that was read begin."""
    paused = rest.paused()
    specs, _ = load_pipelines(settings.pipelines)
    said = {}
    for name in rest.dag_ids():
        pipeline = pipeline_of(name, settings)
        schedule = specs[pipeline].schedule if pipeline in specs else None
        if name == dag_id_of(PAGE_DAG, settings):
            how = f"by itself, every {settings.page_minutes} minutes: it draws the status page"
        elif isinstance(schedule, After):
            how = f"by itself, {schedule}"
        else:
            how = f"by itself, {schedule}" if schedule and settings.schedules else "when triggered"
        said[name] = how + (f"; paused until `airflow dags unpause {name}`" if name in paused else "")
    return said


def _stay(settings: Settings) -> int:
    """Wait until Ctrl-C, or until a part dies."""
    _say("Ctrl-C stops it.")
    ended: list[str] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while not ended:
            time.sleep(1)
            ended = dead_parts(settings)
    except KeyboardInterrupt:
        _say("\nStopping Airflow ...")
        return 0
    finally:
        stop(settings)
    log = home_of(settings).log(ended[0])
    raise ServiceUnavailable(f"Airflow's {ended[0]} ended by itself, so all of it was stopped", fix=f"Its log is {log}")


_AIRFLOW = (sys.executable, "-m", "airflow")


def _environment(home: Home, dags_folder: Path) -> dict[str, str]:
    """Return the settings of this Airflow; a variable that is set outside wins where it is a matter of taste."""
    port = rest.port()
    path = [str(CODE_ROOT), str(dags_folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    taste = {
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    }
    fixed = {
        "AIRFLOW_HOME": str(home.folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # Workers reach the API server here: it moves with the port.
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": rest.address(),
        "AIRFLOW__API__WORKERS": "1",
        # Seven processes share the file; the 5 s that SQLite waits for a writer are too few on a busy machine.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.folder}/airflow.db?timeout=60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
    }
    return taste | os.environ | fixed | _keys(home)


def _write_shell_variables(home: Home, environment: dict[str, str]) -> None:
    """Return what a shell reads (`. env.sh`) so that its `airflow` command speaks to this Airflow."""
    own = {key: value for key, value in environment.items() if os.environ.get(key) != value or key == "AIRFLOW_HOME"}
    descriptor = os.open(home.shell_variables, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"export {key}={shlex.quote(value)}\n" for key, value in sorted(own.items()))
        file.write(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n')


def _keys(home: Home) -> dict[str, str]:
    """Return the keys that Airflow's parts share: random, created once, readable by their owner alone."""
    path = home.folder / "keys.json"
    if not path.is_file():
        keys = {
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(keys, file)
    stored: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return stored


def _migrate(home: Home, environment: dict[str, str]) -> None:
    """Create or upgrade the database, once for each version of Airflow."""
    from importlib.metadata import version

    mark = home.folder / "migrated"
    wanted = version("apache-airflow-core")
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted and (home.folder / "airflow.db").is_file():
        return
    with home.log("migrate").open("wb") as log:
        code = subprocess.run(
            [*_AIRFLOW, "db", "migrate"], env=environment, cwd=home.folder, stdout=log, stderr=log, check=False
        ).returncode
    if code != 0:
        raise ServiceUnavailable("Airflow's database cannot be made", fix=f"The log is {home.log('migrate')}")
    mark.write_text(wanted, encoding="utf-8")


def _wait_until_ready(settings: Settings) -> None:
    home = home_of(settings)
    specs, broken = load_pipelines(settings.pipelines)
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        ended = dead_parts(settings)
        if ended:
            raise ServiceUnavailable(f"Airflow's {ended[0]} ended at once", fix=f"Its log is {home.log(ended[0])}")
        if rest.is_healthy() and has_read_all({dag_id_of(name, settings): name for name in specs}, bool(broken)):
            return
        time.sleep(0.5)
    raise ServiceUnavailable(
        f"Airflow is not healthy after {_START_SECONDS:.0f} s", fix=f"Its logs are in {home.folder}"
    )


def _wait_for_first_page(page_dag: str) -> None:
    """Wait until the page's DAG, which begins by itself, has run once; not for long.

    In SQLite a task that begins and a client that writes at the same moment may wait for each other for a minute.
    """
    until = time.monotonic() + _FIRST_PAGE_SECONDS
    while time.monotonic() < until:
        known = page_dag in rest.dag_ids()
        if known and (page_dag in rest.paused() or any(r["state"] in _ENDED for r in rest.runs(page_dag))):
            return
        time.sleep(0.5)


def has_read_all(pipelines: Mapping[str, str], any_broken: bool) -> bool:
    """Whether Airflow has read every DAG, or says why not.

    Args:
        pipelines: names of those that can be read, by the id of their DAG.
        any_broken: whether there are others, which an import error must name.
    """
    errors = rest.import_errors()
    if any(Path(file).name in ("lakeferry.py", "lakeferry_access_control.py") for file in errors):
        return True
    missing = pipelines.keys() - set(rest.dag_ids())
    # A DAG that Airflow refuses is named in the import error of its own file, or in that of all broken ones.
    refused = {name for name in pipelines.values() for why in errors.values() if f"{name}.yaml" in why}
    refused |= {Path(file).stem for file in errors}
    return all(pipelines[dag_id] in refused for dag_id in missing) and bool(errors) >= any_broken


def _running(home: Home) -> dict[str, tuple[int, str]]:
    """The parts that run, with process id and start."""
    try:
        listed = json.loads(home.pids.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {
        part: (entry["pid"], entry["started"])
        for part, entry in listed.items()
        if not has_ended(entry["pid"], entry["started"])
    }


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
