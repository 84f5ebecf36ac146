# ovpnha: `make` lists what there is. Everything made lies in build/ and .venv/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
OPENVPN := openvpn-patches/build.sh
SCRIPTS := .ci/run .ci/fresh $(OPENVPN) tests/lab/dco/init.sh tests/lab/ucarp.sh tests/lab/pacemaker.sh tests/lab/unpack.sh tests/lab/pacemaker-node tests/hosts/tree.sh $(wildcard tests/packages/*.sh) $(shell grep -rlE '^.!.*\b(ba)?sh$$' deploy)
PYTEST := $(BIN)/python -m pytest --fail-on-skip
# They go through so many states that to note each line takes several times as long, and find no
# line that others do not.
SEARCHES := tests/simulation tests/proof $(addprefix tests/unit/, node/test_early.py \
	node/test_schedules.py replication/test_early.py replication/test_loss.py)
# The pure packages decide everything; every branch of them is tested.
PURE := errors model problems checks management replication firewall node setup doctor
# Side by side: what waits for networks and timers, and, more patiently, what only computes.
LANES := integration/1:2,integration-asan integration/2:2,scenarios-quick \
	nice:lint,types,unit-covered nice:fuzz,c-test,openvpn-check,c-fuzz,unit-searches,sim
# Of long matrices some rows, drawn by the commit and printed (tests/sampling.py). WHOLE=1: all.
WHOLE :=
sample = $(if $(WHOLE)$(1),,--sample$(addprefix =,$(2)))
RELEASE := bookworm
SECONDS := 20
CLIENTS := 10000
comma := ,
empty :=
PURE_FILES := $(subst $(empty) $(empty),$(comma),$(foreach p,$(PURE),ovpnha/$(p).py ovpnha/$(p)/*))

.PHONY: help lab test lint format types unit unit-covered unit-searches sim sim-bounces proof hunt mutants fuzz c-test c-fuzz openvpn-check integration \
	integration-asan faults whole fresh scenarios scenarios-quick split-brain renegotiation restart nat compose-demo test-compose test-dco test-hosts test-hosts-packages binary ucarp pacemaker deb packages test-packages dist test-dist steps bench bootstrap venv lock root clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

lab: bootstrap venv binary ## install what is missing, build, and let a client survive its server; NODES=
	@$(BIN)/python -m tests.lab $(addprefix --nodes=,$(NODES))

test: root bootstrap venv ## everything that must pass, side by side; build/ci has what each part says
	@python3 tests/lanes.py $(LANES)
	echo "make test: all passed"

lint: venv ## ruff and shellcheck
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	shellcheck $(SCRIPTS)

format: venv ## let ruff put the code into shape
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: venv ## mypy, strict
	@$(BIN)/mypy

unit: unit-covered unit-searches ## unit, property and simulation tests; the pure packages covered by every branch

unit-covered: venv
	@rm -f build/.coverage*
	mkdir -p build
	export COVERAGE_FILE=build/.coverage
	$(PYTEST) -m "not integration" --cov --cov-report= $(addprefix --ignore=,$(SEARCHES)) tests
	$(BIN)/coverage report --include='$(PURE_FILES)' --fail-under=100
	$(BIN)/coverage json -q -o build/coverage.json

unit-searches: venv
	@$(PYTEST) -m "not integration" $(SEARCHES)

sim: venv ## whole nodes against chaos in virtual time: SCHEDULES= how many, SEED= one again; some bounces, too
	@$(BIN)/python -m tests.simulation $(addprefix --schedules=,$(SCHEDULES)) $(addprefix --seed=,$(SEED)) \
		$(call sample,$(SCHEDULES)$(SEED),200)
	$(if $(SEED),,$(BIN)/python -m tests.simulation --bounces 24 --seed 0)

sim-bounces: venv ## bounces of the VIP, away and back: BOUNCES= how many (1000), SEED= from which on (long)
	@$(BIN)/python -m tests.simulation --bounces $(or $(BOUNCES),1000) $(addprefix --seed=,$(SEED))

proof: venv ## every state of the packet-id rules within larger bounds (long, several GB)
	@$(BIN)/python -m tests.proof

hunt: venv ## property tests with many new examples (long)
	@$(PYTEST) -m "not integration" --hypothesis-profile hunt --timeout 0 tests

mutants: venv ## small changes of the pure packages: do the tests notice? COUNT= SEED= ONLY= a path's word; build/mutants.json (long)
	@$(BIN)/python -m tests.mutants $(addprefix --count=,$(COUNT)) $(addprefix --seed=,$(SEED)) \
		$(addprefix --only=,$(ONLY)) --json=build/mutants.json

fuzz: venv ## coverage-guided fuzzing of all that reads bytes from outside; SECONDS= for each reader
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

c-test: bootstrap ## C unit tests under AddressSanitizer and UBSan
	@$(OPENVPN) asan

c-fuzz: bootstrap ## coverage-guided fuzzing of cluster-import in OpenVPN; SECONDS=
	@$(OPENVPN) fuzz $(SECONDS)

openvpn-check: bootstrap ## OpenVPN's own make check, feature compiled in and compiled out
	@$(OPENVPN) check

integration: root bootstrap venv ucarp pacemaker ## real OpenVPN, clients and keepalived in namespaces; SHARD=1:2 the first half (root)
	@$(OPENVPN) binary
	$(OPENVPN) deb trace old-client
	$(PYTEST) -m integration --durations=15 $(addprefix --shard=,$(SHARD)) $(call sample) tests

integration-asan: root bootstrap venv ## takeovers with OpenVPN under AddressSanitizer and UBSan (root)
	@$(OPENVPN) asan
	rm -rf build/sanitizer
	mkdir -p build/sanitizer
	chmod 1777 build/sanitizer
	export OVPNHA_OPENVPN=build/openvpn/openvpn-asan
	export ASAN_OPTIONS=log_path=$$PWD/build/sanitizer/report
	export UBSAN_OPTIONS=print_stacktrace=1:log_path=$$PWD/build/sanitizer/report
	$(PYTEST) -m integration tests/integration/test_takeover.py tests/integration/test_sidecar_restart.py \
		tests/integration/test_what_debian_lacks.py
	! cat build/sanitizer/report* 2>/dev/null || { echo "make $@: see build/sanitizer" >&2; exit 1; }

compose-demo: root bootstrap venv deb ## nodes in containers, docker kill under traffic; SCENARIO= only one (root)
	@$(BIN)/python -m tests.lab.compose $(addprefix --scenario=,$(SCENARIO))

test-compose: root bootstrap venv deb ## the container lab keeps its promises and leaves nothing (root, docker)
	@$(BIN)/python -m tests.compose

test-dco: root bootstrap venv binary ## clients with the data channel in the kernel, in a small machine: RUNS=; build/lab (root)
	@deploy/bootstrap.sh dco
	$(BIN)/python -m tests.lab.dco $(addprefix --runs=,$(RUNS))

test-hosts: root bootstrap venv deb ## whole hosts under systemd: by hand, then by the packages for RELEASE=; ONLY= words; build/lab (root)
	@tests/hosts/tree.sh
	$(BIN)/python -m tests.hosts $(if $(ONLY),--only $(ONLY))
	$(if $(ONLY),,make test-hosts-packages RELEASE=$(RELEASE))

test-hosts-packages: root bootstrap venv packages ## from a stock server to a cluster and back by the packages for RELEASE=, on whole hosts; build/hosts/result.json (root)
	@tests/hosts/tree.sh $(RELEASE)
	$(BIN)/python -m tests.hosts.packages $(RELEASE)

faults: root bootstrap venv binary ## faults that outsiders found, provoked again: ONLY= words, RUNS=; build/lab (root)
	@deploy/bootstrap.sh dco
	$(BIN)/python -m tests.faults $(if $(ONLY),--only $(ONLY)) $(addprefix --runs=,$(RUNS)) \
		$(call sample,$(ONLY)$(RUNS),14)

whole: root bootstrap venv ## all of what sim, integration and faults take a sample of (long, root)
	@make sim WHOLE=1
	make integration WHOLE=1
	make faults WHOLE=1

fresh: root ## the README's first command in a bare Debian 12, with nothing of this machine (root)
	@.ci/fresh

scenarios: root bootstrap venv binary ucarp pacemaker ## every scenario for every VIP manager, and today's practice: MANAGER= SCENARIO= names, RUNS= (5) of each, AGAIN=1; goes on where it was ended; build/lab/scenarios.json (long, root)
	@$(BIN)/python -m tests.lab.managers $(if $(MANAGER),--manager $(MANAGER)) $(if $(SCENARIO),--scenario $(SCENARIO)) \
		$(addprefix --runs=,$(RUNS)) $(if $(AGAIN),--again)

scenarios-quick: root bootstrap venv binary ## some of them, drawn by the commit, for a minute and a half; build/lab/scenarios-quick.json (root)
	@$(BIN)/python -m tests.lab.managers --quick

split-brain: root bootstrap venv ## both nodes master, again and again: no nonce twice; build/lab (root)
	@$(OPENVPN) trace
	$(BIN)/python -m tests.lab.splitbrain

renegotiation: root bootstrap venv binary ## the master dies at each instant of a renegotiation: RUNS= of each; build/lab (root)
	@$(BIN)/python -m tests.lab.renegotiation $(addprefix --runs=,$(RUNS))

restart: root bootstrap venv ## one server restarted, crashed and hung, with a spare and without: RUNS= of each, ONLY= words, AGAIN=1; goes on where it was ended; build/lab/restart.json (long, root)
	@$(OPENVPN) binary
	$(OPENVPN) deb trace
	$(BIN)/python -m tests.lab.restart $(addprefix --runs=,$(RUNS)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(AGAIN),--again)

nat: root bootstrap venv binary ## connections through firewalls and NAT over moves of the VIP: RUNS= ONLY= words, IDLE= seconds, SAMPLE= SEED=; build/lab (root)
	@$(BIN)/python -m tests.lab.nat $(addprefix --runs=,$(RUNS)) $(if $(ONLY),--only $(ONLY)) \
		$(addprefix --idle=,$(IDLE)) $(addprefix --sample=,$(SAMPLE)) $(addprefix --seed=,$(SEED))

.PHONY: soak
soak: root bootstrap venv binary ## failovers of mixed kinds in a row while clients come and go: COUNT= (200) CLIENTS= (50) SEED= ONLY= words; build/lab/soak.json (long, root)
	@$(BIN)/python -m tests.lab.soak $(addprefix --count=,$(COUNT)) $(if $(filter command line environment,$(origin CLIENTS)),--clients=$(CLIENTS)) \
		$(addprefix --seed=,$(SEED)) $(if $(ONLY),--only $(ONLY))

.PHONY: configurations
configurations: root bootstrap venv binary ## servers as people have them, each with a client and a death of its master: NAMES=; build/lab/configurations.json (long, root)
	@$(BIN)/python -m tests.lab.configurations $(NAMES)

root:
	@[[ $$EUID == 0 ]] || { echo "run this as root: it makes network namespaces" >&2; exit 1; }

binary: bootstrap ## the patched OpenVPN: build/openvpn/openvpn
	@$(OPENVPN) binary

ucarp: bootstrap ## another VIP manager of the tests, unpacked and not installed: build/ucarp
	@tests/lab/ucarp.sh

pacemaker: bootstrap ## one more, with corosync and ocf-tester, likewise: build/pacemaker
	@tests/lab/pacemaker.sh

deb: ## the package beside Debian's, and its source: SOURCE=newest, a security update; build/openvpn/openvpn-cluster_*
	@$(if $(SOURCE),OVPNHA_OPENVPN_SOURCE=$(SOURCE)) $(OPENVPN) deb

packages: root ## all packages for RELEASE=bookworm (or trixie), in a clean system: build/packages (root)
	@deploy/packages/build.sh $(RELEASE)

test-packages: root ## the packages for RELEASE= installed, used, brought up to date, purged; no network (root)
	@tests/packages/run.sh $(RELEASE)

dist: venv ## wheel and source archive, checked by twine: build/dist
	@deploy/packages/dist.sh

test-dist: root dist ## the wheel's commands all work where there is no source tree (root: a network namespace)
	@deploy/packages/dist.sh --try

steps: bootstrap ## every patch of the series builds by itself (slow)
	@$(OPENVPN) steps

bench: root bootstrap venv binary ## figures of the replication and of the lab: build/bench (root)
	@$(BIN)/python -m tests.bench --clients $(CLIENTS) --output build/bench
	$(BIN)/python -m tests.bench.memory --output build/bench
	$(BIN)/python -m tests.lab --runs 20 --output build/bench

bootstrap:
	@deploy/bootstrap.sh lab

venv: bootstrap
	@deploy/venv.sh $(VENV)

lock: venv ## solve requirements.lock anew from pyproject.toml, and the lock of twine
	@deploy/venv.sh $(VENV) --lock
	deploy/packages/dist.sh --lock

clean: ## remove everything made
	@rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
