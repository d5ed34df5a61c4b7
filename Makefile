# `make demo` runs the main job, `make test` the tests. Each makes .venv from exact versions first; the second time it is there.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PARALLEL := -n auto --maxprocesses 4 --dist worksteal  # a process needs up to 3 GB of memory
NEUTRAL := $(addprefix tests/test_,models.py compiled.py training.py tasks.py language.py wgan.py depths.py) $(wildcard tests/test_trick*.py)

.PHONY: demo test lint backends test-backends hub-live registry clean

demo: .venv/ready
	$(BIN)/python -m zoo.demo

test: .venv/ready
	$(BIN)/python -m pytest $(PARALLEL)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# JAX and PyTorch beside TensorFlow, then the backend-neutral tests on each. PyTorch gets one thread: with more, these
# small models spend minutes waiting for each other on a busy machine.
backends: .venv/backends

test-backends: .venv/backends
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) $(NEUTRAL)
	OMP_NUM_THREADS=1 KERAS_BACKEND=torch $(BIN)/python -m pytest $(PARALLEL) $(NEUTRAL)

# Pushes, pulls, verifies and deletes on the real Hugging Face Hub: needs HF_TOKEN, or `hf auth login`, with the right to write.
hub-live: .venv/ready
	$(BIN)/python tests/hub_live.py

# Rewrites what follows from the code: registry.json and the tables of the README.
registry: .venv/ready
	$(BIN)/python -m zoo.indexing

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "zoo needs Python 3.11 or newer, and $(PYTHON) is older. Try: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into .venv (once; about 2 GB, a minute or two)"
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/backends: .venv/ready requirements-backends.lock
	$(PIP) -r requirements-backends.lock
	@touch $@

clean:
	rm -rf .venv runs demo
