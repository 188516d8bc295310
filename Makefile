# Everything a developer does.  Needs GNU make and a CPython of 3.11 or newer; the rest goes into .venv.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV   ?= .venv
BIN    := $(VENV)/bin
LOOP   ?= asyncio
FUZZTIME ?= 10
PYTHON ?=
PIP     = $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
NODE_MODULES := tests/e2e/node_modules
COMPAT  := tests/e2e/.compat

.PHONY: help run test e2e differential fuzz check format bench clean

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22
	@echo
	@echo "  ARGS=...          further arguments, for all but check, format and clean; test then leaves the thresholds out"
	@echo "  FUZZTIME=60       seconds for each target of fuzz (10)"
	@echo "  LOOP=uvloop       event loop of the tests (asyncio)"
	@echo "  PYTHON=python3.13 interpreter of a new environment; with VENV=.venv-3.13 beside the usual one"

run: $(VENV)/.installed ## start ehlo: mail is caught on 127.0.0.1:8025 and shown on http://127.0.0.1:8026
	@$(BIN)/ehlo $(ARGS)

test: $(VENV)/.installed-dev ## the test suite, in parallel, with its coverage thresholds
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest --numprocesses=auto --loop=$(LOOP) --cov --cov-report= $(ARGS)
ifndef ARGS
	@$(call covered,src/ehlo/protocol/*,95)
	@$(call covered,src/ehlo/smtp.py,95)
	@$(call covered,src/ehlo/*,90)
endif

# Framing, parsing and the verbs are where an untested line is a hole; elsewhere some lines only run when
# the operating system fails.
define covered
total=$$($(BIN)/coverage report --include='$(1)' --format=total --fail-under=$(2)) && \
	echo "branch coverage of $(1): $$total %, at least $(2) wanted" || \
	{ $(BIN)/coverage report --include='$(1)' --fail-under=$(2) --show-missing --skip-covered; exit 1; }
endef

e2e: $(VENV)/.installed-dev $(NODE_MODULES)/.installed $(COMPAT)/.installed ## the tests with real clients, as far as they are installed
	@$(BIN)/python -m pytest --loop=$(LOOP) tests/e2e $(ARGS)

differential: $(VENV)/.installed-dev ## the same dialogues with aiosmtpd and Postfix: every difference must be known
	@$(BIN)/python -m pytest --loop=$(LOOP) tests/differential $(ARGS)

fuzz: $(VENV)/.installed-fuzz ## octets that nobody sends by accident, guided by what they reach
	@$(BIN)/python -m fuzz --time=$(FUZZTIME) $(ARGS)

check: $(VENV)/.installed-dev ## lint, format, types and layers
	@$(BIN)/ruff check --output-format=concise
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m pytest --quiet tests/test_layers.py

format: $(VENV)/.installed-dev ## rewrite the sources as `make check` wants them, as far as that is safe
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

# Takes half an hour, and then the page is a new one; with ARGS, such as --quick, it is shown instead.
BENCH = --markdown docs/performance.md --json docs/performance/results.json --plot docs/performance

bench: $(VENV)/.installed-dev ## measure, side by side with other servers, and write docs/performance.md
	@$(BIN)/python -m bench $(or $(ARGS),$(BENCH))

clean: ## remove .venv, caches and results
	@rm -rf .venv .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist htmlcov bench/.peers $(NODE_MODULES) $(COMPAT) tests/e2e/.exim
	@rm -f .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: an installation is repeated when pyproject.toml has changed, and not otherwise.

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	@echo "Installing ehlo and its inbox into $(VENV)"
	@$(PIP) install --editable '.[inbox]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	@echo "Installing ehlo and its development tools into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-fuzz: pyproject.toml | $(VENV)/.created
	@echo "Installing ehlo and what fuzzing needs into $(VENV)"
	@$(PIP) install --editable '.[fuzz]'
	@touch $(VENV)/.installed $@

# python3 may be too old, may be a stub that runs nothing, and on Debian may come without venv.
$(VENV)/.created:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		"$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "Creating $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv $(VENV) && touch $@; \
		exit; \
	done; \
	echo "No Python of 3.11 or newer that can create environments$(if $(PYTHON), is named $(PYTHON))." >&2; \
	echo "On Debian and Ubuntu: apt-get install python3-venv.  Elsewhere: make PYTHON=/path/to/python3.11" >&2; \
	exit 1

$(NODE_MODULES)/.installed: tests/e2e/package.json
	@if command -v npm >/dev/null; then \
		echo "Installing nodemailer into $(NODE_MODULES)"; \
		npm install --prefix tests/e2e --no-package-lock --no-audit --no-fund --loglevel=error && touch $@; \
	else \
		echo "npm is not installed: the tests with nodemailer will be skipped"; \
	fi

# Programs that are built upon aiosmtpd, with their own tests, which run with the import replaced.
$(COMPAT)/.installed: tests/e2e/compat/requirements.txt tests/e2e/compat/sources.txt | $(VENV)/.created
	@echo "Installing programs that are built upon aiosmtpd into $(COMPAT)"
	@rm -rf $(COMPAT)
	@$(BIN)/python -m venv $(COMPAT)/venv
	@$(COMPAT)/venv/bin/python -m pip --quiet --quiet --disable-pip-version-check install --requirement tests/e2e/compat/requirements.txt
	@$(PIP) download --no-deps --no-binary=:all: --dest $(COMPAT)/sources --requirement tests/e2e/compat/sources.txt
	@for archive in $(COMPAT)/sources/*.tar.gz; do tar -xzf "$$archive" -C $(COMPAT)/sources; done
	@touch $@
