# make demo | quickstart | test | test-gpu | test-slow | test-stock | test-py313 | test-wheel | test-interactive | test-kits | lint | bench | gpu | results-esc10 | results-fsdd | clean
# All they need is a python3 from 3.9 to 3.12 and a package index.

comma := ,
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
STOCK_PYTHON ?= $(shell sh .ci/find_python 3.10)
STOCK_VENV ?= .venv-stock
PY313_PYTHON ?= $(shell sh .ci/find_python 3.13)
PY313_VENV ?= .venv-py313
DEMO_RUN := runs/demo
QUICKSTART := runs/quickstart

.PHONY: demo quickstart test test-unit test-gpu test-slow test-stock run-stock test-py313 run-py313 test-wheel test-interactive \
	test-kits run-kits lint bench gpu results-esc10 results-fsdd clean

# $(call install,PYTHON,VENV,EXTRAS). fairseq 0.12.2 (Python 3.10 and older) needs omegaconf 2.0.6, whose metadata pip 24.1
# and newer refuse.
define install
	$(1) -m venv $(2)
	case "$$($(2)/bin/python -V)" in \
		"Python 3.9."*) pip="pip<24.1" ;; \
		"Python 3.10."*) pip="pip<24.1"; constraints="-c constraints/stock.txt" ;; \
		*) pip=pip; constraints="-c constraints/ve-fairseq.txt" ;; \
	esac; \
	$(2)/bin/python -m pip install -q "$$pip" && \
	$(2)/bin/python -m pip install -q $$constraints -e ".[$(3)]"
	touch $(2)/.installed
endef

$(INSTALLED): setup.py maskspec_fairseq/cli/programs.py $(wildcard constraints/*.txt)
	$(call install,$(PYTHON),$(VENV),fairseq$(comma)test)

demo: $(INSTALLED)
	$(BIN)/maskspec-build demo --out data/demo
	rm -rf $(DEMO_RUN)
	PYTHONWARNINGS=ignore $(BIN)/fairseq-hydra-train --config-dir config/pretraining --config-name demo \
		task.data=data/demo hydra.run.dir=$(DEMO_RUN)
	$(BIN)/maskspec-plot-loss $(DEMO_RUN)/hydra_train.log --out $(DEMO_RUN)/loss.png
	$(BIN)/maskspec-reconstruct data/demo/audio/harmonic_tone/0038.flac --out $(DEMO_RUN)/reconstruction.png \
		--checkpoint $(DEMO_RUN)/checkpoints/checkpoint_last.pt
	rm -rf $(DEMO_RUN)_finetuning
	PYTHONWARNINGS=ignore $(BIN)/fairseq-hydra-train --config-dir config/finetuning --config-name demo \
		task.data=data/demo model.pretrained=$(DEMO_RUN)/checkpoints/checkpoint_last.pt \
		hydra.run.dir=$(DEMO_RUN)_finetuning
	$(BIN)/maskspec-evaluate --checkpoint $(DEMO_RUN)_finetuning/checkpoints/checkpoint_last.pt \
		--data data/demo --subset valid --out $(DEMO_RUN)_finetuning/scores
	@echo
	@echo "pretraining"
	@echo "  checkpoint: $(DEMO_RUN)/checkpoints/checkpoint_last.pt"
	@echo "  log:        $(DEMO_RUN)/hydra_train.log"
	@echo "  loss curve: $(DEMO_RUN)/loss.png"
	@echo "  picture:    $(DEMO_RUN)/reconstruction.png, of a held-out clip"
	@echo "finetuning"
	@echo "  checkpoint: $(DEMO_RUN)_finetuning/checkpoints/checkpoint_last.pt"
	@echo "  log:        $(DEMO_RUN)_finetuning/hydra_train.log"
	@echo "  scores:     $(DEMO_RUN)_finetuning/scores/scores.json"
	@echo "  picture:    $(DEMO_RUN)_finetuning/scores/confusion.png"

# The weights that come with the package, finetuned on ten labelled clips of each of the demo's kinds of sound, next to
# random weights by the same recipe; the other 30 clips of each kind are held out
quickstart: $(INSTALLED)
	$(BIN)/maskspec-build demo --out data/quickstart_sounds
	rm -rf $(QUICKSTART)
	$(BIN)/maskspec-embed data/quickstart_sounds/audio/harmonic_tone/0038.flac --checkpoint maskspec_tiny_free \
		--out $(QUICKSTART)/embedding.npz
	$(BIN)/maskspec-build folder data/quickstart_sounds/audio --labels-from-parent --valid-fraction 0.75 \
		--out data/quickstart
	for start in maskspec_tiny_free ""; do \
		run=$(QUICKSTART)/$${start:-random_weights}; \
		PYTHONWARNINGS=ignore $(BIN)/fairseq-hydra-train --config-dir config/finetuning --config-name folder \
			task.data=data/quickstart model.pretrained=$$start task.clip_sec=2 task.roll_sec=1 \
			optimization.max_epoch=20 dataset.validate_interval=20 hydra.run.dir=$$run && \
		$(BIN)/maskspec-evaluate --checkpoint $$run/checkpoints/checkpoint_last.pt --data data/quickstart \
			--subset valid --out $$run/scores || exit 1; \
	done
	@echo
	@for start in maskspec_tiny_free random_weights; do \
		$(BIN)/python -c "import json, sys; print(sys.argv[1] + ':', json.load(open(sys.argv[2]))['scores']['accuracy'])" \
			$$start $(QUICKSTART)/$$start/scores/scores.json; \
	done

# Two processes with one thread each; a file of integration tests stays in one process, because its tests share runs.
# Compiled modules are kept: many tests start programs of the package.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
UNIT := $(PYTEST) tests/unit --dist worksteal

test: $(INSTALLED)
	$(UNIT)
	$(PYTEST) tests/integration --dist loadfile

test-unit: $(INSTALLED)
	$(UNIT)

# What takes minutes per test and is not part of CI
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest tests -m slow -rsP --durations=0  # P: what they measured

# What `make gpu` tests, on a CPU at small sizes, its benchmarks, and compiled models
test-gpu: $(INSTALLED)
	$(PYTEST) tests/gpu tests/unit -m "gpu and not slow" --dist loadfile --device cpu

# The other stack, fairseq 0.12.2, on Python 3.10
test-stock:
	@if [ -n "$(STOCK_PYTHON)" ]; then $(MAKE) run-stock; \
	else echo "SKIPPED: no Python 3.10 here, fairseq 0.12.2 was not tested"; fi

$(STOCK_VENV)/.installed: setup.py maskspec_fairseq/cli/programs.py constraints/stock.txt
	$(call install,$(STOCK_PYTHON),$(STOCK_VENV),fairseq$(comma)test)

run-stock: $(STOCK_VENV)/.installed
	OMP_NUM_THREADS=1 $(STOCK_VENV)/bin/python -m pytest -n 2 tests --dist loadfile -m "stock and not slow"

# Everything that works without fairseq, on a Python that has no fairseq
test-py313:
	@if [ -n "$(PY313_PYTHON)" ]; then $(MAKE) run-py313; \
	else echo "SKIPPED: no Python 3.13 here, the use without fairseq was not tested on it"; fi

$(PY313_VENV)/.installed: setup.py maskspec_fairseq/cli/programs.py constraints/ve-fairseq.txt
	$(call install,$(PY313_PYTHON),$(PY313_VENV),test)

run-py313: $(PY313_VENV)/.installed
	OMP_NUM_THREADS=1 $(PY313_VENV)/bin/python -m pytest -n 2 tests/unit --dist worksteal

# The wheel in an empty environment, outside the checkout
test-wheel: $(INSTALLED)
	$(BIN)/python -m pytest tests/packaging -m wheel

# maskspec-page in a real browser, where there is one, and the notebook from its first cell to its last
test-interactive: $(INSTALLED)
	$(PYTEST) tests/unit/page tests/integration/test_notebook.py --dist loadfile -m slow

# The evaluation kits X-ARES, heareval and s3prl, end to end on a CPU. They need versions of their own, in an environment of
# 8 GB, and so are not part of CI. FSDD: where the recordings are; CHECKPOINT: a model to score next to random weights
KITS_PYTHON ?= $(shell sh .ci/find_python 3.11)
KITS_VENV ?= .venv-kits

test-kits:
	@if [ -n "$(KITS_PYTHON)" ]; then $(MAKE) run-kits; \
	else echo "SKIPPED: no Python 3.11 here, the evaluation kits were not run"; fi

# heareval without what it asks for: numpy 1.19.2 and numba 0.48 have no wheels for Python 3.9 and newer
$(KITS_VENV)/.installed: setup.py constraints/kits.txt
	$(KITS_PYTHON) -m venv $(KITS_VENV)
	$(KITS_VENV)/bin/python -m pip install -q -c constraints/kits.txt -e . pytest "setuptools<81" xares s3prl \
		click dcase-util editdistance intervaltree more-itertools pandas pynvml pytorch-lightning python-slugify \
		sed-eval tensorflow-cpu torchinfo
	$(KITS_VENV)/bin/python -m pip install -q -c constraints/kits.txt --no-deps heareval
	echo "from maskspec_fairseq.integrations.s3prl.hubconf import *" >> $(KITS_VENV)/lib/python3.11/site-packages/s3prl/hub.py
	touch $@

run-kits: $(KITS_VENV)/.installed
	FSDD="$(FSDD)" CHECKPOINT="$(CHECKPOINT)" $(KITS_VENV)/bin/python -m pytest tests/kits -rsP --durations=0

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# This package compared with what a user would pick instead; leave the machine alone meanwhile
bench: $(INSTALLED)
	$(BIN)/python -m pip install -q -e ".[bench]"
	$(BIN)/python -W ignore -m benchmarks

# What needs a GPU: its tests and benchmarks, written to results/gpu.md, in under 8 minutes. It runs with the torch that
# the machine has, and makes no environment: docs/gpu.md
GPU_PYTHON ?= $(if $(wildcard $(INSTALLED)),$(BIN)/python,$(PYTHON))

gpu:
	$(GPU_PYTHON) -W ignore -m benchmarks.gpu

# Hours; finished experiments are kept, and the same command resumes. ESC10 and FSDD: where the corpora are
results-esc10 results-fsdd: results-%: $(INSTALLED)
	export PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore ESC10="$(ESC10)" FSDD="$(FSDD)"; \
		python -m experiments.run experiments/$*.yaml && python -m experiments.tables experiments/$*.yaml

clean:
	rm -rf $(VENV) $(STOCK_VENV) $(PY313_VENV) $(KITS_VENV) data/demo data/quickstart data/quickstart_sounds \
		$(DEMO_RUN) $(DEMO_RUN)_finetuning $(QUICKSTART) build *.egg-info
