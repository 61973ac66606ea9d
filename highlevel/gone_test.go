//go:build linux

package highlevel

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// TestCallerIsGone: what was opened or looked up for a caller whom the answer does not reach is released and forgotten.
func TestCallerIsGone(t *testing.T) {
	m := newMemFS()
	ops := m.ops()
	released := make(chan string, 4)
	ops.Opendir = func(_ *Context, _ string, fi *FileInfo) error { fi.FH = 99; return nil }
	ops.Releasedir = func(_ *Context, path string, fi *FileInfo) error {
		released <- "releasedir " + path
		return nil
	}
	ops.Release = func(_ *Context, path string, _ *FileInfo) error {
		released <- "release " + path
		return nil
	}
	var gone atomic.Bool
	o := fusetest.Options{Unanswered: true, Lenient: true}
	o.Faults.Write = func(_ int, _ []byte) (fault fusetest.Fault) {
		if gone.Load() {
			fault.Err = syscall.ENOENT
		}
		return fault
	}
	f, k := startAs(t, o, ops, nil)
	e, err := k.Mknod(root, "x", modeRegular, 0)
	require.NoError(t, err)
	require.Equal(t, "release /x", <-released)
	gone.Store(true)
	open := wire.OpenIn{Flags: uint32(os.O_RDWR)}
	k.Start(wire.OpOpen, e.NodeID, sys.Bytes(&open), nil)
	require.Equal(t, "release /x", <-released)
	k.Start(wire.OpOpendir, root, sys.Bytes(&open), nil)
	require.Equal(t, "releasedir /", <-released)
	require.Zero(t, f.dirs.Len())
	create := wire.CreateIn{Flags: uint32(os.O_RDWR), Mode: 0o644}
	k.Start(wire.OpCreate, root, sys.Bytes(&create), []byte("y\x00"))
	require.Equal(t, "release /y", <-released)
	f.nodes(t, 2)
	k.Start(wire.OpMkdir, root, make([]byte, 8), []byte("d\x00"))
	require.Eventually(t, func() bool { return m.tree()[0] == "/d" }, time.Minute, time.Millisecond)
	f.nodes(t, 2)
	gone.Store(false)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Zero(t, f.byID(e.NodeID).opens)
}
