"""Steps with one progress line each, commands whose output goes to a log, and steps side by side."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from failure import Failure
from places import cache_dir, state_dir

HEARTBEAT = 30.0
_printing = threading.Lock()


def say(text: str) -> None:
    with _printing:
        print(text, flush=True)


def elapsed(seconds: float) -> str:
    """`0.4 s`, `41 s`, `9 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


@contextlib.contextmanager
def step(doing: str) -> Iterator[None]:
    """Say what is being done, again every 30 seconds while it lasts, and how long it took."""
    began = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        while not done.wait(HEARTBEAT):
            say(f"    {doing}: {elapsed(time.monotonic() - began)} so far")

    say(f"  … {doing}")
    threading.Thread(target=remind, daemon=True).start()
    try:
        yield
    except BaseException:
        say(f"  ✗ {doing}: failed after {elapsed(time.monotonic() - began)}")
        raise
    finally:
        done.set()
    say(f"  ✓ {doing}: {elapsed(time.monotonic() - began)}")


def run(
    command: Sequence[str | Path],
    *,
    log: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    fix: str = "",
) -> str:
    """Run a command to its end and return what it wrote to standard output.

    Args:
        log: name of the log under .lakeferry/logs that gets both outputs.
        fix: what to do if it fails, added to the message.

    Raises:
        Failure: it could not be started or ended with another code than 0.
    """
    directory = state_dir() / "logs"
    directory.mkdir(exist_ok=True)
    path = directory / f"{log}.txt"
    parts = [str(part) for part in command]
    try:
        with path.open("ab") as out:
            out.write(f"$ {shlex.join(parts)}\n".encode())
            out.flush()
            done = subprocess.run(
                parts,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=out,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                check=False,
            )
            out.write(done.stdout)
    except FileNotFoundError as error:
        raise Failure(f"{parts[0]} is not installed. {fix}".strip(), exit_code=2) from error
    if done.returncode != 0:
        tail = "\n".join(f"    {line}" for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        raise Failure(
            f"{parts[0]} failed with code {done.returncode}. {fix}\nThe log is {path}, and ends with:\n{tail}"
        )
    return done.stdout.decode("utf-8", errors="replace")


def side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Run all tasks in threads, wait for every one, then raise what failed as one Failure."""
    failures: list[Failure] = []
    if tasks:
        with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
            for future in [pool.submit(task) for task in tasks]:
                try:
                    future.result()
                except Failure as failure:
                    failures.append(failure)
    if failures:
        raise Failure("\n".join(str(failure) for failure in failures), min(failure.exit_code for failure in failures))


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock file: a second command waits, says so, and finds the work done."""
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("  … another Lakeferry command is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """A directory of the shared cache, built once: `build` fills a draft beside it, which then takes its name.

    A build that dies leaves a draft, never half a result.
    """
    import shutil
    import tempfile

    target = cache_dir() / name
    if target.is_dir():
        return target
    with only_one(cache_dir() / f".{name}.lock"):
        if target.is_dir():
            return target
        draft = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=cache_dir()))
        draft.chmod(0o755)
        try:
            build(draft)
            draft.rename(target)
        finally:
            if draft.exists():
                shutil.rmtree(draft, ignore_errors=True)
    return target


def fail_in_words(main: Callable[[list[str]], int]) -> int:
    """Run a command's main function; a Failure becomes its message on standard error and its exit code."""
    try:
        return main(sys.argv[1:])
    except Failure as failure:
        print(f"lakeferry: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        print("lakeferry: interrupted", file=sys.stderr)
        return 130
