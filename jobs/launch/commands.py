"""How a stage becomes a process on this machine. No Airflow, no Spark: only command lines.

Options that Spark reads before its JVM starts are given here; what a session can still set belongs to
`jobs.lake.spark_session`. Every command is a list for `exec`: nothing of it is read by a shell.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from connectors.errors import SettingError, UsageError
from jobs.lake.spark_session import LOOPBACK
from jobs.launch.archive_path import archive_in_use
from jobs.launch.spark_home import spark_home
from jobs.runs.receipts import PLAN_STAGES, SPARK_STAGES
from jobs.runtime.project import CODE_ROOT
from jobs.runtime.settings import Settings

ENTRIES = Path(__file__).resolve().parents[1]

# What takes a zone from the JVM is reached by no session setting.
LAUNCH_CONFS = {
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
    "spark.executor.extraJavaOptions": "-Duser.timezone=UTC",
    "spark.log.level": "WARN",
    "spark.ui.showConsoleProgress": "false",
}
LOCAL_CONFS = {
    **LOOPBACK,
    # Two cores gain nothing from the 200 partitions meant for a cluster.
    "spark.sql.shuffle.partitions": "4",
    "spark.python.daemon.module": "jobs.launch.worker_daemon",
}
LATE_SECOND_COMPILER = (
    "-XX:Tier4InvocationThreshold=100000 -XX:Tier4MinInvocationThreshold=12000"
    " -XX:Tier4CompileThreshold=300000 -XX:Tier4BackEdgeThreshold=800000"
)
"""Twenty times the JVM's own ("java" command, Advanced JIT Compiler Options). A stage lives for a minute or a few: what
is called often at its start costs two cores more to compile once more than it gives back. Loops over rows get there."""


def plan_command(
    pipeline: str,
    run_id: str,
    *,
    start: str | None = None,
    end: str | None = None,
    datasets: tuple[str, ...] = (),
    clear_number: int | None = None,
    started_at: str | None = None,
    moved_only: bool = False,
) -> list[str]:
    """The command that plans a run; the last line it prints is the plan's address.

    `start` and `end` are ISO 8601 times or whole numbers; none of `datasets` means all. `clear_number` and
    `started_at` are those of `jobs.runs.run_request.Invocation`, `moved_only` is that of
    `jobs.stages.plan.planner.make_plan`.
    """
    # With the equals sign a value is a value, even one that looks like an option.
    command = [sys.executable, str(ENTRIES / "plan.py"), f"--pipeline={pipeline}", f"--run-id={run_id}"]
    command += [f"--start={start}"] if start else []
    command += [f"--end={end}"] if end else []
    for dataset in datasets:
        command.append(f"--dataset={dataset}")
    command += [f"--clear-number={clear_number}"] if clear_number is not None else []
    command += [f"--started-at={started_at}"] if started_at else []
    command += ["--moved-only"] if moved_only else []
    return command


def local_command(stage: str, plan_uri: str, through: str | None, settings: Settings) -> list[str]:
    """The command that runs a stage of a plan here, and the stages behind it as far as `through`.

    Raises:
        UsageError: no such stage.
        SettingError: no Spark in this environment, or no jars for it.
    """
    if stage not in PLAN_STAGES:
        raise UsageError(f"no stage {stage!r} works through a plan", choices=PLAN_STAGES)
    arguments = [str(ENTRIES / f"{stage}.py"), "--plan", plan_uri]
    if through and through != stage:
        arguments += ["--through", through]
    if stage not in SPARK_STAGES:
        return [sys.executable, *arguments]
    archive = archive_in_use(settings, spark_jars(settings), java_home())
    shared = f"-XX:SharedArchiveFile={archive}" if archive else ""
    return local_command_of(Path(arguments[0]), arguments[1:], settings, java_options=shared)


def local_command_of(script: Path, arguments: list[str], settings: Settings, *, java_options: str = "") -> list[str]:
    """The command that runs any script of ours under Spark on this machine. For errors see `local_command`."""
    command = [str(spark_home() / "bin" / "spark-submit"), "--master", settings.spark_master]
    command += ["--driver-memory", settings.spark_driver_memory]
    jars = [str(jar) for jar in spark_jars(settings)]
    if settings.spark_master.startswith("local"):
        # One JVM is driver and executor, and only what is on its own class path can be in a class archive.
        command += ["--driver-class-path", os.pathsep.join(jars)]
    else:
        command += ["--jars", ",".join(jars)]
    confs = LAUNCH_CONFS | LOCAL_CONFS
    driver_options = "spark.driver.extraJavaOptions"
    option_texts = (confs[driver_options], LATE_SECOND_COMPILER, java_options, settings.spark_java_options)
    confs[driver_options] = " ".join(filter(None, option_texts))
    for key, value in confs.items():
        command += ["--conf", f"{key}={value}"]
    return [*command, str(script), *arguments]


def plan_environment(settings: Settings) -> dict[str, str]:
    """What a process that plans needs in its environment besides what is there: neither Java nor Spark, which an
    Airflow whose stages run on EMR does not have."""
    paths = [str(CODE_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "LAKEFERRY_STATE_DIR": str(settings.state_dir),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
    }


def local_environment(settings: Settings) -> dict[str, str]:
    """What a process that runs a stage here needs in its environment besides what is there.

    Raises:
        SettingError: no Java, or no Spark.
    """
    return plan_environment(settings) | {
        "JAVA_HOME": str(java_home()),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        # Without it workers start with the first python3 on PATH, which lacks this environment.
        "PYSPARK_PYTHON": sys.executable,
        # A SPARK_HOME of another Spark would otherwise win over the one this environment pins.
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def spark_jars(settings: Settings) -> list[Path]:
    """The jars given to Spark, sorted.

    Raises:
        SettingError: the folder holds none.
    """
    jars = sorted(settings.spark_packages_dir.glob("*.jar"))
    if not jars:
        raise SettingError(
            f"no jars in {settings.spark_packages_dir}",
            where="LAKEFERRY_SPARK_PACKAGES_DIR",
            fix="Fetch them with make setup, or name the folder that has them",
        )
    return jars


def java_home() -> Path:
    """The folder of the Java that Spark will use: `JAVA_HOME`, else that of `java` on the path."""
    named = os.environ.get("JAVA_HOME")
    if named:
        return Path(named)
    java = shutil.which("java")
    if java is None:
        raise SettingError("no Java found", where="JAVA_HOME", fix="Install a Java 17, or set JAVA_HOME to one")
    return Path(java).resolve().parents[1]
