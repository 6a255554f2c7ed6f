"""Runs the commands of the documents as they stand there, in a checkout in which `make demo` has ended.

    run_readme.py CHECKOUT

The commands are those of README.md and docs/reference/commands.md: each row of the table, with `payments` for every
placeholder, and the lines behind `$` under "By hand with spark-submit".
"""

import os
import re
import subprocess
import sys
from pathlib import Path

_ELSEWHERE = {
    "lakeferry demo": "it has just run",
    "lakeferry correct PIPELINE": "no batch was refused by BigQuery",
    "lakeferry dags write": "it changes the folder of DAGs, and has tests of its own",
}
_PLACEHOLDERS = re.compile(r"\b(PIPELINE|DATASET)\b")


def commands(checkout: Path) -> list[str]:
    """Return each command once, in the order of the documents."""
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    reference = (checkout / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    named = re.findall(r"`(lakeferry [a-z][^`]*)`", readme)
    rows = [row for row in re.findall(r"^\| `(lakeferry [^`]+)` \|", reference, re.M) if row not in _ELSEWHERE]
    assert len(rows) >= 12, f"{len(rows)} commands in the table"
    complete = [_PLACEHOLDERS.sub("payments", re.sub(r" \[\w+\]", "", row)) for row in rows]
    return list(dict.fromkeys([*named, *complete]))


def by_hand(checkout: Path) -> list[str]:
    """Return the lines that plan and submit by hand."""
    reference = (checkout / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    section = reference[reference.index("## By hand with spark-submit") :]
    lines = [line.split("  #")[0].removeprefix("$ ").strip() for line in re.findall(r"^\$ .*$", section, re.M)]
    assert len(lines) == 2, lines
    return lines


def run(command: str, checkout: Path, environment: dict[str, str]) -> str:
    """Run it in a shell, as a person would; its standard output."""
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        print(ended.stdout, ended.stderr)
        raise SystemExit(f"{command} ended with {ended.returncode}")
    assert ended.stdout.strip(), f"{command} printed nothing"
    print(f"  ✓ {command}", flush=True)
    return ended.stdout


def main() -> int:
    checkout = Path(sys.argv[1]).resolve()
    environment = {**os.environ, "PATH": f"{checkout / '.venv' / 'bin'}:{os.environ['PATH']}"}
    for command in commands(checkout):
        run(command, checkout, environment)
    plan, submit = by_hand(checkout)
    address = run(plan, checkout, environment).strip().splitlines()[-1]
    run(submit.replace("URI", address), checkout, environment)
    left = subprocess.run(["git", "status", "--porcelain"], cwd=checkout, stdout=subprocess.PIPE, text=True, check=True)
    assert not left.stdout, f"git shows what the commands left:\n{left.stdout}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
