# `make demo` for users, `make test` (and `make slow`) for those who change the code.
PYTHON ?= python3
TORCH ?= torch==2.13.0

.PHONY: demo test lint types contracts unit slow wheel oldest sbom audit clean

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

# What is given away: built, checked, installed from the wheel into an empty environment, and run.
wheel: .venv-tools/.installed
	rm -rf dist .venv-wheel
	.venv-tools/bin/pyproject-build
	.venv-tools/bin/twine check --strict dist/*
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/pip install --quiet --disable-pip-version-check dist/*.whl
	.venv-wheel/bin/pip check
	cd dist && ../.venv-wheel/bin/sparnet upscale ../examples/face16.png -o out --compare
	.venv-wheel/bin/sparnet models verify

# The oldest versions that pyproject.toml allows: they install together, and the runtime half works on them.
oldest:
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) scripts/oldest.py > .venv-oldest/oldest.txt
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check -r .venv-oldest/oldest.txt
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check --no-deps .
	.venv-oldest/bin/pip check
	for turn in compiled cached; do XDG_CACHE_HOME=$$PWD/.venv-oldest/cache \
		.venv-oldest/bin/sparnet upscale examples/face16.png -o .venv-oldest/$$turn --compare || exit 1; done
	cmp .venv-oldest/compiled/face16.png .venv-oldest/cached/face16.png
	.venv-oldest/bin/sparnet attention examples/face16.png -o .venv-oldest/out
	.venv-oldest/bin/sparnet models verify

# What a user gets, as CycloneDX tells it; and whether any of it is known to be unsafe.
sbom: wheel
	.venv-tools/bin/cyclonedx-py environment --output-format JSON -o dist/sbom.json .venv-wheel/bin/python

audit: wheel
	-.venv-tools/bin/pip-audit --format json --output dist/audit.json \
		--path $$(.venv-wheel/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	$(PYTHON) scripts/audited.py dist/audit.json

.venv-tools/.installed:
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/pip install --quiet --disable-pip-version-check build twine cyclonedx-bom pip-audit
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-tools .venv-wheel .venv-oldest demo build dist
