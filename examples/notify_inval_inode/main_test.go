//go:build linux

package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestContents(t *testing.T) {
	e := exampletest.Isolated(t, "notify_inval_inode")
	if e == nil {
		return
	}
	e.Each("notify", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Serve(dir, "--update-interval=1")
		file := filepath.Join(dir, "current_time")
		first := e.Cached(file)
		require.Regexp(e, "^The current time is [0-9]{2}:[0-9]{2}:[0-9]{2}\n$", first)
		e.Eventually("the contents change", func() bool { return e.Cached(file) != first })
		e.End(p, dir)
	})
	e.Each("no notify", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Serve(dir, "--update-interval=1", "--no-notify")
		file := filepath.Join(dir, "current_time")
		first := e.Cached(file)
		e.Eventually("the server has something new", func() bool { return e.Fresh(file) != first })
		require.Equal(e, first, e.Cached(file))
		e.End(p, dir)
	})
}
