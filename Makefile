# Two commands do everything: make demo, make test. The rest is for contributors.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
export CGO_ENABLED = 1

.PHONY: build demo test test-postgres lint bench bench-sync race crash soak mutants deps demo-deps dist dist-deps test-packages test-windows reproduce

build:
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/dirpin ./cmd/dirpin

deps: demo-deps # what the tests need and the machine lacks: real directories, PostgreSQL, a mail server
	@packaging/install-deps.sh systemd openssl openssh-client 389-ds-base libnss3-tools samba samba-ad-provision samba-dsdb-modules samba-vfs-modules python3-samba python3 python3-aiosmtpd python3-psycopg2 postgresql

demo-deps:
	@packaging/install-deps.sh gcc libc6-dev slapd ldap-utils

demo: demo-deps build
	bin/dirpin demo

test: deps lint
	go test ./...
	DIRPIN_TEST_STORE=postgres go test ./resetjob -skip '^(TestModel|TestMutants)'

# Every kind of directory into PostgreSQL: minutes.
test-postgres: deps
	DIRPIN_TEST_STORE=postgres go test ./ldapsync -run '^TestConformance' -count=1

race: deps
	go test -race ./resetjob ./ldapsync ./internal/voicemail ./internal/store ./internal/logon

# What takes ten minutes each: the program killed over and over, and random
# stories against a model (resetjob/DESIGN.md).
crash: deps
	go test ./cmd/dirpin -run TestCrash -count=1 -v -parallel 4 -timeout 30m -crash 10m
	DIRPIN_MODEL=10m go test ./resetjob -run '^TestModel' -count=1 -v -timeout 40m

# 200 jobs over 20,000 users, synchronized in between: nothing may grow.
soak: deps
	DIRPIN_SOAK=1 go test ./cmd/dirpin -run TestSoak -count=1 -v -timeout 2h

# Switches each rule of the saga off, and expects the model to find out. MUTANT
# names some of them only.
mutants:
	go test -tags mutants ./resetjob -run '^TestMutants$$' -count=1 -timeout 3h -v

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt"; exit 1; }
	go vet ./...
	GOOS=windows CGO_ENABLED=0 go vet ./config ./internal/acl ./internal/winservice ./internal/voicemail ./internal/credential ./internal/strictyaml
	go vet -tags man ./cmd/dirpin
	go tool staticcheck ./...

# Prints ratios of what dirpin takes to what the bare work takes, in one run.
bench: build
	go test -p 1 ./resetjob ./internal/store ./cmd/dirpin -run '^$$' -bench 'Ratio|Million' -benchtime 1x -timeout 60m

# Synchronization against the tools of others, on one slapd in one run.
USERS ?= 100000
bench-sync: deps build
	@packaging/install-deps.sh python3-ldap
	go run ./internal/syncbench -users $(USERS)
	go test ./ldapsync -run '^$$' -bench RatioIncremental -benchtime 1x -timeout 10m

# Releases: deb and rpm for amd64 and arm64, an MSI for Windows, checksums, SBOMs, in
# dist/.
dist-deps: demo-deps
	@packaging/install-deps.sh git binutils gcc-x86-64-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-mingw-w64-x86-64 wixl msitools faketime osslsigncode

dist: dist-deps
	packaging/dist.sh dist

# Not part of make test: it makes everything twice, with empty caches.
reproduce: dist-deps
	packaging/reproduce.sh

# Not part of make test, since it takes minutes and the network: installs, tries,
# upgrades, removes and purges the packages in a bare Debian, as root.
test-packages: dist-deps
	@packaging/install-deps.sh debootstrap lintian rpm rpmlint man-db slapd ldap-utils openssl python3 qemu-user-static
	packaging/test-packages.sh

# Not part of make test: Wine and a compiler are 1.2 GB, and SQLite is compiled once
# more. Runs the program for Windows under Wine.
test-windows:
	@packaging/install-deps.sh slapd ldap-utils python3 gcc-mingw-w64-x86-64 wine wine64 wixl msitools faketime osslsigncode openssl
	packaging/test-windows.sh
