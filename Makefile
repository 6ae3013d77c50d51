# Everything a person or CI does with this repository. `make help` lists it.
#
# `make demo` and `make test` do all their set-up themselves: the virtual environment, and (as root on Debian) the
# system's packages.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.made
# Processes for the tests. Most of an interop test is waiting: with 4 of them, two cores have idle time left.
JOBS ?= 2
LABS ?= 5
# It watches how traffic flows, and wants the machine for itself.
MEASURING := interop/test_throughput.py
# What the demo is started with: make demo ARGS="--keep"
ARGS ?=
# Where make view-test puts pictures; nowhere if it is empty.
IMAGES ?=
# Hundreds of short-lived programs are started here: without compiled modules on disk, each would compile all of them,
# which is two fifths of a daemon's start.
unexport PYTHONDONTWRITEBYTECODE
# The two pytest runs leave their lists of skipped tests here; printed at the end.
export PYTINC_TEST_REPORT := $(CURDIR)/.pytest_cache/skipped.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint types unit coverage interop measuring waiting control ansible view-test howto containers docs docs-test bench bench-failover fuzz fuzz-c dist deb rpm deb-test release report clean

help:
	@echo "make demo     a network of five nodes on this machine, shown live (ARGS=--keep leaves it up, ARGS=--view shows it in a browser)"
	@echo "make test     everything: lint, types, unit, simulation and interop tests"
	@echo "make lint     ruff and mypy          make unit     unit and simulation tests, coverage first"
	@echo "make coverage every line and branch of wire, crypto and protocol is reached by their tests"
	@echo "make interop  against the real tincd make control  the same with C nodes only (checks the lab itself)"
	@echo "make ansible  the Ansible collection typed at hosts with sshd, and its lint"
	@echo "make view-test  the page of pytinc view in Chromium (IMAGES=docs/images makes its pictures anew)"
	@echo "make howto    the how-to typed into hosts, C and pytinc in every role (ARGS=\"--backend docker\")"
	@echo "make docs     the documents as a site in build/site, its links checked"
	@echo "make docs-test  the commands in the documents typed into fresh hosts, the long ones as well"
	@echo "make bench    the benchmarks, other VPNs beside (ARGS=--quick; docs/performance.md)"
	@echo "make bench-failover  the time without a virtual address, for each fault (ARGS=--quick)"
	@echo "make fuzz     inputs guided by coverage for all that reads bytes from outside (docs/fuzzing.md)"
	@echo "make fuzz-c   the same hostile bytes to tincd and pytincd, and the answers compared"
	@echo "make dist     the wheel and the source distribution in dist/, checked"
	@echo "make deb rpm  packages with all libraries, in dist/ (docs/packages.md)"
	@echo "make deb-test the Debian package installed, upgraded and removed on hosts with systemd"
	@echo "make release VERSION=X  all files of a release from a clean commit (tools/release.py)"
	@echo "make venv     the virtual environment in $(VENV)"

venv: $(STAMP)
	@:

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "pytinc needs Python 3.11 or newer; choose one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh interop/setup.sh python3-venv
	@echo "making $(VENV) ..."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(PY) -m pip install --quiet --disable-pip-version-check --group dev --editable '.[fast]'
	@touch $@

demo: $(STAMP)
	@sh interop/setup.sh demo
	@$(PY) -m pytinc.lab.demo $(ARGS)

test: $(STAMP)
	@rm -f $(PYTINC_TEST_REPORT)
	@sh interop/setup.sh test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory measuring
	@$(MAKE) --no-print-directory -j2 unit waiting UNIT_NICE="nice -n 10"
	@$(MAKE) --no-print-directory report

lint: $(STAMP) types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# One run cannot take two modules of one name, and each of the three has its conftest.
types: $(STAMP)
	$(VENV)/bin/mypy --strict
	$(VENV)/bin/mypy --strict interop
	$(VENV)/bin/mypy --strict conftest.py

unit: $(STAMP) coverage
	$(UNIT_NICE) $(PY) -m pytest -n $(JOBS) --dist worksteal tests

# Without what hypothesis makes up: the same examples in every run, and a few seconds.
coverage: $(STAMP)
	$(UNIT_NICE) $(PY) -m pytest -q --cov -m "not hypothesis" tests/wire tests/crypto tests/protocol

interop:
	@$(MAKE) --no-print-directory measuring
	@$(MAKE) --no-print-directory waiting

measuring: $(STAMP)
	@sh interop/setup.sh test
	@rm -f interop/results/*.md
	$(PY) -m pytinc.lab $(PY) -m pytest $(MEASURING)

# `make test` runs them beside the unit tests, which compute while these wait.
waiting: $(STAMP) containers
	@sh interop/setup.sh test
	$(PY) -m pytinc.lab $(PY) -m pytest -n $(LABS) --dist loadfile --no-loadscope-reorder interop $(addprefix --ignore=,$(MEASURING))

control: $(STAMP)
	@sh interop/setup.sh test
	$(PY) -m pytinc.lab $(PY) -m pytest interop --control

# The Ansible collection, over sshd, on hosts with a Debian each: minutes, so it is no part of `make test`. The last module
# counts lost pings, and has the machine for itself.
ansible: $(STAMP)
	@sh interop/setup.sh test
	@sh interop/setup.sh fleet
	@$(PY) -c 'import ansible, ansiblelint' 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --group ansible
	cd ansible && $(abspath $(VENV))/bin/yamllint --strict . && $(abspath $(VENV))/bin/ansible-lint --offline
	@rm -f interop/results/ansible-*.md
	PYTINC_INTEROP_ANSIBLE=1 $(PY) -m pytinc.lab $(PY) -m pytest -n 2 --dist loadfile interop/test_ansible.py interop/test_ansible_hosts.py
	PYTINC_INTEROP_ANSIBLE=1 $(PY) -m pytinc.lab $(PY) -m pytest interop/test_ansible_swap.py
	@cat interop/results/ansible-*.md

# The page in a browser: a minute or two alone, and the browser wants the machine for itself.
view-test: $(STAMP)
	@sh interop/setup.sh test
	@sh interop/setup.sh view
	@$(PY) -c 'import selenium' 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --group view
	PYTINC_INTEROP_VIEW=1 PYTINC_INTEROP_VIEW_IMAGES=$(if $(IMAGES),$(abspath $(IMAGES))) \
	    $(PY) -m pytinc.lab $(PY) -m pytest -s interop/test_view.py interop/test_monitoring.py

howto: $(STAMP) containers
	@sh interop/setup.sh test
	@cd interop && $(abspath $(PY)) -m pytinc.lab $(abspath $(PY)) -m howto $(ARGS)

# Docker is installed only when somebody asks for it; without an engine those tests are skipped.
containers:
	@test -z "$$PYTINC_INTEROP_DOCKER" || sh interop/setup.sh containers \
	    || echo "setup: no Docker: the tests that need it will be skipped" >&2

# --strict: a link to a page or section that does not exist ends the build.
docs: $(STAMP)
	@$(PY) -c 'import material' 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --group docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "built build/site/index.html"

docs-test: $(STAMP)
	@sh interop/setup.sh test
	@command -v keepalived >/dev/null || sh interop/setup.sh keepalived \
	    || echo "setup: no keepalived: the page about it will be skipped" >&2
	@sh interop/setup.sh containers || echo "setup: no Docker: the page about containers will be skipped" >&2
	PYTINC_DOCUMENTS=all $(PY) -m pytinc.lab $(PY) -m pytest -q interop/test_typed.py
	PYTINC_DOCUMENTS=all $(PY) -m pytinc.lab $(PY) -m pytest -q interop/test_containers.py -k page

bench: $(STAMP)
	@sh interop/setup.sh bench
	@$(PY) -c 'import matplotlib' 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --group bench \
	    || echo "no matplotlib: the comparison will have no plot" >&2
	@set -e; for script in graph micro_sptps micro_offload micro_runs path; do echo "== $$script"; $(PY) "benchmarks/$$script.py"; done
	@echo "== pairs"; $(PY) benchmarks/pairs.py $(ARGS)

# Half an hour of its own: how long a client is without its virtual address.
bench-failover: $(STAMP)
	@sh interop/setup.sh bench
	$(PY) benchmarks/failover.py $(ARGS)

# tests/fuzz; the smoke run of the same targets is a part of `make unit` and needs no atheris.
fuzz: $(STAMP)
	@$(PY) -c 'import atheris' 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --group fuzz \
	    || echo "fuzz: atheris is not to be had for this Python" >&2
	@PYTHONPATH=tests $(PY) -m fuzz.run $(ARGS)

fuzz-c: $(STAMP)
	@sh interop/setup.sh test
	@PYTHONPATH=tests $(PY) -m pytinc.lab $(abspath $(PY)) interop/fuzz_stand.py $(ARGS)

dist: $(STAMP)
	@$(PY) -c 'import build, check_wheel_contents, twine' 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --group dist
	@rm -rf dist
	$(PY) -m build
	$(VENV)/bin/twine check --strict dist/*
	$(VENV)/bin/check-wheel-contents dist/*.whl

# With PYTHON=python3.13 for a system with that version; ARGS="--architecture arm64 --revision 2".
deb rpm: $(STAMP) packers
	$(PY) tools/package.py $@ $(ARGS)

.PHONY: packers
packers: $(STAMP)
	@$(PY) -c 'import cyclonedx_py, piplicenses' 2>/dev/null \
	    || $(PY) -m pip install --quiet --disable-pip-version-check --group dist

# Two packages made, and a Debian with systemd: minutes, so it is no part of `make test`.
deb-test: $(STAMP) packers
	@sh interop/setup.sh test
	@sh interop/setup.sh fleet
	@sh interop/setup.sh packages
	PYTINC_INTEROP_DEB=1 $(PY) -m pytinc.lab $(PY) -m pytest interop/test_deb.py interop/test_release.py

release: $(STAMP) packers
	$(PY) tools/release.py $(VERSION) $(ARGS)

report:
	@cat interop/results/*.md 2>/dev/null || true
	@cat $(PYTINC_TEST_REPORT)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz .coverage build dist
