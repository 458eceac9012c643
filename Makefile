# make demo: the whole path on an embedded cohort.   make test: lint, types, tests.
.PHONY: demo test test-long lint setup lock audit-deps sbom clean

UV_VERSION := 0.13.9
UV ?= .tools/bin/uv
RUN := $(UV) run --frozen --no-sync
DEMO ?= demo-cohort
# Bytecode is kept even where the environment forbids it: hundreds of commands are started, each with torch to import.
export PYTHONDONTWRITEBYTECODE :=

setup: .venv/.synced

.tools/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --target .tools "uv==$(UV_VERSION)"

# uv completes uv.lock on first use; skip-worktree keeps the completed file out of commits (see CONTRIBUTING.md).
.venv/.synced: pyproject.toml packages/mirror-data/pyproject.toml packages/mirror-model/pyproject.toml packages/mirror-eval/pyproject.toml | $(filter .tools/bin/uv,$(UV))
	git update-index --skip-worktree uv.lock 2>/dev/null || true
	$(UV) sync --quiet
	touch .venv/.synced

demo: setup
	$(RUN) tools/demo.sh $(DEMO)

lint: setup
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) pyrefly check

# Two tests side by side with a thread each: on two cores, threads of both would wait for one another.
test: lint
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) pytest -n 2 --dist worksteal

test-long: lint
	$(RUN) pytest -m long

lock: $(filter .tools/bin/uv,$(UV))
	git update-index --no-skip-worktree uv.lock 2>/dev/null || true
	python3 tools/lock.py $(UV)

# Looks the pins up among the known vulnerabilities; says so, with status 69, where it cannot.
audit-deps: $(filter .tools/bin/uv,$(UV))
	python3 tools/audit.py $(UV)

sbom: setup
	$(RUN) python tools/sbom.py $(UV) sbom.json

clean:
	rm -rf .venv .tools .cache demo-cohort .pytest_cache .ruff_cache .hypothesis
