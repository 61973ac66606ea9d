//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

// What the mount does is tested by internal/realtest.

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestBackground(t *testing.T) {
	e := exampletest.Isolated(t, "passthrough")
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	code, out := e.Finish(e.Command("--plus", "--readdir-zero-inodes", "-o", "entry_timeout=0,negative_timeout=0,attr_timeout=0,ac_attr_timeout=0", dir))
	require.Zero(t, code, out)
	require.Empty(t, out)
	file := filepath.Join(e.Dir, "file")
	require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte("through"), 0o644))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "through", string(text))
	pid := e.Daemon(dir)
	e.Unmount(dir, 0)
	require.Zero(t, e.DaemonExit(pid))
}

func TestMessages(t *testing.T) {
	e := exampletest.Isolated(t, "passthrough")
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	e.SameAsC("passthrough", nil, []string{"-f"}, []string{"-f", dir, "-o", "bogus"}, []string{dir, "more"}, []string{"-f", dir, "-o", "modules=subdir"},
		[]string{"-f", dir, "-o", "modules=subdir,subdir=/,unknown"})
	require.Nil(t, e.Mounted(dir))
}
