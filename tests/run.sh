#!/bin/sh
# Runs the tests against the installed wheel, from outside the checkout, so that no folder of it is imported by accident.
#
# TESTS=tests/export runs a folder. Where there are two cores, files run side by side in two processes of one thread
# each: two threads of one process wait for each other within every product of these small models. JOBS=1 runs them in
# this order in one process, of two threads; OMP_NUM_THREADS sets how many threads each process has.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT
cd "$outside"
export EDGEPROOF_SLIM_PYTHON="${EDGEPROOF_SLIM_PYTHON:-$root/.venv/bin/python}"
cores=$(unset OMP_NUM_THREADS OMP_THREAD_LIMIT; nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) # nproc heeds both
if [ -z "${JOBS:-}" ]; then
    JOBS=1
    [ "$cores" -lt $((2 * ${OMP_NUM_THREADS:-1})) ] || JOBS=2
fi
threads=2
if [ "$JOBS" != 1 ]; then
    threads=1
    set -- -n "$JOBS" --dist loadfile --no-loadscope-reorder "$@"
fi
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-$threads}"
"${PYTHON_UNDER_TEST:-$root/.venv-test/bin/python}" -P -m pytest -c "$root/pyproject.toml" --rootdir "$root" -o cache_dir="$root/.cache/pytest" "$root/${TESTS:-tests}" "$@"
