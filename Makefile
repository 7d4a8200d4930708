# A load-test stack as code. `make help` lists what can be done.
.DEFAULT_GOAL := help
.PHONY: help up preview load drift rotate backup restore destroy rehearse compare password test bench

STACK ?= dev

# Everything given on the command line (make up rate=2000) goes on as a configuration value.
quote = '$(subst ','\'',$(1))'
settings = $(foreach name,$(filter-out STACK,$(.VARIABLES)),\
	$(if $(filter command,$(firstword $(origin $(name)))),$(call quote,$(name)=$($(name)))))
stack = @node --import tsx scripts/stack.ts $@ $(call quote,$(STACK)) $(settings)

help: ## List the commands
	@echo 'make <command> [STACK=dev] [key=value ...]   (keys: see README.md)'; echo
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' Makefile | expand -t 14

up: node_modules/.installed ## Provision the stack, run the load test if it is due, show the verdict
	$(stack)

preview: node_modules/.installed ## Show what `make up` would change
	$(stack)

load: node_modules/.installed ## Run the load test again; nothing else changes
	$(stack)

drift: node_modules/.installed ## Name what was changed by hand; make up puts it back
	$(stack)

rotate: node_modules/.installed ## Change every generated password; no data is lost, no test runs
	$(stack)

backup: node_modules/.installed ## Save the points and what was made in Grafana by hand, in backups/
	$(stack)

restore: node_modules/.installed ## Put a backup into a stack that is up: make restore FROM=<archive>
	$(stack)

destroy: node_modules/.installed ## Remove everything that `make up` made, except runs/
	$(stack)

rehearse: node_modules/.installed ## Run the same test without Docker and Pulumi: all parts as local processes
	@node --import tsx scripts/rehearse.ts $(call quote,$(STACK)) $(settings)

compare: node_modules/.installed ## Show two runs side by side: make compare A=<id> B=<id>
	$(stack)

password: node_modules/.installed ## Show Grafana's login
	$(stack)

test: node_modules/.installed ## Check types and format, run every test this machine can run
	@npm run --silent check
	@npx vitest run

bench: node_modules/.installed ## Measure against the guide's script, tags, queries and containers
	@node --import tsx bench/bench.ts $(settings)

node_modules/.installed: package.json package-lock.json
	@command -v node >/dev/null || { echo 'Node.js is missing: install 20 or later, https://nodejs.org' >&2; exit 1; }
	@node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' || \
		{ echo "Node.js $$(node --version) is too old: install 20 or later, https://nodejs.org" >&2; exit 1; }
	npm ci --no-audit --no-fund
	@touch $@
