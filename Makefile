# Two commands do everything: make demo, make test. The rest is for contributors.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
export CGO_ENABLED = 1

.PHONY: build test lint deps

build:
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/dirpin ./cmd/dirpin

deps: # what the tests and the demo need and the machine lacks
	@packaging/install-deps.sh slapd ldap-utils

test: deps lint
	go test ./...

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
