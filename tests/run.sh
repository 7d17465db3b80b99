#!/bin/sh
# Runs the tests against the installed wheel, from outside the checkout, so that no folder of it is imported by accident.
# TESTS=tests/export runs a folder; JOBS=2 runs files side by side in two processes, of one thread each.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT
cd "$outside"
export EDGEPROOF_SLIM_PYTHON="${EDGEPROOF_SLIM_PYTHON:-$root/.venv/bin/python}"
threads=2
if [ "${JOBS:-1}" != 1 ]; then
    threads=1
    set -- -n "$JOBS" --dist loadfile --no-loadscope-reorder "$@"
fi
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-$threads}"
"${PYTHON_UNDER_TEST:-$root/.venv-test/bin/python}" -P -m pytest -c "$root/pyproject.toml" --rootdir "$root" -o cache_dir="$root/.cache/pytest" "$root/${TESTS:-tests}" "$@"
