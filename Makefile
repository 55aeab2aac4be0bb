# Recapito. Bare `make` lists the targets.

GO            ?= go
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build the static binary, bin/recapito
	$(GO) build -trimpath -o bin/recapito .

.PHONY: demo
demo: build ## See the service at work in one command (about 15 s, leaves nothing behind)
	@bin/recapito demo

# The race detector needs cgo and a C compiler; where there is none, the tests
# run without it rather than not at all.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)

.PHONY: test
test: ## Run all tests, with the race detector, in random order
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -shuffle=on -timeout 30m ./...

.PHONY: check
check: generated tidy lint vulnerable faults-short ## What CI runs beside the tests: fresh code, lint, vulnerabilities, faults

.PHONY: generate
generate: ## Generate gen/ from openapi.yaml
	$(GO) generate ./gen

.PHONY: generated
generated: ## Fail if gen/ is not what openapi.yaml generates
	@d=$$(mktemp -d) && trap 'rm -rf $$d' EXIT && cp -r gen $$d/ && $(GO) generate ./gen && diff -r gen $$d/gen \
		|| { echo 'gen/ is stale: run make generate and commit'; exit 1; }

.PHONY: tidy
tidy: ## Fail if go.mod is not tidy
	$(GO) mod tidy -diff

.PHONY: lint
lint: ## Vet and lint
	$(GO) vet ./...
	$(GO) run $(GOLANGCI_LINT) run ./...

.PHONY: vulnerable
vulnerable: ## Look for known vulnerabilities that the code reaches
	@if $(GO) run $(GOVULNCHECK) ./... ; then :; else code=$$?; \
		[ $$code -eq 3 ] && exit 3; echo 'the vulnerability database cannot be reached: not checked'; fi

.PHONY: bench
bench: ## Measure the built binary and print the tables of docs/benchmarks.md (about an hour; BENCH="--rounds 1 throughput" for less)
	$(GO) run ./bench $(BENCH)

.PHONY: faults
faults: ## Run the built binary through kills, power cuts, full disks… (root, about an hour; FAULTS="--rounds 100 kill" for less)
	$(GO) run ./faults $(FAULTS)

.PHONY: faults-short
faults-short: ## The same in about two minutes
	$(GO) run ./faults --short $(FAULTS)
