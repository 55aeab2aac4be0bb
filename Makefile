# Recapito. Bare `make` lists the targets.

GO            ?= go
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
SCALAR        := 1.72.1
SCALAR_SHA512 := XpEJ0rfc/cXbCrR+iC4kK0o/WwX2dTtGQbT049OlPKAHD6IMIFdTeGz2r+M27P2EDWKyUITRm/NzlP8z2pw/Ow==
PREACT        := 11.2.0
PREACT_SHA512 := /HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==
HTM           := 3.1.1
HTM_SHA512    := 983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==
export CGO_ENABLED ?= 0
# For recapito version; without git, the archive's VERSION has it, or COMMIT=… gives it.
COMMIT        ?= $(shell git rev-parse HEAD 2>/dev/null)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build the static binary, bin/recapito
	$(GO) build -trimpath -ldflags '-X github.com/recapito/recapito/command.commit=$(COMMIT)' -o bin/recapito .

.PHONY: release
release: ## Build what is committed for release, dist/: archives, packages, image, SBOMs, checksums
	rm -rf dist
	$(GO) -C packaging run . .. ../dist

.PHONY: packages-test
packages-test: ## Build the release twice; install, upgrade, remove it on a fresh Debian; check the chart (root)
	verify/install.sh mmdebstrap=mmdebstrap systemd-nspawn=systemd-container rpm=rpm nsenter=util-linux ip=iproute2
	$(GO) -C packaging test -count=1 -timeout 30m -v .

.PHONY: alerts-test
alerts-test: ## Break the built binary in each way that has an alert: it fires, alone, and its runbook ends it (root)
	verify/install.sh mkfs.ext4=e2fsprogs mount=mount unshare=util-linux prlimit=util-linux curl=curl
	$(GO) -C packaging/prometheus test -count=1 -timeout 20m -parallel 9 .

.PHONY: demo
demo: build $(if $(filter postgres,$(STORE)),postgresql) ## See the service at work in one command (about 15 s, leaves nothing behind); STORE=postgres for several nodes, KEEP=1 stays, for its console
	@$(if $(filter postgres,$(STORE)),$(GO) run ./verify/nodes --bin bin/recapito,bin/recapito demo $(if $(KEEP),--keep))

POSTGRESQL := 'initdb|/usr/lib/postgresql/*/bin/initdb=postgresql'

.PHONY: postgresql
postgresql: ## Install the server of PostgreSQL, if it is missing (Debian, Ubuntu)
	@verify/install.sh $(POSTGRESQL)

# The race detector needs cgo and a C compiler; where there is none, the tests
# run without it rather than not at all. It does not watch the code of SQLite, which is
# made from C and has its own locks: that took two thirds of the tests' time. That package
# has no generic functions: the linker could take its copy for those of others.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo "-race -gcflags=modernc.org/sqlite/lib=-race=false")

# The docs page is tested in a browser, store/postgres with servers that the tests start
# themselves, and the way out with proxies and a receiver that others have written.
.PHONY: tools
tools: ## Install what the tests need beside Go, if it is missing: Chromium, PostgreSQL, PgBouncer, proxies (Debian, Ubuntu)
	@verify/install.sh 'chromium|chromium-browser|google-chrome|headless-shell=chromium' $(POSTGRESQL) \
		'pgbouncer|/usr/sbin/pgbouncer=pgbouncer' tinyproxy=tinyproxy-bin microsocks=microsocks openssl=openssl

# verify/e2e takes longest and store/postgres waits for its disk: they begin first, so that
# the others run beside them. What go test says of the others comes after them.
.PHONY: test
test: tools ## Run all tests, with the race detector, in random order
	@echo 'some 20 minutes on two cores; nothing is printed for most of them'
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -p 3 -shuffle=on -timeout 2h ./verify/e2e ./store/postgres ./...

.PHONY: mutants
mutants: ## Break each invariant of the dispatcher on purpose and see a test find it (minutes)
	@dispatcher/testdata/mutants/run

.PHONY: mutants-apply
mutants-apply: ## Fail if the code that a mutant breaks has changed
	@for p in dispatcher/testdata/mutants/*.patch; do git apply --check $$p || { echo "$$p does not apply: make it anew (dispatcher/testdata/mutants/run says how)"; exit 1; }; done

.PHONY: check
check: generated tidy lint mutants-apply vulnerable fuzz ## What needs Go alone (minutes): fresh code, lint, vulnerabilities, fuzzing

# Two at a time, as most of them wait more than they compute; each prints when it has
# ended. What is generated comes before, as the others compile it.
.PHONY: check-all
check-all: CONTRACT_CASES = 400
check-all: export FUZZTIME = 5000x
check-all: generated ## What CI runs beside the tests: check, and the contract, the clients, the faults, the packages, the alerts, the brokers, the versions of PostgreSQL
	@$(MAKE) --no-print-directory -j 2 --output-sync=target \
		contract postgres-versions packages-test faults-short brokers-test alerts-test fuzz lint clients vulnerable tidy mutants-apply

.PHONY: generate
generate: ## Generate gen/ from openapi.yaml and its overlay
	$(GO) generate ./gen

.PHONY: scalar
scalar: ## Fetch the renderer of the docs page anew from npm, by version and checksum
	@d=$$(mktemp -d) && trap 'rm -rf $$d' EXIT && npm pack --silent --pack-destination $$d @scalar/api-reference@$(SCALAR) >/dev/null \
		&& sum=$$(openssl dgst -sha512 -binary $$d/*.tgz | base64 -w0) \
		&& { [ "$$sum" = "$(SCALAR_SHA512)" ] || { echo "the package's SHA-512 is $$sum"; exit 1; }; } \
		&& tar -xzOf $$d/*.tgz package/dist/browser/standalone.js | gzip -9n > server/docs/scalar.js.gz

.PHONY: console
console: ## Fetch the libraries of the console anew from npm, by version and checksum
	@d=$$(mktemp -d) && trap 'rm -rf $$d' EXIT \
		&& fetch() { npm pack --silent --pack-destination $$d "$$1@$$2" >/dev/null && mkdir $$d/$$1 && tar -xzf $$d/$$1-$$2.tgz -C $$d/$$1 --strip-components=1 \
			&& sum=$$(openssl dgst -sha512 -binary $$d/$$1-$$2.tgz | base64 -w0) && { [ "$$sum" = "$$3" ] || { echo "the SHA-512 of $$1 is $$sum"; exit 1; }; }; } \
		&& keep() { sed -e '/^\/\/# sourceMappingURL/d' -e 's#from"preact"#from"./preact.js"#g' "$$d/$$1" >server/console/app/vendor/$$2; } \
		&& fetch preact $(PREACT) $(PREACT_SHA512) && fetch htm $(HTM) $(HTM_SHA512) \
		&& keep preact/dist/preact.mjs preact.js && keep preact/hooks/dist/hooks.mjs hooks.js && keep htm/dist/htm.mjs htm.js

.PHONY: generated
generated: ## Fail if gen/ is not what openapi.yaml generates
	@d=$$(mktemp -d) && trap 'rm -rf $$d' EXIT && cp -r gen $$d/ && $(GO) generate ./gen && diff -r gen $$d/gen \
		|| { echo 'gen/ is stale: run make generate and commit'; exit 1; }

.PHONY: tidy
tidy: ## Fail if a go.mod is not tidy
	$(GO) mod tidy -diff
	$(GO) -C gen/overlay mod tidy -diff
	$(GO) -C packaging mod tidy -diff
	$(GO) -C packaging/prometheus mod tidy -diff
	$(GO) -C verify/brokers mod tidy -diff

.PHONY: lint
lint: ## Vet and lint
	@! find . \( -path './.*' -o -name node_modules \) -prune -o -type d \( -name internal -o -name pkg -o -name cmd -o -name 'util*' -o -name common \) -print | grep . \
		|| { echo 'these folders do not say what is in them'; exit 1; }
	$(GO) vet -tags contract ./...
	$(GO) run $(GOLANGCI_LINT) run ./...
	$(GO) -C gen/overlay vet ./...
	cd gen/overlay && $(GO) run $(GOLANGCI_LINT) run ./...
	$(GO) -C packaging vet ./...
	cd packaging && $(GO) run $(GOLANGCI_LINT) run ./...
	$(GO) -C packaging/prometheus vet ./...
	cd packaging/prometheus && $(GO) run $(GOLANGCI_LINT) run ./...
	$(GO) -C verify/brokers vet ./...
	cd verify/brokers && $(GO) run $(GOLANGCI_LINT) run ./...

.PHONY: vulnerable
vulnerable: ## Look for known vulnerabilities that the code reaches
	@if $(GO) run $(GOVULNCHECK) ./... && (cd gen/overlay && $(GO) run $(GOVULNCHECK) ./...) && cd packaging && $(GO) run $(GOVULNCHECK) ./... ; then :; else code=$$?; \
		[ $$code -eq 3 ] && exit 3; echo 'the vulnerability database cannot be reached: not checked'; fi

# Requests of each operation that Schemathesis makes at least. It computes for 25 ms each.
export CONTRACT_CASES ?= 1000

.PHONY: contract-tools
contract-tools:
	verify/contract/tools.sh

.PHONY: contract
contract: contract-tools ## Hold the built binary against openapi.yaml with Schemathesis, Prism, Redocly and oasdiff (verify/contract/README.md)
	$(GO) test -tags contract -run '^TestContract' -count=1 -timeout 40m -v ./verify/e2e

.PHONY: clients
clients: contract-tools ## Generate a client in each language and use it; verify callbacks in each (verify/contract/README.md)
	$(GO) test -tags contract -run '^TestClient' -count=1 -timeout 20m -v ./verify/e2e

# Inputs that each fuzz target tries; FUZZTIME=2h for a search in earnest. A number
# and no time by default: up to Go 1.26 a target that is still at an input when its
# time ends may fail with "context deadline exceeded" (go.dev/issue/75804).
FUZZTIME ?= 10000x

# Four targets at a time: those that dial wait more than they compute.
.PHONY: fuzz
fuzz: ## Try FUZZTIME inputs (or for as long) on every fuzz target
	@mkdir -p .cache/fuzz
	@$(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ {t[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, t[i]; n = 0}' | \
		xargs -P 4 -L 1 sh -c 'echo "$$1 in $$0, $(FUZZTIME)"; \
			$(GO) test -run "^$$" -fuzz "^$$1$$" -fuzztime $(FUZZTIME) $$0 >.cache/fuzz/$$1.log 2>&1 || { cat .cache/fuzz/$$1.log; exit 1; }'

.PHONY: bench
bench: ## Measure the built binary and print the tables of verify/bench/README.md (two hours and more; BENCH="--rounds 1 throughput" for less)
	$(GO) run ./verify/bench $(BENCH)

.PHONY: brokers-test
brokers-test: ## Feed the built binary from real brokers, and kill either side (verify/brokers)
	verify/brokers/tools.sh
	$(GO) -C verify/brokers test -count=1 -timeout 30m -v .

.PHONY: postgres-versions
postgres-versions: ## Test the store on the oldest PostgreSQL that is supported, and on the newest
	store/postgres/versions/run

.PHONY: faults
faults: ## Run the built binary through kills, power cuts, full disks… (root, some three hours; FAULTS="--rounds 100 kill" for less)
	verify/faults/tools.sh
	$(GO) run ./verify/faults $(FAULTS)

.PHONY: faults-short
faults-short: ## The same in about four minutes
	verify/faults/tools.sh
	$(GO) run ./verify/faults --short $(FAULTS)
