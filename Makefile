# `make up` is all that a new clone needs. Paths are relative, so that a clone may live in a folder with spaces.

# Recipes are plain commands without a shell between make and Python, so that a SIGTERM to make reaches Python.
BOOTSTRAP = $(or $(shell command -v python3 || command -v python3.11 || command -v python3.12 || command -v python3.13),\
	$(error Python 3.11 or newer is needed; on Debian or Ubuntu: apt install python3 python3-venv)) bootstrap.py
PYTHON = .venv/bin/python
APPLICATION = bootstrap.py manage.py config kb labs quiz worker bench scripts
CODE = $(APPLICATION) tests

.PHONY: setup up test bench lint fmt

setup:
	@$(BOOTSTRAP)
	@$(PYTHON) manage.py prepare

up:
	@$(BOOTSTRAP)
	@$(PYTHON) manage.py up $(ARGS)

# Two processes with one torch thread each take 0.4 of the time of two that share both cores. The faults run on both
# stacks side by side, because most of the time they wait; nothing that computes runs beside them.
test:
	@$(BOOTSTRAP) --dev
	@$(PYTHON) -m worker.models prepare smollm2-135m minilm-l6
ifdef ARGS
	$(PYTHON) -m pytest $(ARGS)
else
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m "not slow" -n 2 --dist loadfile
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest tests/faults -n 2 --dist loadgroup
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m slow -n 2 --dist loadgroup --ignore tests/faults
endif

bench:
	@$(BOOTSTRAP)
	$(PYTHON) -m bench $(ARGS)

lint:
	@$(BOOTSTRAP) --dev
	$(PYTHON) -m ruff check $(CODE)
	$(PYTHON) -m ruff format --check $(CODE)
	$(PYTHON) -m mypy $(APPLICATION)
	$(PYTHON) -m djlint --lint templates

fmt:
	@$(BOOTSTRAP) --dev
	$(PYTHON) -m ruff check --fix $(CODE)
	$(PYTHON) -m ruff format $(CODE)
	$(PYTHON) -m djlint --reformat --quiet templates
