"""A stage that does what its plan's name says; the runners under test run it as they run a real one."""

import argparse
import os
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--plan", required=True)
parser.add_argument("--through")
options = parser.parse_args()
plan = Path(options.plan.removeprefix("file://"))
print(f"plan {plan.name}, through {options.through}", flush=True)
with plan.with_suffix(".pids").open("a") as pids:
    pids.write(f"{os.getpid()}\n")
if plan.name.startswith("environment"):
    for key in sorted(os.environ):
        print(f"variable {key}", flush=True)
if plan.name.startswith("library"):
    import in_the_environment

    print(f"found {in_the_environment.WORD}", flush=True)
if plan.name.startswith("fails"):
    print("it went wrong", file=sys.stderr)
    sys.exit(1)
if plan.name.startswith("exhausts"):
    print("java.lang.OutOfMemoryError: Java heap space", file=sys.stderr)
    sys.exit(52)
if plan.name.startswith("waits"):
    until = time.monotonic() + 120
    while not plan.with_suffix(".go").exists() and time.monotonic() < until:
        time.sleep(0.05)
