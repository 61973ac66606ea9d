//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// name is what the server calls its file; listings are not cached.
func name(e *exampletest.Env, dir string) string {
	list, err := os.ReadDir(dir)
	require.NoError(e, err)
	require.Len(e, list, 1)
	require.Regexp(e, "^Time_is_[0-9]{2}h_[0-9]{2}m_[0-9]{2}s$", list[0].Name())
	return list[0].Name()
}

func exists(e *exampletest.Env, path string) bool {
	_, err := os.Lstat(path)
	if err != nil {
		require.ErrorIs(e, err, os.ErrNotExist)
	}
	return err == nil
}

// used has the kernel cache a name, and returns it. It may change just before it is used.
func used(e *exampletest.Env, dir string) (path string) {
	e.Eventually("there is a file", func() bool {
		path = filepath.Join(dir, name(e, dir))
		return exists(e, path)
	})
	return path
}

func TestNames(t *testing.T) {
	e := exampletest.Isolated(t, "notify_inval_entry")
	if e == nil {
		return
	}
	for _, form := range []string{"", "--only-expire", "--inc-epoch"} {
		e.Each("notify "+form, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			args := append([]string{"--update-interval=1", "--timeout=300"}, strings.Fields(form)...)
			p := e.Serve(dir, args...)
			old := used(e, dir)
			e.Eventually("the old name goes", func() bool {
				if strings.Contains(p.Output(), "not supported by kernel") {
					e.Skip("this kernel is too old for " + form)
				}
				return !exists(e, old)
			})
			e.End(p, dir)
		})
	}
	e.Each("no notify", func(e *exampletest.Env) {
		const timeout = 3 * time.Second
		dir := e.Mountpoint(0)
		p := e.Serve(dir, "--update-interval=1", "--no-notify", "--timeout=3")
		since := time.Now()
		old := used(e, dir)
		e.Eventually("the server has another name", func() bool { return name(e, dir) != filepath.Base(old) })
		there := exists(e, old)
		if time.Since(since) < timeout { // else this machine was too busy to tell
			require.True(e, there)
		}
		e.Eventually("the old name times out", func() bool { return !exists(e, old) })
		require.GreaterOrEqual(e, time.Since(since), timeout)
		e.End(p, dir)
	})
}

func TestExclusiveOptions(t *testing.T) {
	out, err := exampletest.Self("notify_inval_entry", "--only-expire", "--inc-epoch", "-f", t.TempDir()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "'only-expire' and 'inc-epoch' options are exclusive\n", string(out))
}

func TestHelp(t *testing.T) {
	out, err := exampletest.Self("notify_inval_entry", "-h").CombinedOutput()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(out), "usage: notify_inval_entry [options] <mountpoint>\n\n"+help), "%s", out)
	_, err = exampletest.Self("notify_inval_entry", "--timeout=x", t.TempDir()).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok)
	require.Equal(t, 1, exit.ExitCode())
}
