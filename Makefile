.DEFAULT_GOAL := help
.PHONY: help setup test test-unit test-server test-nodes lint demo demo-cluster demo-failover down bench bench-code bench-grants bench-orchestration bench-failover engine images sources browser
# Steps share one machine, and their order is what a person follows on the screen.
.NOTPARALLEL:
# Where a shell sets it, each of some hundred processes would compile this project again, for a second each.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
# Four beds side by side, also on two cores: while machines boot and time-outs run out in some, others work.
PYTEST := $(PY) -m pytest --numprocesses 4 --dist loadgroup --no-loadscope-reorder
# What keeps both cores busy by itself.
UNIT := $(PY) -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder --ignore tests/nodes

help: ## what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: demo-cluster ## all of this: WordPress on a cluster of four nodes, then on a pack
	@if $(PY) -m deployments.demo can-pack; then docker/nodes up pack && $(PY) -m deployments.demo pack; fi

demo-cluster: setup engine images sources ## the cluster alone, set up through the Prefect UI's own API
	@docker/nodes up
	@$(PY) -m deployments.demo up

demo-failover: ## the NFS server of the demo's pack is killed under load, its standby takes over; then back again
	@$(PY) -m deployments.demo failover

down: ## stop what `make demo` started, and nothing else
	@[ ! -x $(PY) ] || $(PY) -m deployments.demo down
	@docker/nodes down
	@docker/engine stop

test: setup engine images sources browser ## everything: unit, policy, a real Prefect server and real nodes
	@$(PYTEST)

test-unit: setup ## what needs nothing but this checkout, in a minute
	@$(UNIT) -m "not nodes and not server"

test-server: setup ## what needs a real Prefect server, and no Docker
	@$(UNIT) -m "server and not nodes"

test-nodes: setup engine images sources browser ## only what runs on real nodes
	@$(PYTEST) -m nodes

lint: setup ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

bench: setup engine images bench-code bench-grants bench-orchestration bench-failover ## all of the next four

bench-code: setup engine images ## how code gets to eight nodes, beside rsync and Ansible
	@$(PY) -m bench

bench-grants: setup engine images ## 10,000 accounts on MariaDB and MySQL, beside Ansible and Aegir's way
	@$(PY) -m bench.grants

bench-orchestration: setup engine images ## what Prefect costs a task run, on 4 to 256 hosts
	@$(PY) -m bench.orchestration

bench-failover: setup engine images ## how long a share is away when its server dies, with 3 and with 8 clients
	@$(PY) -m bench.failover

setup: .venv/.ready ## the virtual environment, and the programs that are called

.venv/.ready: requirements.lock pyproject.toml docker/controller docker/lib/common.sh
	@docker/controller
	@touch $@

engine:
	@docker/engine

images: engine
	@docker/nodes images

sources: engine
	@docker/wordpress

browser:
	@docker/browser
