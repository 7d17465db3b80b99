#!/bin/sh
# Runs the tests as other processors would: with OpenBLAS's kernels for them, with one and two threads, and without AVX-512.
#
#   tests/matrix.sh [CELL …] [-- PYTEST-ARGUMENT …]       by default every cell, with -m "not slow"
#
#   KERNEL/THREADS   Haswell, SkylakeX or Zen (any OPENBLAS_CORETYPE), and OMP_NUM_THREADS: Haswell/1
#   avx2             llama.cpp compiled without AVX-512 (5-12 minutes, once), numpy, OpenBLAS and torch held to AVX2.
#                    onnxruntime has no such switch: it takes the kernels of the processor at hand.
#   other            the first kernel of the three that numpy does not take by itself here, two threads
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON_UNDER_TEST:-$root/.venv-test/bin/python}

has() { grep -qw "$1" /proc/cpuinfo 2>/dev/null; }

# llama.cpp for AVX2 without AVX-512, in a folder that PYTHONPATH puts before the environment's own.
llama_avx2() {
    folder="$root/.cache/llama-avx2"
    [ -e "$folder/.installed" ] && return
    version=$(sed -n 's/^llama-cpp-python==//p' "$root/constraints.txt")
    echo "llama.cpp $version is compiled without AVX-512 into $folder, once (5-12 minutes on 2 cores)" >&2
    rm -rf "$folder"
    CMAKE_ARGS=-DGGML_NATIVE=OFF "$python" -m pip --disable-pip-version-check install -q --no-cache-dir --no-deps \
        --no-binary llama-cpp-python --target "$folder" "llama-cpp-python==$version" || return 1
    touch "$folder/.installed"
}

other() {
    taken=$("$python" -c 'import numpy, threadpoolctl
print(*(found["architecture"] for found in threadpoolctl.threadpool_info() if found["internal_api"] == "openblas"))')
    for kernel in Haswell SkylakeX Zen; do
        case " $taken " in *" $kernel "*) continue ;; esac
        if runs "$kernel"; then echo "$kernel/2" && return; fi
    done
}

runs() {
    case $1 in SkylakeX) has avx512f ;; Haswell | Zen | avx2) has avx2 ;; esac
}

run() (
    case $1 in
        avx2)
            llama_avx2 || exit 3
            features=$(has avx512f && printf X86_V4; has avx512_vbmi2 && printf ' AVX512_ICL'; has avx512_fp16 && printf ' AVX512_SPR'; true)
            [ -z "$features" ] || export NPY_DISABLE_CPU_FEATURES="$features"
            export OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2
            export PYTHONPATH="$root/.cache/llama-avx2${PYTHONPATH:+:$PYTHONPATH}"
            ;;
        */*) export OPENBLAS_CORETYPE="${1%/*}" OMP_NUM_THREADS="${1#*/}" ;;
        *) echo "no cell $1: KERNEL/THREADS, avx2 or other" >&2; exit 2 ;;
    esac
    shift
    "$root/tests/run.sh" "$@"
)

cells=
while [ $# -gt 0 ] && [ "$1" != -- ]; do cells="$cells $1"; shift; done
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- -m "not slow"
[ -n "$cells" ] || cells="Haswell/1 Haswell/2 SkylakeX/1 SkylakeX/2 Zen/1 Zen/2 avx2"
failed='' said=''
for cell in $cells; do
    [ "$cell" != other ] || cell=$(other)
    if [ -z "$cell" ]; then
        said="$said
other: not run, this processor runs no second one of these kernels"
        continue
    fi
    if ! runs "${cell%/*}"; then
        said="$said
$cell: not run, this processor lacks its instructions"
        continue
    fi
    echo "=== $cell" >&2
    if run "$cell" "$@"; then said="$said
$cell: passed"; else said="$said
$cell: FAILED"; failed=1; fi
done
echo "$said" >&2
[ -z "$failed" ]
