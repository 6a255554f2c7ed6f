#!/usr/bin/env bash
# Build the wheel and run it in an environment where nothing of this checkout can be imported.
set -euo pipefail
cd "$(dirname "$0")/.."

checkout=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

uv=$(PYTHONPATH=docker/native .venv/bin/python -c 'import install; print(install.uv())')
# Built from what is committed: a file that is only in this folder would hide a mistake.
git archive HEAD | tar -x -C "$(mkdir -p "$folder/source" && echo "$folder/source")"
"$uv" build --quiet --wheel --out-dir "$folder/dist" "$folder/source"
.venv/bin/python -m venv --without-pip "$folder/venv"
"$uv" pip install --quiet --no-deps --python "$folder/venv/bin/python" "$folder"/dist/lakeferry-*.whl

# The dependencies are the pinned ones of .venv. A .pth file there would bring the checkout back, and Python reads
# .pth files of its own site-packages only: this line adds the folder without reading those in it.
"$folder/venv/bin/python" - "$checkout/.venv" <<'PY'
import sys
import sysconfig
from pathlib import Path

version = f"python{sys.version_info.major}.{sys.version_info.minor}"
packages = Path(sys.argv[1]) / "lib" / version / "site-packages"
Path(sysconfig.get_path("purelib"), "dependencies.pth").write_text(f"{packages}\n", encoding="utf-8")
PY

mkdir -p "$folder/project/dags/pipelines"
cd "$folder/project"
run() { env -u PYTHONPATH -u LAKEFERRY_HOME -u LAKEFERRY_SETTINGS_FILE "$@"; }
run "$folder/venv/bin/python" - "$checkout" "$folder" <<'PY'
import importlib.util
import sys

checkout, folder = sys.argv[1:]
for name in ("connectors", "jobs", "expectations", "lakeferry_airflow"):
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, f"the wheel lacks {name}"
    assert spec.origin.startswith(folder), f"{name} comes from {spec.origin}, not from the wheel"
PY
# Into a variable: `grep -q` closes a pipe at the first match, and `pipefail` reports the broken pipe.
help=$(run "$folder/venv/bin/lakeferry" --help)
grep -q "quarantine" <<<"$help"

# A plan reads the specification before it opens a connection: the error names the line.
printf 'pipeline: shop\nsource: {type: aurora, connection: shop}\ndatasets:\n  - name: orders\n    tabel: shop.orders\n' \
    > dags/pipelines/shop.yaml
said=$(run "$folder/venv/bin/lakeferry" plan shop 2>&1) && { echo "lakeferry plan accepts a misspelt key"; exit 1; }
grep -q "shop.yaml:4" <<<"$said" || { echo "$said"; exit 1; }
echo "the wheel runs without the checkout"
