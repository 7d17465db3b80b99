#!/bin/sh
# Runs the fast tests that need neither torch nor llama.cpp's tools with the lowest and with the newest versions that
# pyproject.toml allows (`make test-bounds`). ENDS=lowest takes one of the two.
#
# llama-cpp-python stays the one of constraints.txt: another would be compiled here for minutes.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work="$root/.cache/bounds"
python="$root/.venv-test/bin/python"
tests="${TESTS:-contracts eval export runtime}"
mkdir -p "$work"
failed=""
for end in ${ENDS:-lowest newest}; do
    grep '^llama-cpp-python==' "$root/constraints.txt" > "$work/$end.txt"
    [ "$end" != lowest ] || "$python" "$root/tests/lowest.py" "$root/pyproject.toml" >> "$work/$end.txt"
    "$python" -m venv --clear "$work/$end"
    "$work/$end/bin/python" -m pip --disable-pip-version-check install -q --constraint "$work/$end.txt" \
        --find-links "$root/.cache/wheels" "$(echo "$root"/.cache/dist/*.whl)[onnx,sign,encrypted]" \
        pytest pytest-timeout pytest-xdist hypothesis jsonschema junitparser pyyaml
    "$work/$end/bin/python" -m pip --disable-pip-version-check list > "$work/$end.list"
    for folder in $tests; do
        TESTS="tests/$folder" PYTHON_UNDER_TEST="$work/$end/bin/python" "$root/tests/run.sh" \
            -m "not torch and not slow and not official and not phone" "$@" || failed="$failed $end:$folder"
    done
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
