# Two commands do all the set-up:  make run   and   make test

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

BACKEND ?= jax
TIMES   ?= 10

# A file stays in one process, and the files come in their order: long ones first, see conftest.
PYTEST = $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder --benchmark-disable

.PHONY: medians expectation run test test-often test-times coverage mutation speed open turns closed tasks studies sizes figures report docs bench bench-scale bench-executors fuzz regression soak load lint clean

run: $(VENV)/.base  ## teach the encoder-decoder to echo on JAX, and print the table
	$(BIN)/echobench run --backend jax --task partial

test: $(VENV)/.all  ## everything installed, formatted, typed and tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	# Benchmarks are apart (make bench): tests run side by side, which no timing would stand.
	$(PYTEST)

test-times: $(VENV)/.all  ## the tests, and the processor seconds of each file and test
	$(PYTEST) -p tests.times

test-often: $(VENV)/.all  ## the tests in random order, TIMES times; stops where one fails
	for run in $$(seq $(TIMES)); do \
		seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); \
		printf 'run %s of $(TIMES), --randomly-seed=%s: ' "$$run" "$$seed"; \
		$(PYTEST) -q -p randomly --randomly-seed="$$seed" > .test-often.log 2>&1 \
			|| { echo failed; cat .test-often.log; exit 1; }; \
		tail -n 1 .test-often.log; \
	done

coverage: $(VENV)/.all  ## lines and branches of core, harness and results that the tests reach
	$(PYTEST) --cov --cov-report=term-missing

# By itself: only who wants it installs it. What it finds stays in mutants/, and is not done again.
mutation: $(VENV)/.all  ## is an error in certification, statistics or record keeping noticed?
	$(PIP) -e '.[mutation]'
	$(BIN)/mutmut run
	$(BIN)/mutmut results

# Each trial on one core; two such targets at once, each under `taskset -c`, keep apart.
BOTH := --task whole --task partial
speed: $(VENV)/.all  ## what an update takes, every engine: about a quarter of an hour
	$(BIN)/echobench run $(BOTH) --engine fused --engine fit --engine native --division closed \
		--seeds 6 --max-epochs 200 --threads 1 --timeout 2m --results results/speed

open: $(VENV)/.all  ## time to certified 100%, open recipes: about a quarter of an hour
	$(BIN)/echobench run $(BOTH) --backend jax --backend tensorflow --backend flax \
		--backend torch-native --backend torch --division open --seeds 10 --threads 1 \
		--timeout 2m --results results/open

# Interleaved: each round adds a process of two seeds, and two processes of one.
turns: $(VENV)/.all  ## seeds in turn beside seeds alone, A/A: about a quarter of an hour
	for forks in 1 2 3 4 5; do seeds=$$((2 * forks)); for way in alone in-turn; do \
		[ $$way = alone ] && processes=$$seeds || processes=$$forks; \
		$(BIN)/echobench run --task whole --engine fused --engine native --division open \
			--threads 1 --unchecked --seeds $$seeds --forks $$processes \
			--results results/turns/$$way || exit; \
	done; done
	$(BIN)/echobench compare results/turns/alone results/turns/in-turn

closed: $(VENV)/.all  ## time to certified 100%, the tutorial's recipe: about twenty-two minutes
	$(BIN)/echobench run --task whole --backend jax --backend tensorflow --backend torch \
		--engine fused --engine fit --division closed --seeds 6 --forks 6 --threads 1 --timeout 3m \
		--results results/closed
	$(BIN)/echobench run --task partial --backend jax --backend flax --backend torch \
		--engine fused --engine native --division closed --seeds 6 --forks 6 --threads 1 --timeout 3m \
		--results results/closed

TUTORIAL := whole partial long-echo masked regression stateless one-to-one many-to-one
PARTIAL := masked regression stateless one-to-one many-to-one text

tasks: $(VENV)/.all  ## every task's open recipe: about an hour on one core
	$(BIN)/echobench run --backend jax --division open --seeds 3 --threads 1 \
		--timeout 8m --results results/tasks
	$(BIN)/echobench run --backend jax --division open --seeds 3 --threads 1 \
		--timeout 8m --results results/tasks $(PARTIAL:%=--task '%[n_out=2]')
	$(BIN)/echobench run --backend tensorflow --backend torch --division open \
		--threads 1 --timeout 8m --results results/tasks $(TUTORIAL:%=--task %)

# Interleaved: each command adds two seeds to those that are recorded.
side-by-side: $(VENV)/.all  ## two jobs at once beside one at a time, A/A: about ten minutes
	for seeds in 2 4 6 8; do for jobs in 1 2; do \
		$(BIN)/echobench run --backend jax --backend torch-native --task whole --task partial \
			--division open --threads 1 --seeds $$seeds --jobs $$jobs --results results/jobs || exit; \
	done; done
	$(BIN)/echobench compare side_by_side=1 side_by_side=2 --results results/jobs

STUDIES := representation masking length state topology
studies: $(VENV)/.all  ## what the tutorial leaves open: about twenty minutes on one core
	for study in $(STUDIES); do $(BIN)/echobench study $$study --threads 1 --seeds 1 || exit; done

# Without torch, whose compiler takes more than a minute for windows of 128.
BACKENDS := jax tensorflow torch-native flax
sizes: $(VENV)/.all  ## what an update costs by size, and its figure
	$(BIN)/echobench study size $(BACKENDS:%=--backend %) --threads 2 --seeds 1 --timeout 60s
	$(BIN)/echobench plot size -o results/studies/size.svg

PLOT = $(BIN)/echobench plot
figures: $(VENV)/.all  ## the pictures of the committed records, into results/figures/
	$(PLOT) learning --results results/open -o results/figures/learning.svg
	$(PLOT) survival --results results/open -o results/figures/survival.svg
	$(PLOT) updates --results results/speed -o results/figures/updates.svg
	$(PLOT) phases --results results/open -o results/figures/phases.svg
	$(PLOT) break-even --results results/speed -o results/figures/break-even.svg

medians: $(VENV)/.all  ## what the committed records' trials took, which a run's expectation starts from
	$(BIN)/python -m tests.benchmarks.medians

report: $(VENV)/.all  ## the page of the committed records, studies too
	$(BIN)/echobench report --results results --output results/report.html

.PHONY: references
references: $(VENV)/.all  ## the first losses and fingerprints of our tasks, shipped as data
	$(BIN)/python -m echobench.testing.references

.PHONY: findings
findings: $(VENV)/.all  ## what the committed records say, into README.md and the pages of results/
	$(BIN)/python docs/make_results.py

docs: $(VENV)/.all  ## the reference pages, made from the code: docs/commands.md, docs/reference.md
	$(BIN)/python docs/make_commands.py
	$(BIN)/python docs/make_reference.py

.PHONY: faults side-by-side
faults: $(VENV)/.all  ## 200 workers that go wrong, in one process: ten minutes
	$(BIN)/python -m tests.soak.faults

bench: $(VENV)/.all  ## pytest-benchmark, one backend a process: make bench BACKEND=torch
	# Frameworks imported by pytest itself warn of things that are theirs.
	ECHOBENCH_BENCH_BACKEND=$(BACKEND) KERAS_BACKEND=$(BACKEND) $(BIN)/python -m pytest \
		-W default tests/benchmarks --benchmark-only --benchmark-save=$(BACKEND)

expectation: $(VENV)/.all  ## what a run was expected to take beside what it took, three matrices
	$(BIN)/python -m tests.benchmarks.expectation

bench-scale: $(VENV)/.all  ## a plan of 10,000 trials; 1,000,000 records: table, merge (14 GB)
	$(BIN)/python -m tests.benchmarks.scale

bench-executors: $(VENV)/.all  ## what a trial costs on Ray, how it scales, what a driver can take
	$(BIN)/python -m tests.benchmarks.executors

FUZZ ?= 1200
fuzz: $(VENV)/.all  ## damaged files by the thousand at the loader: FUZZ seconds, twenty minutes
	$(PIP) -e '.[fuzz]'
	$(BIN)/python -m tests.soak.fuzz --seconds $(FUZZ)

regression: $(VENV)/.all  ## is a slowdown of 20% caught, and none where there is none?
	$(BIN)/python -m tests.benchmarks.regression

soak: $(VENV)/.all  ## 200 kills at random moments: nothing lost, doubled or left; half an hour
	$(BIN)/python -m tests.soak.kill

load: $(VENV)/.all  ## 10,000 quick trials by one harness, 400 by eight: two hours on two cores
	$(BIN)/python -m tests.soak.load
	$(BIN)/python -m tests.soak.load --harnesses 8 --trials 400

lint: $(VENV)/.all  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was installed and built; records stay
	rm -rf $(VENV) build mutants .coverage* .test-often.log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

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
