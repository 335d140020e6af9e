# kowaza: see README.md. Every target may be run by hand; .ci/run runs
# test-deps, lint and test.

VERSION = 0.1.0
PREFIX = /usr/local
GO = go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
SOURCES = *.go applets internal docs examples systemd
# Not ./...: what lies below build/ is nothing to look through.
PACKAGES = . ./applets/... ./internal/... ./docs ./examples ./systemd
# Git refuses to tell root the version of a clone that is a user's.
GOFLAGS_BUILD = -buildvcs=false -trimpath -ldflags '-s -w -X kowaza/internal/cli.version=$(VERSION)'

.PHONY: all build demo test fuzz soak test-deps lint bench figures install uninstall dist clean

all: build

build:
	CGO_ENABLED=0 $(GO) build $(GOFLAGS_BUILD) -o kowaza .

demo: build
	$(GO) build -buildvcs=false -o build/bench ./internal/bench
	@sh testdata/demo.sh

test: build
	@sh .ci/test

# The search for inputs that break a reader, FUZZTIME for each target.
FUZZTIME = 60s
fuzz:
	@FUZZTIME=$(FUZZTIME) sh .ci/fuzz

# What can go wrong, made to go wrong for longer than in "make test": each
# attack for SOAK minutes, every fault at more places, a million messages. As root.
SOAK = 10
soak:
	KOWAZA_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 \
		-run '^Test(Hostile|Faults|Killed|Load|InstallRandom|QuotaExact|BuildReproducible|Vulnerabilities)' ./applets ./internal/maildir ./internal/install ./internal/ci

test-deps:
	@sh .ci/test-deps
	$(GO) mod download

lint:
	@test -z "$$(gofmt -l $(SOURCES))" || { gofmt -d $(SOURCES); exit 1; }
	$(GO) vet $(PACKAGES)
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) vet $(PACKAGES)
	$(GO) run $(STATICCHECK) $(PACKAGES)
	shellcheck install.sh .ci/run .ci/test .ci/fuzz .ci/test-deps .ci/dist \
		.ci/deb/prerm .ci/deb/postrm testdata/*.sh $$(grep -l '^#!/bin/sh' testdata/originals/*)
	$(GO) run . --completion bash | shellcheck -
	@mkdir -p build
	$(GO) run . --completion zsh >build/_kowaza && zsh -n build/_kowaza
	mandoc -Tlint -Wwarning man/*.[1-8] $(wildcard man/ja/*.[1-8])

# Half an hour or more, and some gigabytes below build/. As root, see docs/bench/README.md.
bench: build
	$(GO) build -o build/bench ./internal/bench
	build/bench $(BENCHFLAGS) ./kowaza build/bench-data

# What is made of docs/bench/figures.json: figures.md, the charts, the READMEs' tables.
figures:
	$(GO) run ./internal/bench report -readmes . docs/bench

install: build
	./install.sh -p $(PREFIX)

uninstall:
	./install.sh -u -p $(PREFIX)

# Tarballs, Debian packages and SHA256SUMS: the same source gives the same bytes.
dist:
	rm -rf build/dist
	GO=$(GO) .ci/dist $(VERSION) build/dist
	@cat build/dist/SHA256SUMS

clean:
	rm -rf build kowaza
