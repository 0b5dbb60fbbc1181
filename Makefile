# Two commands do all the set-up:  make run   and   make test

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

BACKEND ?= jax

.PHONY: run test matrix bench lint clean

run: $(VENV)/.base  ## teach the encoder-decoder to echo on JAX, and print the table
	$(BIN)/echobench run --backend jax --task partial

test: $(VENV)/.all  ## everything installed, formatted, typed and tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

matrix: $(VENV)/.all  ## the table of the README: about half an hour on two cores
	$(BIN)/echobench run --engine fused --engine fit --division closed --division open \
		--seeds 3 --timeout 60s --results results/matrix

bench: $(VENV)/.all  ## pytest-benchmark, one backend a process: make bench BACKEND=torch
	# Frameworks imported by pytest itself warn of things that are theirs.
	ECHOBENCH_BENCH_BACKEND=$(BACKEND) KERAS_BACKEND=$(BACKEND) $(BIN)/python -m pytest \
		-W default tests/benchmarks --benchmark-only --benchmark-save=$(BACKEND)

lint: $(VENV)/.all  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was installed and built; records stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch by its pinned version, first and alone: a newer one brings gigabytes of CUDA.
$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/.all: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) -e '.[all,dev]'
	touch $@ $(VENV)/.base
