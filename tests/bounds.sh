#!/bin/sh
# Runs the fast tests with the lowest and with the newest versions that pyproject.toml allows (`make test-bounds`).
#
# lowest        exactly the lower bounds, without the extras [unlearn] and [lm-eval], which needs a newer numpy: the tests
#               that need no torch
# lowest-torch  with [unlearn]: its own lower bounds, and of the others the lowest that these allow: the tests with torch
# newest        everything, by the newest Python at hand: all of them
#
# ENDS="lowest newest" takes some. Environments are made anew in .cache/bounds, one after the other; what was installed is
# listed beside them. An index's newest torch may bring several GB of CUDA.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work="$root/.cache/bounds"
oldest="$root/.venv-test/bin/python"
wheel=$(echo "$root"/.cache/dist/*.whl)
tools="pytest>=8.3 pytest-timeout>=2.3 pytest-xdist>=3.6 hypothesis>=6.100 jsonschema>=4.23 junitparser>=3.1 pyyaml>=6
    protobuf>=5 matplotlib>=3.10 setuptools>=77 llama-cpp-python[server]>=0.3.36"
fast="not slow and not phone"
mkdir -p "$work"

newest_python() {
    for name in python3.14 python3.13 python3.12; do
        ! "$name" -c '' 2>/dev/null || { echo "$name"; return; }
    done
    echo "$oldest"
}

install() { # ENVIRONMENT PYTHON EXTRAS [OPTION ...]
    environment="$work/$1" python="$2" extras="$3"
    shift 3
    "$python" -m venv --clear "$environment"
    # shellcheck disable=SC2086 # $tools is a list
    "$environment/bin/python" -m pip --disable-pip-version-check install -q --upgrade --find-links "$root/.cache/wheels" \
        "$@" "${wheel}[$extras]" $tools
    "$environment/bin/python" -m pip --disable-pip-version-check list > "$environment.list"
}

lowest_with_torch() { # prints the versions
    "$oldest" -m venv --clear "$work/uv"
    "$work/uv/bin/python" -m pip --disable-pip-version-check install -q uv
    "$oldest" "$root/tests/lowest.py" "$root/pyproject.toml" unlearn > "$work/own.txt"
    # shellcheck disable=SC2086
    printf '%s\n' $tools | "$work/uv/bin/uv" pip compile -q --no-header --no-annotate --resolution lowest-direct \
        --python "$oldest" --find-links "$root/.cache/wheels" --constraint "$work/own.txt" \
        --all-extras "$root/pyproject.toml" -
}

failed=""
for end in ${ENDS:-lowest lowest-torch newest}; do
    marks="$fast"
    case $end in
    lowest)
        "$oldest" "$root/tests/lowest.py" "$root/pyproject.toml" > "$work/lowest.txt"
        install lowest "$oldest" onnx,sign,encrypted,demo --constraint "$work/lowest.txt"
        marks="$fast and not torch and not official"
        ;;
    lowest-torch)
        lowest_with_torch > "$work/lowest-torch.txt"
        install lowest-torch "$oldest" onnx,sign,encrypted,demo,lm-eval,unlearn --constraint "$work/lowest-torch.txt"
        marks="$fast and torch"
        ;;
    newest) install newest "$(newest_python)" onnx,sign,encrypted,demo,lm-eval,unlearn ;;
    *) echo "ENDS: $end is none of lowest, lowest-torch, newest" >&2; exit 2 ;;
    esac
    PYTHON_UNDER_TEST="$work/$end/bin/python" "$root/tests/run.sh" -m "$marks" "$@" || failed="$failed $end"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
