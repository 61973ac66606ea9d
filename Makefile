# What CI runs and what a newcomer runs are the same: make test. make demo runs the main job.

GO         ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 20s
ARCHES      = amd64 arm64 riscv64 386 arm
PACKAGES    = ./...

.PHONY: test demo bench check race single fuzz cross nocgo bench-build

test: check cross nocgo race single fuzz

# The main job: build passthrough_ll, mount it, work in the mount, show what happened, unmount.
demo:
	$(GO) run ./examples/tour

# The comparison with C libfuse and go-fuse; see docs/performance.md.
bench:
	cd bench && $(GO) run .

check: bench-build
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	$(GO) vet $(PACKAGES)
	$(GO) run $(STATICCHECK) $(PACKAGES)

bench-build:
	cd bench && $(GO) vet ./... && $(GO) build -o /dev/null ./...

race:
	$(GO) test -race -timeout 20m $(PACKAGES)

# Once more with a single processor, which shows what only works because something else runs beside it.
single:
	GOMAXPROCS=1 $(GO) test -count=1 -short -timeout 20m $(PACKAGES)

# Every fuzz target for a short time: go test fuzzes one target at a time.
fuzz:
	@set -e; for f in $$(grep -rl --include='*_test.go' '^func Fuzz' . | grep -v '^./bench/'); do \
	  for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$f); do \
	    echo "fuzz $$(dirname $$f) $$t"; \
	    $(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) $$(dirname $$f); \
	  done; \
	done

cross:
	@set -e; for a in $(ARCHES); do echo "build linux/$$a"; CGO_ENABLED=0 GOOS=linux GOARCH=$$a $(GO) build $(PACKAGES); done

# No package of the library may link cgo, not even where a C compiler is at hand.
nocgo:
	@bad=$$(CGO_ENABLED=1 $(GO) list -deps -f '{{if .CgoFiles}}{{.ImportPath}}{{end}}' $$($(GO) list $(PACKAGES) | grep -v /internal/) | grep -vE '^(runtime/cgo|net|os/user)$$' || true); \
	test -z "$$bad" || { echo "uses cgo: $$bad"; exit 1; }
	@bad=$$(CGO_ENABLED=0 $(GO) list -deps $(PACKAGES) | grep -x runtime/cgo || true); test -z "$$bad" || { echo "links runtime/cgo"; exit 1; }
