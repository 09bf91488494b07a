# Two commands: `make demo` for users, `make test` for those who change the code.
PYTHON ?= python3
TORCH ?= torch==2.13.0

.PHONY: demo test lint types contracts unit slow clean

demo: .venv-demo/.installed
	.venv-demo/bin/sparnet upscale examples/face16.png -o demo --compare
	@echo "Open demo/face16_compare.png: the tiny face, plain bicubic enlargement, and sparnet's."

.venv-demo/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install --quiet --disable-pip-version-check .
	touch $@

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

test: lint types contracts unit

lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/.installed
	.venv/bin/mypy

contracts: .venv/.installed
	.venv/bin/lint-imports

unit: .venv/.installed
	.venv/bin/pytest -n 2

slow: .venv/.installed
	.venv/bin/pytest -m slow

clean:
	rm -rf .venv .venv-demo demo build dist
