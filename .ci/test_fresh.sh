#!/usr/bin/env bash
# All tests in a fresh clone with an empty cache directory: what `make setup` installs, builds and downloads is made
# again. Packages of the operating system stay.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$(mktemp -d)
trap 'make -C "$fresh/lakeferry" down >/dev/null 2>&1 || true; rm -rf "$fresh"' EXIT
git clone --quiet . "$fresh/lakeferry"
mkdir "$fresh/cache"
# Named, so that pip, uv, Go and Maven do not find those of this user either.
export XDG_CACHE_HOME="$fresh/cache" UV_CACHE_DIR="$fresh/cache/uv" PIP_CACHE_DIR="$fresh/cache/pip"
export GOCACHE="$fresh/cache/go-build" GOMODCACHE="$fresh/cache/go-mod" GOFLAGS=-modcacherw
export MAVEN_ARGS="-Dmaven.repo.local=$fresh/cache/maven"
unset LAKEFERRY_SETTINGS_FILE LAKEFERRY_HOME
make -C "$fresh/lakeferry" test-unit
make -C "$fresh/lakeferry" test TESTS='-m "not unit"'
