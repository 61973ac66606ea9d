//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestPrune(t *testing.T) {
	e := exampletest.Isolated(t, "notify_prune")
	if e == nil {
		return
	}
	e.Each("notify", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Serve(dir, "--update-interval=1")
		file := filepath.Join(dir, "current_time")
		first := e.Cached(file)
		e.Eventually("a prune is sent", func() bool {
			if strings.Contains(p.Output(), "not supported by kernel") {
				e.Skip("this kernel has no FUSE_NOTIFY_PRUNE")
			}
			return strings.Contains(p.Output(), "prune sent\n")
		})
		e.Eventually("a prune is complete", func() bool { return strings.Contains(p.Output(), "prune complete\n") })
		e.Eventually("the contents change", func() bool { return e.Cached(file) != first })
		e.End(p, dir)
		require.Equal(e, 1, strings.Count(p.Output(), "prune complete\n"))
	})
	e.Each("no notify", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Serve(dir, "--update-interval=1", "--no-notify")
		file := filepath.Join(dir, "current_time")
		first := e.Cached(file)
		time.Sleep(2 * time.Second) // two intervals in which nothing is to happen
		require.Equal(e, first, e.Cached(file))
		e.End(p, dir)
		require.Empty(e, p.Output())
	})
}
