"""Local jobs when a try is lost, ended, late or elsewhere: real processes, of a stage that needs no Spark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.errors import RunnerFailed
from jobs.launch import commands as submit
from jobs.launch import time_guard
from jobs.launch.processes import group_runs, has_ended, place, started_at, stop_group
from jobs.runs.time_limits import TimeLimit
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import Settings
from lakeferry_airflow.runners import Work
from lakeferry_airflow.runners.local import LocalRunner

pytestmark = pytest.mark.services

STAGE = """\
import os, signal, sys, time
from pathlib import Path
plan = Path(sys.argv[sys.argv.index("--plan") + 1])
if "driver" in plan.name and (driver := os.fork()):
    # As spark-submit does: the JVM leads the group, and waits for the driver in Python.
    os.waitpid(driver, 0)
    sys.exit()
if "stubborn" in plan.name:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with plan.with_suffix(".pids").open("a") as pids:
    pids.write(f"{os.getpid()}\\n")
print("the stage works", flush=True)
while not plan.with_suffix(".go").exists():
    time.sleep(0.02)
"""
LIMIT = "LAKEFERRY_STAGE_TIMEOUT_MINUTES"


class Stage:
    """The stage `load` of plans in a folder: each writes down its process and works until it may end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(state_dir=folder / "state")

    def runner(self) -> LocalRunner:
        return LocalRunner(self.settings)

    def work(self, plan: str = "plan", attempt: int = 1, limit: float | None = None) -> Work:
        return Work(
            pipeline="payments",
            run_id="manual__1",
            stage="load",
            plan_uri=str(self.folder / plan),
            through=None,
            attempt=attempt,
            limit=TimeLimit(limit, LIMIT) if limit else None,
        )

    def pids(self, plan: str = "plan", count: int = 1) -> list[int]:
        pids: list[int] = []

        def begun() -> bool:
            path = self.folder / f"{plan}.pids"
            pids[:] = [int(line) for line in path.read_text().split()] if path.exists() else []
            return len(pids) >= count

        wait_until(begun)
        return pids

    def let_go(self, plan: str = "plan") -> None:
        (self.folder / f"{plan}.go").touch()

    @property
    def job_file(self) -> Path:
        (file,) = (self.folder / "state").rglob("load.json")
        return file


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    started = started_at(pid)
    return started is not None and not has_ended(pid, started)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    (tmp_path / "entries").mkdir()
    (tmp_path / "entries" / "load.py").write_text(STAGE)
    monkeypatch.setattr(submit, "ENTRIES", tmp_path / "entries")
    stage = Stage(tmp_path)
    yield stage
    for path in tmp_path.glob("*.pids"):
        for pid in map(int, path.read_text().split()):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_late_stop_of_a_lost_try_leaves_the_process_that_the_retry_adopted(stage: Stage) -> None:
    lost, retry = stage.runner(), stage.runner()
    job = lost.submit(stage.work(attempt=1))
    (pid,) = stage.pids()
    assert retry.submit(stage.work(attempt=2)) == job
    written = json.loads(stage.job_file.read_text())
    assert (written["attempt"], written["place"]) == (2, place())
    lost.stop(job)
    assert runs(pid)
    stage.let_go()
    assert retry.wait(job, lambda line: None).succeeded


def test_the_try_that_adopted_a_process_can_stop_it(stage: Stage) -> None:
    retry = stage.runner()
    stage.runner().submit(stage.work(attempt=1))
    (pid,) = stage.pids()
    retry.stop(retry.submit(stage.work(attempt=2)))
    assert not runs(pid)


def test_a_process_that_ignores_sigterm_is_gone_within_the_grace_of_airflow(stage: Stage) -> None:
    runner = stage.runner()
    job = runner.submit(stage.work("stubborn"))
    (pid,) = stage.pids("stubborn")
    began = time.monotonic()
    runner.stop(job)
    assert not runs(pid)
    assert time.monotonic() - began < 4.0


def test_a_driver_that_ignores_sigterm_is_gone_within_the_grace_of_airflow(stage: Stage) -> None:
    runner = stage.runner()
    job = runner.submit(stage.work("stubborn-driver"))
    (driver,) = stage.pids("stubborn-driver")
    assert os.getpgid(driver) != driver
    began = time.monotonic()
    runner.stop(job)
    assert not runs(driver)
    assert time.monotonic() - began < 4.0


@pytest.mark.parametrize("plan", ["driver", "stubborn-driver"])
def test_a_driver_whose_jvm_died_ends_with_the_wait(stage: Stage, plan: str) -> None:
    runner = stage.runner()
    job = runner.submit(stage.work(plan))
    (driver,) = stage.pids(plan)
    leader = os.getpgid(driver)
    # As the kernel does where memory runs out.
    os.kill(leader, signal.SIGKILL)
    lines: list[str] = []
    end = runner.wait(job, lines.append)
    assert (end.succeeded, end.exit_code) == (False, -signal.SIGKILL)
    assert lines == [
        "the stage works",
        f"Process {leader} ended and left others that it had started: stopping them.",
    ]
    assert not runs(driver)


def test_a_driver_whose_jvm_died_unseen_ends_before_the_next_try_begins(stage: Stage) -> None:
    stage.runner().submit(stage.work("stubborn-driver"))
    (driver,) = stage.pids("stubborn-driver")
    leader = os.getpgid(driver)
    os.kill(leader, signal.SIGKILL)
    wait_until(lambda: not runs(leader))
    retry = stage.runner()
    job = retry.submit(stage.work("stubborn-driver", attempt=2))
    assert not runs(driver)
    _, second = stage.pids("stubborn-driver", 2)
    stage.let_go("stubborn-driver")
    assert retry.wait(job, lambda line: None).succeeded
    assert not runs(second)


def test_a_driver_whose_jvm_died_ends_where_nobody_waits(stage: Stage) -> None:
    stage.runner().submit(stage.work("driver", limit=3600))
    (driver,) = stage.pids("driver")
    os.kill(os.getpgid(driver), signal.SIGKILL)
    wait_until(lambda: not runs(driver))


def test_a_driver_that_goes_on_beyond_the_limit_of_its_jvm_is_killed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_guard, "_GRACE_SECONDS", 0.3)
    runner = stage.runner()
    runner.submit(stage.work("stubborn-driver"))
    (driver,) = stage.pids("stubborn-driver")
    leader = os.getpgid(driver)
    assert time_guard.main([str(leader), started_at(leader) or "", str(time.time()), "1 s"]) == 0
    assert not runs(driver)


def test_the_group_of_a_later_process_with_the_same_id_is_left_alone(stage: Stage) -> None:
    # The id of the job's process was given to another one, which leads a group of its own.
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    stop_group(other.pid, "an earlier start", grace_seconds=0.1)
    assert runs(other.pid)
    other.kill()
    other.wait()


@pytest.mark.parametrize("pid", [0, 1, -1])
def test_an_id_that_means_many_processes_is_no_process_of_ours(pid: int) -> None:
    # kill(2): 0 is the group of the sender of the signal, -1 are all processes. A damaged file may name them.
    assert not group_runs(pid, "")
    stop_group(pid, "", grace_seconds=0.1)


@pytest.mark.parametrize("elsewhere", ["otherhost 1 pid:[1]", f"{place().split()[0]} rebooted pid:[1]"])
def test_a_process_id_of_another_host_is_not_believed(stage: Stage, elsewhere: str) -> None:
    first = stage.runner()
    job = first.submit(stage.work(attempt=1))
    (pid,) = stage.pids()
    # The id and start of a process that runs here, written down by another host: it is not the one meant.
    written = json.loads(stage.job_file.read_text())
    stage.job_file.write_text(json.dumps(written | {"place": elsewhere}))
    retry = stage.runner()
    retry.submit(stage.work(attempt=2))
    assert len(stage.pids(count=2)) == 2
    stage.let_go()
    lines: list[str] = []
    assert retry.wait(job, lines.append).succeeded
    assert lines[0] == (
        f"Try 1 started process {pid} on {elsewhere.split()[0]}, which cannot be seen from here. "
        "This try starts its own; should both run, one of them works in vain."
    )


def test_a_stop_leaves_a_process_of_another_host_and_ends_its_own(stage: Stage) -> None:
    first = stage.runner()
    job = first.submit(stage.work(attempt=1))
    (pid,) = stage.pids()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    written = json.loads(stage.job_file.read_text())
    other = {"pid": bystander.pid, "started": started_at(bystander.pid), "place": "otherhost 1", "waiter": "x"}
    stage.job_file.write_text(json.dumps(written | other))
    stage.runner().stop(job)
    assert runs(bystander.pid)
    first.stop(job)
    assert (runs(bystander.pid), runs(pid)) == (True, False)
    bystander.kill()
    bystander.wait()


def test_a_job_file_of_an_earlier_version_is_read(stage: Stage) -> None:
    stage.runner().submit(stage.work(attempt=1))
    (pid,) = stage.pids()
    written = json.loads(stage.job_file.read_text())
    stage.job_file.write_text(json.dumps({key: written[key] for key in ("pid", "started", "plan_uri", "output")}))
    retry = stage.runner()
    job = retry.submit(stage.work(attempt=2))
    stage.let_go()
    assert retry.wait(job, lambda line: None).succeeded
    assert stage.pids() == [pid]


def test_a_job_file_of_a_later_version_is_read(stage: Stage) -> None:
    # The version was rolled back while the process ran.
    stage.runner().submit(stage.work(attempt=1))
    (pid,) = stage.pids()
    written = json.loads(stage.job_file.read_text())
    stage.job_file.write_text(json.dumps(written | {"host_port": 1}))
    retry = stage.runner()
    job = retry.submit(stage.work(attempt=2))
    stage.let_go()
    assert retry.wait(job, lambda line: None).succeeded
    assert stage.pids() == [pid]


_WHOLE = {"pid": 1, "started": "1", "plan_uri": "p", "output": "o"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"pid": 12',
        "[]",
        "null",
        "{}",
        "\x00" * 40,
        json.dumps(_WHOLE | {"pid": "12"}),
        json.dumps(_WHOLE | {"pid": True}),
        json.dumps(_WHOLE | {"pid": 10**20}),
        json.dumps(_WHOLE | {"output": None}),
        json.dumps(_WHOLE | {"place": 1}),
        json.dumps(_WHOLE | {"ends_at": "soon"}),
    ],
)
def test_a_damaged_job_file_blocks_no_run(stage: Stage, text: str) -> None:
    first = stage.runner()
    job = first.submit(stage.work("first"))
    stage.pids("first")
    stage.let_go("first")
    first.wait(job, lambda line: None)
    # As a machine leaves it whose power failed.
    stage.job_file.write_text(text)
    retry = stage.runner()
    job = retry.submit(stage.work(attempt=2))
    stage.let_go()
    lines: list[str] = []
    assert retry.wait(job, lines.append).succeeded
    assert lines[0] == (
        f"The file of an earlier job, {stage.job_file}, is damaged. This try starts its own process; should one of an "
        "earlier try run, one of them works in vain."
    )
    # The file that the retry wrote is whole.
    assert json.loads(stage.job_file.read_text())["attempt"] == 2
    stage.job_file.write_text(text)
    stage.runner().stop(job)
    end = stage.runner().wait(job, lines.append)
    assert (end.succeeded, end.details) == (False, f"nothing is known of the process of {job}")


def test_a_task_that_dies_before_its_process_is_written_down_has_started_none(stage: Stage) -> None:
    # SIGKILL at the worst moment: the process is there, its file is not.
    task = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        from jobs.launch import commands as submit
        from jobs.runtime.settings import Settings
        from lakeferry_airflow.runners import Work, local
        submit.ENTRIES = Path({str(stage.folder / "entries")!r})
        local.write_job = lambda path, job: (print(job.pid, flush=True), os.kill(os.getpid(), signal.SIGKILL))
        local.LocalRunner(Settings(state_dir=Path({str(stage.folder / "state")!r}))).submit(
            Work("payments", "manual__1", "load", {str(stage.folder / "plan")!r}, None, 1))
    """)
    environment = os.environ | {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'dags'}"}
    died = subprocess.run([sys.executable, "-c", task], env=environment, capture_output=True, text=True, timeout=60)
    assert died.returncode == -signal.SIGKILL, died.stderr
    wait_until(lambda: not runs(int(died.stdout)))
    assert not (stage.folder / "plan.pids").exists()
    retry = stage.runner()
    job = retry.submit(stage.work(attempt=2))
    stage.pids()
    stage.let_go()
    assert retry.wait(job, lambda line: None).succeeded
    assert len(stage.pids()) == 1


def test_a_process_is_stopped_at_its_limit_while_it_is_waited_for(stage: Stage) -> None:
    runner = stage.runner()
    job = runner.submit(stage.work(limit=1))
    lines: list[str] = []
    end = runner.wait(job, lines.append)
    (pid,) = stage.pids()
    assert (end.succeeded, end.over_limit, end.exit_code) == (False, True, -signal.SIGTERM)
    assert lines == ["the stage works", f"Process {pid} has reached its time limit of 1 s: stopping it."]
    assert not runs(pid)


def test_a_process_that_ignores_its_limit_was_not_killed_for_want_of_memory(stage: Stage) -> None:
    runner = stage.runner()
    job = runner.submit(stage.work("stubborn", limit=1))
    (pid,) = stage.pids("stubborn")
    log = stage.job_file.with_suffix(".1.log")
    wait_until(lambda: "has reached its time limit" in log.read_text())
    # Its guard does this ten seconds later.
    os.killpg(pid, signal.SIGKILL)
    end = runner.wait(job, lambda line: None)
    assert (end.over_limit, end.details) == (True, f"process {pid} was ended by SIGKILL")


def test_a_process_is_stopped_at_its_limit_when_the_task_that_waited_is_gone(stage: Stage) -> None:
    task = textwrap.dedent(f"""
        from pathlib import Path
        from jobs.launch import commands as submit
        from jobs.runtime.settings import Settings
        from jobs.runs.time_limits import TimeLimit
        from lakeferry_airflow.runners import Work, local
        submit.ENTRIES = Path({str(stage.folder / "entries")!r})
        local.LocalRunner(Settings(state_dir=Path({str(stage.folder / "state")!r}))).submit(
            Work("payments", "manual__1", "load", {str(stage.folder / "plan")!r}, None, 1, limit=TimeLimit(2, "it")))
    """)
    environment = os.environ | {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'dags'}"}
    subprocess.run([sys.executable, "-c", task], env=environment, check=True, timeout=60)
    (pid,) = stage.pids()
    retry = stage.runner()
    # The retry keeps the limit that the process was started with.
    job = retry.submit(stage.work(attempt=2, limit=3600))
    end = retry.wait(job, lambda line: None)
    assert (end.succeeded, end.over_limit) == (False, True)
    assert not runs(pid)


def test_a_process_that_ends_in_time_ends_its_guard(stage: Stage) -> None:
    runner = stage.runner()
    job = runner.submit(stage.work(limit=3600))
    stage.pids()
    stage.let_go()
    end = runner.wait(job, lambda line: None)
    assert (end.succeeded, end.over_limit) == (True, False)
    (guard,) = runner._guards
    assert guard.wait(timeout=10) == 0


def test_what_a_look_raises_leaves_the_process_as_it_is(stage: Stage) -> None:
    runner = stage.runner()
    job = runner.submit(stage.work())
    (pid,) = stage.pids()

    def leave() -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        runner.wait(job, lambda line: None, leave)
    assert runs(pid)


def test_a_late_try_of_an_old_plan_leaves_the_process_of_its_successor(stage: Stage) -> None:
    for number in (1, 2):
        (stage.folder / str(number)).touch()
    newer = stage.runner()
    newer.submit(stage.work("2.json", attempt=2))
    (pid,) = stage.pids("2")
    with pytest.raises(RunnerFailed, match="works for a newer plan of this run"):
        stage.runner().submit(stage.work("1.json"))
    assert runs(pid)
    stage.let_go("2")
    # The newer plan's process has ended: nothing is in the way of an old plan, should it be the newest again.
    job = newer.submit(stage.work("2.json", attempt=3))
    newer.wait(job, lambda _: None)
    stage.let_go("1")
    old = stage.runner()
    assert old.wait(old.submit(stage.work("1.json")), lambda _: None).succeeded
