# A load-test stack as code. `make help` lists what can be done.
.DEFAULT_GOAL := help
.PHONY: help up preview load capacity drift rotate backup restore destroy rehearse compare \
	password mirror-list test bench scale

STACK ?= dev

# Everything given on the command line (make up rate=2000) goes on as a configuration value, as it was
# typed: `value` leaves its `$` alone, and it is not exported, which would not. The names here start
# with a dot and `override` what is given, so that no mistyped key is run in their place.
override define .newline


endef
override .given = $(foreach .name,$(.VARIABLES),\
	$(if $(filter command,$(firstword $(origin $(.name)))),$(.name)))
unexport $(.given)
override .refuse = $(if $(findstring $(.newline),$(1)),\
	$(error a line break cannot go through make: $(subst $(.newline),\n,$(1))))
override .quote = $(.refuse)'$(subst ','\'',$(1))'
override .settings = $(foreach .name,$(filter-out STACK,$(.given)),\
	$(call .quote,$(.name)=$(value $(.name))))
override .stack = @node launch.js scripts/stack.ts $@ $(call .quote,$(value STACK)) $(.settings)

# What a stack says to itself on this machine goes through no proxy.
override .comma := ,
override .no_proxies := $(sort $(subst $(.comma), ,$(NO_PROXY) $(no_proxy)) 127.0.0.1 localhost)
export NO_PROXY := $(subst $() $(),$(.comma),$(.no_proxies))
export no_proxy := $(NO_PROXY)

help: ## List the commands
	@echo 'make <command> [STACK=dev] [key=value ...]   (keys: see docs/configuration.md)'; echo
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 16

up: node_modules/.installed ## Start the stack, run the load test if it is due, show the verdict
	$(.stack)

preview: node_modules/.installed ## Show what `make up` would change, and whether the test would run
	$(.stack)

load: node_modules/.installed ## Run the load test again; nothing else changes
	$(.stack)

capacity: node_modules/.installed ## Find the highest rate that the target keeps within its limits
	$(.stack)

drift: node_modules/.installed ## Show what was changed by hand; `make up` puts it back
	$(.stack)

rotate: node_modules/.installed ## Replace every generated password; no data is lost, no test runs
	$(.stack)

backup: node_modules/.installed ## Save all points, and what people made in Grafana, in backups/
	$(.stack)

restore: node_modules/.installed ## Put a backup into a running stack: make restore FROM=<archive>
	$(.stack)

destroy: node_modules/.installed ## Remove everything that `make up` made, except runs/ and backups/
	$(.stack)

rehearse: node_modules/.installed ## Run the same test without Docker and Pulumi, as local processes
	@node launch.js scripts/rehearse.ts $(call .quote,$(value STACK)) $(.settings)

compare: node_modules/.installed ## Compare two runs: make compare A=<id> B=<id>
	$(.stack)

password: node_modules/.installed ## Show Grafana's login
	$(.stack)

mirror-list: node_modules/.installed ## List what a closed network must mirror for the stack
	$(.stack)

test: node_modules/.installed-with-peers ## Check types and format, run every test this machine can run
	@npm run --silent check
	@npx vitest run

bench: node_modules/.installed ## Measure this project against the guide, into docs/benchmarks.md
	@node launch.js bench/bench.ts $(.settings)

scale: node_modules/.installed ## Measure how far one machine and one InfluxDB go, into docs/scale.md
	@node launch.js bench/scale.ts $(.settings)

node_modules/.installed: package.json package-lock.json
	@command -v node >/dev/null || { echo 'Node.js is missing: install 24, https://nodejs.org' >&2; exit 1; }
	@node scripts/node.js
	npm ci --no-audit --no-fund
	@touch $@

# For the tests also what only stacks in a cluster need, see .npmrc.
node_modules/.installed-with-peers: node_modules/.installed
	npm install --no-save --include=peer --no-audit --no-fund
	@touch $@
