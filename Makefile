# make help lists the targets. Every target that needs a tool or a library
# calls the script that installs it; nothing is to be installed by hand.
SHELL := /bin/bash
.DEFAULT_GOAL := help
GO ?= go
BIN := bin
export GOFLAGS ?= -mod=mod
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo dev)

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/pitboss (CLI and local mode) and bin/function (one function, as deployed)
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/ ./broker/local ./functions/serve
	@mv -f $(BIN)/local $(BIN)/pitboss && mv -f $(BIN)/serve $(BIN)/function

.PHONY: run
run: ## the whole system on this machine, with a page to look at; Ctrl-C stops it
	@GO="$(GO)" scripts/build-run.sh $(BIN)/pitboss "$(VERSION)"
	@ONNXRUNTIME_LIB="$$(scripts/onnxruntime.sh)" exec $(BIN)/pitboss run

.PHONY: test
test: ## everything CI checks: lint and all tests with the race detector
	@scripts/deps.sh redis prometheus curl openssl
	@scripts/test.sh

.PHONY: lint
lint: ## golangci-lint, manifests, features, rules, models
	@scripts/lint.sh

.PHONY: vuln
vuln: ## known vulnerabilities in the dependencies (needs the vulnerability database)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZTIME (default 30s) each
	@scripts/fuzz.sh

.PHONY: e2e
e2e: ## the console in a real browser, fed by the whole system
	@scripts/e2e.sh

.PHONY: ui
ui: ## build the console's page anew
	@scripts/console-ui.sh

.PHONY: observe
observe: ## Prometheus beside `make run`
	@scripts/observe.sh

.PHONY: function
function: ## write a new function: NAME=vip TAKES=pitboss.round.settled.v1
	$(GO) run ./broker/manifest/newfunction "$(NAME)" "$(TAKES)"

.PHONY: generate
generate: ## write the manifests that follow from func.yaml files and the event catalogue
	$(GO) run ./broker/manifest/generate .

.PHONY: train
train: ## train every model anew from the data folder (PITBOSS_DATA)
	@scripts/train.sh

.PHONY: train-check
train-check: ## test what trains models on a journal, in the training environment (700 MB)
	@scripts/train.sh check

.PHONY: bench
bench: build ## the whole path, its parts, growth and limits; JSON=FILE PLOTS=FOLDER ONLY=path,mixed,…
	@scripts/bench.sh $(if $(ONLY),--only $(ONLY))

.PHONY: soak
soak: build ## a steady load for FOR (default 1h): nothing lost, nothing twice, nothing grows; RATE, PLAYERS, MIXED=1, JSON=FILE
	@scripts/bench.sh soak --for $(or $(FOR),1h) --rate $(or $(RATE),1000) $(if $(PLAYERS),--players $(PLAYERS)) $(if $(MIXED),--mixed)

.PHONY: bench-compare
bench-compare: build ## benchstat of OLD and NEW, files that make bench wrote with JSON=FILE
	@scripts/bench-compare.sh $(OLD) $(NEW)

.PHONY: compare
compare: build ## beside Restate and Kafka Streams, one table in docs/compared.md; short: REPS=1 D=5s; SYSTEMS, RATES, PLAYERS, JSON=FILE, SMOKE=1
	@scripts/compare.sh

.PHONY: bench-state
bench-state: build ## player state, measured; JSON=FILE writes the figures
	@scripts/bench-state.sh

.PHONY: learn-bench
learn-bench: ## how well it learns: regret, intervals, calibration; JSON=FILE, ONLY=hillstrom,openbandit,…
	@scripts/learn-bench.sh $(if $(ONLY),-only $(ONLY))

.PHONY: conformance
conformance: ## the one-machine Broker against a real Knative control plane; JSON=FILE
	@scripts/conformance.sh

.PHONY: durable
durable: build ## every process killed under load on Knative's RabbitMQ Broker; JSON=FILE
	@scripts/durable.sh

.PHONY: rollout
rollout: build ## replace every function 20 times under load; JSON=FILE
	@scripts/rollout.sh

.PHONY: queueproxy
queueproxy: build ## Knative's queue-proxy in front of a function: concurrency and draining; JSON=FILE
	@scripts/queueproxy.sh

.PHONY: coldstart
coldstart: build ## exec to first answer of each function, 50 times; JSON=FILE
	@scripts/coldstart.sh

.PHONY: image
image: ## build and push the image to REGISTRY (BUILDER=func or docker)
	@scripts/image.sh $(or $(BUILDER),func)

.PHONY: imagecheck
imagecheck: ## build the image, push it to a registry of its own, start every function out of it (root)
	@scripts/imagecheck.sh

.PHONY: cluster
cluster: ## a real Kubernetes with Knative on this machine (root), Pitboss deployed on it, one table; METHOD=kubectl, JSON=FILE, ROWS="ready story …"
	@scripts/cluster.sh

.PHONY: cluster-down
cluster-down: ## stop that cluster and remove its state
	@scripts/cluster-down.sh

.PHONY: deploy
deploy: ## deploy Broker, Triggers and every function (NAMESPACE, BROKER=kafka|rabbitmq|in-memory)
	@scripts/deploy.sh

.PHONY: undeploy
undeploy: ## take it out of the namespace again
	@scripts/undeploy.sh
