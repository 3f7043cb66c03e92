# make demo   environment, pinned install, a model of the digits (three minutes of training, one seed)
# make test   environment, pinned install, linters, types, the whole suite
# make faults    the long form of tests/faults: kills, interrupts, power cuts, full disks, races
# make lowest   the fast tests and a training with the lowest versions that pyproject.toml allows
# make docs      the documentation as a site, in the folder site
# make notebooks   runs the notebooks of docs/notebooks, and writes their outputs into them
# make release   the wheel, built, installed into an empty environment, and tried there
# make evidence   every published table, by the scripts of runs/, one after the other (some hours)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test lowest mutants faults docs notebooks release evidence lint types format clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/noneq train digits --out runs/digits --overwrite

test: $(VENV)/.installed lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

# what meets each dependency: numpy and pyarrow, scikit-learn, safetensors, matplotlib, filelock,
# tyro with docstring-parser, rich, plotly and jinja2
MEETING := test_layers data/test_data data/test_readers data/test_frames data/test_dataset \
	data/test_repeats estimators/test_estimators run/test_checkpoint report/test_figures run/test_lock \
	run/test_recipe cli/test_names report/test_html
LOW := .venv-lowest

$(LOW)/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOW)
	$(LOW)/bin/python -m pip install -q -c constraints-lowest.txt -e '.[test,hub]'
	@touch $@

# old releases warn of themselves: warnings are no errors here
lowest: $(LOW)/.installed
	OMP_NUM_THREADS=1 $(LOW)/bin/python -m pytest -n 2 -o filterwarnings=default --disable-warnings \
		$(MEETING:%=tests/%.py) tests/cli/test_cli.py -k 'not test_cli or help or option or asked'
	$(LOW)/bin/noneq train digits --out $(LOW)/digits --overwrite --iterations 4 --walkers 64 \
		--held-out 16 --renew 3 --temperatures 20 --width 32 --bracket.walkers 64 \
		--bracket.temperatures 40 --bracket.equilibrate 40

mutants: $(VENV)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m mutants

faults: $(VENV)/.installed
	NONEQ_FAULTS=long OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -v tests/faults

docs: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python docs/execute_notebooks.py

FRESH := .venv-release
release: $(VENV)/.installed
	rm -rf dist $(FRESH)
	$(BIN)/python -m pip install -q -c constraints.txt build hatchling
	$(BIN)/python -m build -q --no-isolation
	$(PYTHON) -m venv $(FRESH)
	$(FRESH)/bin/python -m pip install -q -c constraints.txt dist/noneq-*.whl
	cd $(FRESH) && bin/noneq --version && bin/noneq train digits --out digits --iterations 6 --walkers 64 \
		--held-out 16 --score-matching 4 --width 32 --bracket.walkers 64 --bracket.temperatures 40 \
		--bracket.equilibrate 40 && bin/noneq report digits && bin/noneq sample digits -n 16 --out s.npz

# every published table, one script each; what needs a file of data asks for MNIST=... and DNA=...
evidence: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[audit,peers,rbm,dna,flows]'
	set -e; for script in runs/*.sh; do echo "== $$script"; PYTHON=$(BIN)/python bash $$script; done

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(LOW) $(FRESH) dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
