# One command each: demo, test, lint, fix, wheel, docs. They make .venv and install what they need, once.
# Another Python: make PYTHON=python3.12 demo. Another place: make VENV=/somewhere demo.

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
RECENT := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(or $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) $(RECENT) 2>/dev/null && echo $(p)))),python3)
VENV ?= .venv
BIN := $(VENV)/bin
REPORT ?= privaudit-report
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

DATA ?= ../shared/data
ZOO ?= build/zoo

.PHONY: demo test lint fix wheel docs zoo-small clean

# The demo model leaks by design: a critical verdict is what is expected of it, and no failure of this command.
demo: $(VENV)/.installed
	$(BIN)/privaudit demo --output $(REPORT) --fail-on never

test: $(VENV)/.developed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/.developed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fix: $(VENV)/.developed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

wheel: $(VENV)/.developed
	rm -rf dist
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# The documentation as a site, in build/site.
docs: $(VENV)/.developed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Trains and audits a part of the zoo, within 15 minutes on two cores; fails on a false alarm or a missed leak.
# The data sets are not in the repository: make zoo-small DATA=/somewhere. Victims and audits are kept in ZOO.
zoo-small: $(VENV)/.developed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/zoo.py --data $(DATA) --cache $(ZOO) --small

clean:
	rm -rf $(VENV) dist build $(REPORT)

$(VENV)/.created:
	@$(PYTHON) $(RECENT) || { echo "privaudit needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch first and alone, at the tested version: later installs then find it in place.
$(VENV)/.torch: constraints.txt | $(VENV)/.created
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	$(PIP) --editable .
	@touch $@

# Both declare torchvision, whose wheel would not match this torch: onnx2torch does not need it, tests stub it for timm.
$(VENV)/.developed: pyproject.toml tests/browser/package-lock.json $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps onnx2torch timm
	if command -v npm >/dev/null; then npm ci --silent --prefix tests/browser; else echo "no npm: axe-core is skipped"; fi
	@touch $@ $(VENV)/.installed
