# `make demo` and `make test` make their own virtual environment the first time.
PYTHON ?= python3
BIN = .venv/bin
LATEST = .venv-latest/bin
# two notebooks or tests at a time, a thread for each: with more threads than cores they hold each other up
ONE = OMP_NUM_THREADS=1
.PHONY: demo test test-latest bench export docs clean

demo: .venv/.done
	$(BIN)/ulmfit demo

test: .venv/.done
	$(BIN)/python scripts/unchanged.py nbs ulmfit_ext -- $(BIN)/nbdev_clean
	$(BIN)/python scripts/unchanged.py nbs ulmfit_ext -- $(BIN)/nbdev_export
	$(BIN)/python scripts/unchanged.py README.md -- $(BIN)/python scripts/readme.py
	$(ONE) $(BIN)/nbdev_test --n_workers 2 --timing
	$(ONE) $(BIN)/pytest -n 2

# the newest releases; nbdev 3 runs the notebooks, but exports with nbdev 2 only
test-latest: .venv-latest/.done
	$(ONE) $(LATEST)/nbdev-test --n-workers 2 --timing
	$(ONE) $(LATEST)/pytest -n 2

# real text in the folder $$ULMFIT_DATA; the tables go to nbs/results
bench: .venv/.done
	for b in tokenizing data_work loader lm_training classifier_training inference scaling matrix_rate; do $(BIN)/python benchmarks/$$b.py || exit 1; done
	$(BIN)/python benchmarks/table.py
	$(BIN)/python scripts/readme.py

# after an edit in nbs/
export: .venv/.done
	$(BIN)/nbdev_clean
	$(BIN)/nbdev_export
	$(BIN)/python scripts/readme.py

# the site as plain HTML in _docs, to look at offline
docs: .venv/.done
	$(BIN)/python -m pip install --quiet --constraint constraints/dev.txt --editable '.[docs]'
	$(BIN)/python scripts/docs.py

.venv/.done: settings.ini setup.py constraints/dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints/dev.txt --editable '.[dev]'
	touch $@

.venv-latest/.done: settings.ini setup.py constraints/latest.txt
	$(PYTHON) -m venv .venv-latest
	$(LATEST)/python -m pip install --quiet --constraint constraints/latest.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-latest demo build dist _docs *.egg-info
