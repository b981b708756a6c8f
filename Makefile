# make help lists the targets. Each target calls the script that installs the
# tools and libraries it needs, so there is nothing to install by hand.
SHELL := /bin/bash
.DEFAULT_GOAL := help
GO ?= go
BIN := bin
export GOFLAGS ?= -mod=mod
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo dev)

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z0-9_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/pitboss (CLI and local mode) and bin/function (one function, as deployed)
	@mkdir -p $(BIN)
	GO="$(GO)" LDFLAGS="-X main.version=$(VERSION)" scripts/go-build.sh -o $(BIN)/ ./broker/local ./functions/serve
	@mv -f $(BIN)/local $(BIN)/pitboss && mv -f $(BIN)/serve $(BIN)/function

.PHONY: run
run: ## run the whole system on this machine and print the console's address; Ctrl-C stops it
	@GO="$(GO)" scripts/build-run.sh $(BIN)/pitboss "$(VERSION)"
	@ONNXRUNTIME_LIB="$$(scripts/onnxruntime.sh)" exec $(BIN)/pitboss run

.PHONY: test
test: ## run what CI runs: lint, all tests with the race detector, a minute of soak
	@scripts/deps.sh redis prometheus curl openssl
	@scripts/test.sh

.PHONY: lint
lint: ## run golangci-lint and check manifests, features, rules and models
	@scripts/lint.sh

.PHONY: vuln
vuln: ## find known vulnerabilities in the dependencies (needs the vulnerability database)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

.PHONY: fuzz
fuzz: ## fuzz every parser, each for FUZZTIME (default 30s)
	@scripts/fuzz.sh

.PHONY: e2e
e2e: ## test the console in a real browser against the whole system
	@scripts/e2e.sh

.PHONY: ui
ui: ## build the console's page
	@scripts/console-ui.sh

.PHONY: observe
observe: ## run Prometheus beside `make run`
	@scripts/observe.sh

.PHONY: function
function: ## create a new function: NAME=vip TAKES=pitboss.round.settled.v1
	$(GO) run ./broker/manifest/newfunction "$(NAME)" "$(TAKES)"

.PHONY: generate
generate: ## generate the manifests that derive from the func.yaml files and the event catalogue
	$(GO) run ./broker/manifest/generate .

.PHONY: train
train: ## train every model from the data folder (PITBOSS_DATA)
	@scripts/train.sh

.PHONY: train-check
train-check: ## test the training of models from a journal, in the training environment (700 MB)
	@scripts/train.sh check

.PHONY: bench
bench: build ## measure the whole path, its parts, growth and limits; JSON=FILE PLOTS=FOLDER ONLY=path,mixed,…
	@scripts/bench.sh $(if $(ONLY),--only $(ONLY))

.PHONY: soak
soak: build ## run a steady load and check that nothing is lost, doubled or growing; FOR=1h, RATE, PLAYERS, MIXED=1, JSON=FILE
	@scripts/bench.sh soak --for $(or $(FOR),1h) --rate $(or $(RATE),1000) $(if $(PLAYERS),--players $(PLAYERS)) $(if $(MIXED),--mixed)

.PHONY: bench-compare
bench-compare: build ## compare two runs of make bench with benchstat; OLD=FILE NEW=FILE, written with JSON=FILE
	@scripts/bench-compare.sh $(OLD) $(NEW)

.PHONY: compare
compare: build ## measure beside Restate and Kafka Streams, and write the table in docs/compared.md; short: REPS=1 D=5s; SYSTEMS, RATES, PLAYERS, JSON=FILE, SMOKE=1
	@scripts/compare.sh

.PHONY: bench-state
bench-state: build ## measure player state; JSON=FILE writes the figures
	@scripts/bench-state.sh

.PHONY: learn-bench
learn-bench: ## measure learning: regret, intervals, calibration; JSON=FILE, ONLY=hillstrom,openbandit,…
	@scripts/learn-bench.sh $(if $(ONLY),-only $(ONLY))

.PHONY: conformance
conformance: ## compare the one-machine Broker with a real Knative control plane; JSON=FILE
	@scripts/conformance.sh

.PHONY: durable
durable: build ## kill every process under load on Knative's RabbitMQ Broker; JSON=FILE
	@scripts/durable.sh

.PHONY: rollout
rollout: build ## replace every function 20 times under load; JSON=FILE
	@scripts/rollout.sh

.PHONY: queueproxy
queueproxy: build ## test a function behind Knative's queue-proxy: concurrency and draining; JSON=FILE
	@scripts/queueproxy.sh

.PHONY: coldstart
coldstart: build ## measure the time from exec to the first answer, 50 times per function; JSON=FILE
	@scripts/coldstart.sh

.PHONY: image
image: ## build the image and push it to REGISTRY; BUILDER=func or docker
	@scripts/image.sh $(or $(BUILDER),func)

.PHONY: imagecheck
imagecheck: ## build the image, push it to a local registry and start every function from it (needs root)
	@scripts/imagecheck.sh

.PHONY: cluster
cluster: ## start a real Kubernetes with Knative on this machine (needs root), deploy Pitboss on it and measure it; METHOD=kubectl, BROKER=kafka, JSON=FILE, ROWS="ready story …"
	@scripts/cluster.sh

.PHONY: cluster-down
cluster-down: ## stop the cluster of make cluster and remove its state
	@scripts/cluster-down.sh

.PHONY: deploy
deploy: ## deploy the Broker, the Triggers and every function; NAMESPACE, BROKER=kafka|rabbitmq|in-memory
	@scripts/deploy.sh

.PHONY: undeploy
undeploy: ## remove the functions from the namespace; EVENTS=lose also removes Broker and Triggers
	@scripts/undeploy.sh
