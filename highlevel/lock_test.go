//go:build linux

package highlevel

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// TestSetLock compares the list of locks with one that is kept byte by byte.
func TestSetLock(t *testing.T) {
	const size, owners = 24, 3
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := &node{}
		var model [owners][size]int16
		for o := range model {
			for i := range model[o] {
				model[o][i] = syscall.F_UNLCK
			}
		}
		for range 40 {
			a, b := r.IntN(size), r.IntN(size)
			a, b = min(a, b), max(a, b)
			o := r.IntN(owners)
			kind := []int16{syscall.F_RDLCK, syscall.F_WRLCK, syscall.F_UNLCK}[r.IntN(3)]
			n.setLock(heldLock{Flock{Type: kind, Start: uint64(a), End: uint64(b), PID: uint32(o)}, uint64(o)})
			for i := a; i <= b; i++ {
				model[o][i] = kind
			}
			var got [owners][size]int16
			for o := range got {
				for i := range got[o] {
					got[o][i] = syscall.F_UNLCK
				}
			}
			if n.extra != nil {
				for _, h := range n.extra.locks {
					for i := h.Start; i <= h.End; i++ {
						require.EqualValues(t, syscall.F_UNLCK, got[h.owner][i], "locks of one owner overlap")
						got[h.owner][i] = h.Type
					}
				}
			}
			require.Equal(t, model, got)
			// Who asks for a byte is told of a conflict exactly if somebody else has it.
			at, asks := r.IntN(size), r.IntN(owners)
			want := false
			for o := range model {
				want = want || o != asks && model[o][at] != syscall.F_UNLCK
			}
			c := n.conflict(&heldLock{Flock{Type: syscall.F_WRLCK, Start: uint64(at), End: uint64(at)}, uint64(asks)})
			require.Equal(t, want, c != nil)
		}
	}
	n := &node{}
	n.setLock(heldLock{Flock{Type: syscall.F_WRLCK, Start: 5, End: lowlevel.LockEOF}, 1})
	n.setLock(heldLock{Flock{Type: syscall.F_WRLCK, Start: 0, End: 4}, 1})
	require.Equal(t, []heldLock{{Flock{Type: syscall.F_WRLCK, End: lowlevel.LockEOF}, 1}}, n.extra.locks)
	n.setLock(heldLock{Flock{Type: syscall.F_UNLCK, End: lowlevel.LockEOF}, 1})
	require.Empty(t, n.extra.locks)
}

func TestLocks(t *testing.T) {
	m := newMemFS()
	ops := m.ops()
	var cmds []int
	ops.Lock = func(_ *Context, _ string, _ *FileInfo, cmd int, lk *Flock) error {
		cmds = append(cmds, cmd)
		if cmd == syscall.F_GETLK {
			lk.Type = syscall.F_UNLCK
		}
		return nil
	}
	_, k := start(t, ops, nil)
	require.NotZero(t, k.Flags()&wire.InitPosixLocks)
	e, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	h2, err := k.Open(e.NodeID, os.O_RDWR)
	require.NoError(t, err)
	h.LockOwner, h2.LockOwner = 1, 2
	require.NoError(t, h.Setlk(wire.FileLock{Type: syscall.F_WRLCK, Start: 10, End: 19, PID: 7}, false))
	got, err := h2.Getlk(wire.FileLock{Type: syscall.F_RDLCK, Start: 0, End: 100})
	require.NoError(t, err)
	require.Equal(t, wire.FileLock{Type: syscall.F_WRLCK, Start: 10, End: 19, PID: 7}, got)
	require.Equal(t, []int{syscall.F_SETLK}, cmds, "a conflict that is known needs no call")
	got, err = h2.Getlk(wire.FileLock{Type: syscall.F_RDLCK, Start: 20, End: 100})
	require.NoError(t, err)
	require.EqualValues(t, syscall.F_UNLCK, got.Type)
	// Closing any descriptor drops the owner's locks; there is no Flush, but the locks need it.
	require.NoError(t, h.Close())
	got, err = h2.Getlk(wire.FileLock{Type: syscall.F_RDLCK, Start: 0, End: 100})
	require.NoError(t, err)
	require.EqualValues(t, syscall.F_UNLCK, got.Type)
	require.NoError(t, h2.Close())
}

// TestBlockedLock: a lock that waits is in nobody's way, so that its owner can first rename the directory.
func TestBlockedLock(t *testing.T) {
	m := newMemFS()
	ops := m.ops()
	inside, free := make(chan struct{}), make(chan struct{})
	ops.Lock = func(_ *Context, _ string, _ *FileInfo, cmd int, _ *Flock) error {
		if cmd == syscall.F_SETLKW {
			close(inside)
			<-free
		}
		return nil
	}
	_, k := start(t, ops, nil)
	d, err := k.Mkdir(root, "d", 0o755)
	require.NoError(t, err)
	_, h, err := k.Create(d.NodeID, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- h.Setlk(wire.FileLock{Type: syscall.F_WRLCK, End: 1}, true) }()
	<-inside
	renamed := make(chan error, 1)
	go func() { renamed <- k.Rename(root, "d", root, "e", 0) }()
	select {
	case err := <-renamed:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("rename waits for the lock")
	}
	close(free)
	require.NoError(t, <-done)
	require.NoError(t, h.Close())
}
