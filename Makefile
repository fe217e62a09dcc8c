# make demo | test | test-slow | bench | results-esc10 | results-fsdd | lint | clean; all they need is a python3 from 3.9 to 3.12 and a package index.

PYTHON ?= python3
VENV ?= .venv
STOCK_VENV ?= .venv-stock
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_RUN := runs/demo

.PHONY: demo test test-slow bench results-esc10 results-fsdd test-unit test-stock smoke-stock lint clean

# fairseq 0.12.2 (Python 3.10 and older) needs omegaconf 2.0.6, whose metadata pip 24.1 and newer refuse
define install
	$(1) -m venv $(2)
	if $(2)/bin/python -c "import sys; sys.exit(sys.version_info >= (3, 11))"; then \
		$(2)/bin/python -m pip install -q "pip<24.1"; \
	fi
	$(2)/bin/python -m pip install -q -e ".[fairseq,test]"
	touch $(2)/.installed
endef

$(INSTALLED): setup.py
	$(call install,$(PYTHON),$(VENV))

demo: $(INSTALLED)
	$(BIN)/python manifests/build.py demo --out data/demo
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
	@echo "  picture:    $(DEMO_RUN)/reconstruction.png, a clip that was held out"
	@echo "finetuning"
	@echo "  checkpoint: $(DEMO_RUN)_finetuning/checkpoints/checkpoint_last.pt"
	@echo "  log:        $(DEMO_RUN)_finetuning/hydra_train.log"
	@echo "  scores:     $(DEMO_RUN)_finetuning/scores/scores.json"
	@echo "  picture:    $(DEMO_RUN)_finetuning/scores/confusion.png"

# By two processes, of one thread each; the files of integration tests whole, because their tests share runs
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
UNIT := $(PYTEST) tests/unit --dist worksteal

test: $(INSTALLED)
	$(UNIT)
	$(PYTEST) tests/integration --dist loadfile

# What takes minutes a test and is not part of CI
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest tests -m slow -rP --durations=0  # -rP: what they measured

# Ours beside what a user would pick instead; leave the machine alone meanwhile
bench: $(INSTALLED)
	$(BIN)/python -m pip install -q -e ".[bench]"
	$(BIN)/python -W ignore -m benchmarks

# Hours; what is done is kept, and the same command goes on. ESC10 and FSDD: where the corpora are
results-esc10 results-fsdd: results-%: $(INSTALLED)
	export PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore ESC10="$(ESC10)" FSDD="$(FSDD)"; \
		python -m experiments.run experiments/$*.yaml && python -m experiments.tables experiments/$*.yaml

test-unit: $(INSTALLED)
	$(UNIT)

# The other stack, fairseq 0.12.2 on Python 3.10, where there is such a Python
test-stock:
	@python310=$$(sh .ci/find_python310) || { echo "SKIPPED: no Python 3.10 here, stock fairseq was not tried"; exit 0; }; \
	$(MAKE) STOCK_PYTHON=$$python310 smoke-stock

$(STOCK_VENV)/.installed: setup.py
	$(call install,$(STOCK_PYTHON),$(STOCK_VENV))

smoke-stock: $(STOCK_VENV)/.installed
	OMP_NUM_THREADS=1 $(STOCK_VENV)/bin/python -m pytest -n 2 tests/integration --dist loadfile \
		-k "smoke or registers or refused or learns or resumed or averag"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) $(STOCK_VENV) data/demo $(DEMO_RUN) $(DEMO_RUN)_finetuning *.egg-info
