//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Where a mount cannot be, one line says why, the exit code is libfuse's, and nothing is left.
func TestMountErrors(t *testing.T) {
	e := exampletest.Isolated(t, "hello_ll")
	if e == nil {
		return
	}
	c := e.CompileC("hello_ll")
	require.NoError(t, os.Chmod(filepath.Dir(c), 0o755))
	fifo := filepath.Join(e.Dir, "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o644))
	stale := e.Mountpoint(0)
	p := e.Serve(stale)
	p.Signal(unix.SIGKILL)
	require.Equal(t, -1, p.Exit())
	require.Eventually(t, func() bool { // until then the kernel answers with the attributes that it knows
		return unix.Stat(stale, new(unix.Stat_t)) == unix.ENOTCONN
	}, 30*time.Second, 10*time.Millisecond)
	tables := func() string {
		text, err := os.ReadFile("/proc/self/mountinfo")
		require.NoError(t, err)
		return string(text)
	}
	before := tables()
	fails := func(name string, uid uint32, says string, args ...string) {
		e.Each(name, func(e *exampletest.Env) {
			code, out := e.Finish(exampletest.As(uid, e.Command(args...)))
			require.Equal(e, 1, code)
			require.Regexp(e, "^fuse: [^\n]+\n$", out)
			require.Contains(e, out, says)
			if name != "fifo" { // which libfuse mounts on
				code, _ := e.Finish(exampletest.As(uid, exec.Command(c, args...)))
				require.Equal(e, 1, code)
			}
			require.Equal(e, before, tables())
		})
	}
	dir, users := e.Mountpoint(0), e.Mountpoint(exampletest.Nobody)
	for _, where := range []string{"-f", "-s"} { // -s: in the background
		fails("missing "+where, 0, dir+"/none': No such file or directory", where, dir+"/none")
		fails("below a file "+where, 0, "Not a directory", where, c+"/x")
		fails("fifo", 0, "neither a directory nor a regular file", where, fifo)
		fails("stale "+where, 0, "ransport endpoint is not connected", where, stale)
		fails("no right "+where, exampletest.Nobody, "no write access to mountpoint", where, dir)
		fails("bad number "+where, 0, "max_read=x", where, "-o", "max_read=x", dir)
		fails("unknown option "+where, exampletest.Nobody, "unknown option(s): `-o bogus'", where, "-o", "bogus", users)
	}

	require.NoError(t, unix.Mount("dev", "/dev", "tmpfs", 0, ""))
	require.NoError(t, os.WriteFile("/dev/null", nil, 0o666))
	t.Cleanup(func() { unix.Unmount("/dev", unix.MNT_DETACH) })
	before = tables()
	fails("no device", 0, "device not found: /dev/fuse", "-f", dir)
	fails("no device in the background", 0, "device not found: /dev/fuse", dir)
	fails("no device for a user", exampletest.Nobody, "device not found: /dev/fuse", "-f", users)
	require.NotNil(t, e.Mounted(stale), "is somebody else's")
	require.NoError(t, unix.Unmount(stale, 0))
}
