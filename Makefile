# `make demo` and `make test` set up everything they need in .venv; the second time they start at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BROWSER := $(VENV)/.browser

.PHONY: demo docs test test-slow test-lowest gpu-check fuzz mutation model lint clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[test]' -c constraints.txt
	touch $(STAMP)

$(BROWSER): $(STAMP) tests/install_browser.sh
	sh tests/install_browser.sh
	touch $(BROWSER)

demo: $(STAMP)
	$(BIN)/lesionloss bench quickstart --out demo/quickstart
	$(BIN)/lesionloss compare demo/quickstart --metric dice
	$(BIN)/lesionloss report demo/quickstart

# The documentation, with all links checked; open site/index.html. It needs no network once it is installed.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

test: $(BROWSER) lint
	$(BIN)/python -m pytest -n 2 -rs

test-slow: $(BROWSER)
	$(BIN)/python -m pytest -n 2 -rs -m slow

# On a machine with a GPU, and a build of torch with CUDA in PYTHON: the tests of tests/gpu/on_device on the GPU, and
# the tables of benchmarks/gpu.py. Everything else comes into that Python with: pip install -e '.[test]'
gpu-check:
	$(PYTHON) -c "import torch; assert torch.cuda.is_available(), 'torch finds no GPU'"
	LESIONLOSS_TEST_GPU=real PYTHONPATH=tests/support $(PYTHON) -m pytest -rs -m "slow or not slow" tests/gpu/on_device
	$(PYTHON) benchmarks/gpu.py

# Damaged files of all kinds for every reader; `make fuzz MINUTES=5 SEED=2`. Files that fail are kept in fuzz-failures/.
MINUTES ?= 30
SEED ?= 1
fuzz: $(STAMP)
	$(BIN)/python tests/support/fuzz.py --minutes $(MINUTES) --seed $(SEED) --out fuzz-failures

# In an environment of its own, with the lowest versions that pyproject.toml allows.
test-lowest:
	$(PYTHON) tests/package/lowest_versions.py .venv-lowest

# Small faults in the modules that decide numbers: tests/mutation/run.py --help.
mutation: $(STAMP)
	$(BIN)/python tests/mutation/run.py

# The shipped model again, with equal bits on one machine: 20 minutes of one quiet core. With LIT=FOLDER it is scored on real patients.
model: $(STAMP)
	$(BIN)/python benchmarks/transfer.py --out model $(if $(LIT),--real lit:$(LIT) --target positive_change)

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks examples website
	$(BIN)/ruff format --check src tests benchmarks examples website
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .venv-lowest demo site .*_cache .hypothesis fuzz-failures
