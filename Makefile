# kowaza: see README.md. Every target may be run by hand; .ci/run runs
# test-deps, lint and test.

VERSION = 0.1.0
PREFIX = /usr/local
GO = go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFLAGS_BUILD = -trimpath -ldflags '-s -w -X kowaza/applets.version=$(VERSION)'
DIST = kowaza-$(VERSION)-linux-amd64

.PHONY: all build demo test test-deps lint bench install uninstall dist clean

all: build

build:
	CGO_ENABLED=0 $(GO) build $(GOFLAGS_BUILD) -o kowaza .

demo: build
	@sh testdata/demo.sh

test: build
	@sh .ci/test

test-deps:
	@sh .ci/test-deps

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	$(GO) vet ./... ./testdata/bench ./testdata/real
	$(GO) run $(STATICCHECK) ./... ./testdata/bench ./testdata/real
	shellcheck install.sh .ci/run .ci/test .ci/test-deps testdata/*.sh $$(grep -l '^#!/bin/sh' testdata/originals/*)
	mandoc -Tlint -Wwarning man/*.[1-8]

# Some four million files below build/: run it where there is room for them.
bench: build
	$(GO) build -o build/bench ./testdata/bench
	build/bench $(BENCHFLAGS) ./kowaza build/bench-data

install: build
	./install.sh -p $(PREFIX)

uninstall:
	./install.sh -u -p $(PREFIX)

dist: build
	rm -rf build/$(DIST)
	mkdir -p build/$(DIST)
	cp -R kowaza install.sh symlinks.txt kowaza.conf man examples LICENSE README.md build/$(DIST)
	tar -C build --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -czf build/$(DIST).tar.gz $(DIST)

clean:
	rm -rf build kowaza
