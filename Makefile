# Every habit of this project is a target. `make` lists them.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
BIN := .venv/bin
# Sample data, so that the demo needs nothing but this folder.
SAMPLES := samples/chest-xray

.PHONY: help env spark demo test test-slow lint format bench bench-detection bench-translation parity clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.built: setup.py pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; call make PYTHON=/path/to/python3.11"; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	touch $@

env: .venv/.built  ## build the environment in .venv

spark: env  ## add Spark, for score --engine spark and its tests; it needs Java 17
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev,spark]'

demo: env  ## train on the shipped healthy radiographs, score others, open the page
	rm -rf demo
	$(BIN)/ganatomy fit fanogan-chest-xray --data $(SAMPLES)/train.csv \
		--validation $(SAMPLES)/validation.csv --out demo/model --experiment demo
	$(BIN)/ganatomy evaluate demo/model --data $(SAMPLES)/test.csv --out demo/test
	$(BIN)/ganatomy score demo/model $(SAMPLES)/test --out demo/scores
	$(BIN)/ganatomy report demo/test --out demo/report.html
	@echo "Open demo/report.html"
	@$(BIN)/python -m webbrowser -t "file://$(CURDIR)/demo/report.html" >/dev/null 2>&1 || true

# Two processes, which take tests from each other.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

test: env  ## run the tests
	$(PYTEST)

test-slow: env  ## run the tests that train for minutes, too
	$(PYTEST) -m 'slow or not slow'

lint: env  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: env  ## put the code into the house's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: env  ## speed beside what a user would pick instead; results in docs/benchmarks
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev,bench,spark]'
	$(BIN)/python -m benchmarks

bench-detection: env  ## every detector by one protocol; needs ../shared/data; two to three hours
	$(BIN)/python -m benchmarks.detection

bench-translation: env  ## every translation preset by one protocol; needs ../shared/data; four to five hours
	$(BIN)/python -m benchmarks.translation --anew

.venv-parity/.built: benchmarks/parity/requirements.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet -r $<
	touch $@

parity: .venv-parity/.built  ## recompute the references from tensorflow-addons
	.venv-parity/bin/python benchmarks/parity/make_references.py --out tests/data/parity

clean:  ## remove the environment and what the demo made
	rm -rf .venv .venv-parity demo runs mlruns mlartifacts mlflow.db build *.egg-info
