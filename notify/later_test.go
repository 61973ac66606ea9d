//go:build linux

package notify

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/wire"
)

// brief writes a message as "CODE node ...".
func brief(msg []byte) string {
	u64 := func(at int) uint64 { return binary.NativeEndian.Uint64(msg[headSize+at:]) }
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(msg[headSize+at:]) }
	code := wire.NotifyCode(binary.NativeEndian.Uint32(msg[4:]))
	switch code {
	case wire.NotifyInvalInode:
		return fmt.Sprintf("inode %d %d+%d", u64(0), int64(u64(8)), int64(u64(16)))
	case wire.NotifyInvalEntry:
		what := "entry"
		if u32(12) != 0 {
			what = "expire"
		}
		return fmt.Sprintf("%s %d %s", what, u64(0), bytes.TrimRight(msg[headSize+16:], "\x00"))
	case wire.NotifyDelete:
		return fmt.Sprintf("delete %d %s", u64(0), bytes.TrimRight(msg[headSize+24:], "\x00"))
	case wire.NotifyStore:
		return fmt.Sprintf("store %d %s", u64(0), msg[headSize+24:])
	case wire.NotifyPrune:
		return fmt.Sprintf("prune %d", u64(16))
	case wire.NotifyPoll:
		return fmt.Sprintf("poll %d", u64(0))
	}
	return code.String()
}

// taken waits until nothing is queued that no worker has taken.
func taken(n *Notifier) {
	for {
		n.c.q.mu.Lock()
		empty := n.c.q.size == 0
		n.c.q.mu.Unlock()
		if empty {
			return
		}
		runtime.Gosched()
	}
}

// held starts a queue all of whose workers are in the kernel, so that what follows waits. release lets everything go and
// returns what was sent of that.
func held(t *testing.T, o *Options) (n *Notifier, f *fake, release func() []string) {
	f = newFake(46)
	f.gate = make(chan struct{})
	n = New(f, o)
	for i := range maxWorkers {
		require.NoError(t, n.Later().InvalInode(NodeID(1000+i), -1, 0))
		taken(n)
	}
	return n, f, func() (list []string) {
		f.mu.Lock()
		f.sent = nil
		f.mu.Unlock()
		close(f.gate)
		require.NoError(t, n.Flush(t.Context()))
		for _, msg := range f.messages() {
			if s := brief(msg); !strings.HasSuffix(s, " -1+0") {
				list = append(list, s)
			}
		}
		return list
	}
}

func TestLaterMerges(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(n *Notifier) []error
		want []string
	}{
		{"the same", func(n *Notifier) []error {
			return []error{n.InvalEntry(1, "a"), n.InvalEntry(1, "b"), n.InvalEntry(1, "a"), n.InvalEntry(1, "b")}
		}, []string{"entry 1 a", "entry 1 b"}},
		{"expiry and more", func(n *Notifier) []error {
			return []error{n.ExpireEntry(1, "a"), n.InvalEntry(1, "a"), n.ExpireEntry(1, "a"), n.ExpireEntry(1, "b")}
		}, []string{"entry 1 a", "expire 1 b"}},
		{"ranges", func(n *Notifier) []error {
			return []error{n.InvalInode(1, -1, 0), n.InvalInode(1, 10, 10), n.InvalInode(1, 20, 5), n.InvalInode(1, 5, 3), n.InvalInode(1, -1, 0), n.InvalInode(1, 0, 6)}
		}, []string{"inode 1 10+15", "inode 1 0+8"}},
		{"ranges without end", func(n *Notifier) []error {
			return []error{n.InvalInode(1, 10, 0), n.InvalInode(1, 100, 10), n.InvalInode(1, 5, 10), n.InvalInode(1, 0, 1<<62)}
		}, []string{"inode 1 0+0"}},
		{"a range up to the largest offset", func(n *Notifier) []error {
			return []error{n.InvalInode(1, 1<<62, 1<<62), n.InvalInode(1, 1<<61, 1<<62)}
		}, []string{fmt.Sprintf("inode 1 %d+0", int64(1<<61))}},
		{"not across data", func(n *Notifier) []error {
			return []error{n.InvalInode(1, 0, 0), n.Store(1, 0, []byte("x")), n.InvalInode(1, 0, 0), n.InvalInode(1, 0, 0)}
		}, []string{"inode 1 0+0", "store 1 x", "inode 1 0+0"}},
		{"not across a deletion", func(n *Notifier) []error {
			return []error{n.InvalEntry(1, "a"), n.Delete(1, 2, "a"), n.InvalEntry(1, "a"), n.Delete(1, 2, "a")}
		}, []string{"entry 1 a", "delete 1 a", "entry 1 a", "delete 1 a"}},
		{"no node", func(n *Notifier) []error {
			return []error{n.IncEpoch(), n.Wakeup(3), n.IncEpoch(), n.Resend(), n.Wakeup(4), n.Wakeup(3), n.Resend()}
		}, []string{"INC_EPOCH", "poll 3", "RESEND", "poll 4"}},
		{"prune", func(n *Notifier) []error { return []error{n.Prune(7, 7), n.Prune(7)} }, []string{"prune 7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _, release := held(t, quiet())
			for _, err := range c.do(n.Later()) {
				require.NoError(t, err)
			}
			require.Equal(t, c.want, release())
		})
	}
}

// A message that is being sent does not stand for one that comes after it.
func TestLaterNotLost(t *testing.T) {
	f := newFake(46)
	f.gate = make(chan struct{})
	n := New(f, quiet())
	later := n.Later()
	require.NoError(t, later.InvalEntry(1, "a"))
	taken(n)
	require.NoError(t, later.InvalEntry(1, "a"))
	require.NoError(t, later.InvalEntry(1, "a"))
	close(f.gate)
	require.NoError(t, n.Flush(t.Context()))
	require.Len(t, f.messages(), 2)
}

// The caller's memory is its own again when the call returns.
func TestLaterKeepsData(t *testing.T) {
	n, _, release := held(t, quiet())
	p := []byte("good")
	require.NoError(t, n.Later().Store(2, 0, p[:2], p[2:]))
	copy(p, "evil")
	require.Equal(t, []string{"store 2 good"}, release())
}

func TestLaterBounds(t *testing.T) {
	o := quiet()
	o.Limit, o.Bytes = 3, 10
	n, f, release := held(t, o)
	later := n.Later()
	require.NoError(t, later.Store(1, 0, make([]byte, 20))) // too much alone is let through
	require.ErrorIs(t, later.Store(2, 0, []byte("x")), ErrFull)
	require.NoError(t, later.InvalEntry(3, "a"))
	require.NoError(t, later.InvalEntry(3, "b"))
	err := later.InvalEntry(3, "c")
	require.ErrorIs(t, err, ErrFull)
	require.ErrorIs(t, err, syscall.EAGAIN)
	require.NoError(t, later.InvalEntry(3, "a")) // what waits anyway is no load
	require.Len(t, release(), 3)
	require.NoError(t, later.InvalEntry(3, "c"))
	require.NoError(t, n.Flush(t.Context()))
	require.Equal(t, "entry 3 c", brief(f.messages()[len(f.messages())-1]))
}

func TestFlush(t *testing.T) {
	f := newFake(46)
	f.gate = make(chan struct{})
	var log bytes.Buffer
	n := New(f, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, n.Flush(t.Context())) // nothing to do
	f.err = func(msg []byte) error {
		switch msg[headSize] {
		case 1:
			return syscall.ENOENT
		case 2:
			return syscall.EIO
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, n.Later().InvalInode(1, 0, 0))
	require.ErrorIs(t, n.Flush(ctx), context.Canceled)
	require.NoError(t, n.Later().InvalInode(2, 0, 0))
	require.NoError(t, n.Later().InvalInode(3, 0, 0))
	close(f.gate)
	err := n.Flush(t.Context())
	require.ErrorIs(t, err, syscall.EIO)
	require.EqualError(t, err, "fuse: queued notification INVAL_INODE for node 2: input/output error")
	require.NoError(t, n.Flush(t.Context())) // told once
	require.Len(t, f.messages(), 3)
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
}

// Goroutines exist only while there is work.
func TestLaterIdle(t *testing.T) {
	n, _, release := held(t, quiet())
	for i := range 100 {
		require.NoError(t, n.Later().InvalInode(NodeID(i), 0, 0))
	}
	require.Len(t, release(), 100)
	for workers := 1; workers > 0; runtime.Gosched() { // the last ones are on their way out
		n.c.q.mu.Lock()
		workers = n.c.q.workers
		require.Empty(t, n.c.q.lanes)
		require.Zero(t, n.c.q.bytes)
		n.c.q.mu.Unlock()
	}
}

func TestStop(t *testing.T) {
	n, f, _ := held(t, quiet())
	require.NoError(t, n.Later().InvalEntry(1, "dropped"))
	waiting := make(chan error, 1)
	go func() { waiting <- n.Flush(context.Background()) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, n.Stop(ctx), context.Canceled)
	require.ErrorIs(t, n.Later().InvalEntry(1, "x"), syscall.ENOTCONN)
	require.ErrorIs(t, n.InvalEntry(1, "x"), syscall.ENOTCONN)
	close(f.gate)
	require.NoError(t, n.Stop(t.Context()))
	require.NoError(t, <-waiting)
	for _, msg := range f.messages() {
		require.NotContains(t, string(msg), "dropped")
	}
}

// Eight goroutines queue numbered data for a few nodes; each node gets what each goroutine sent, in its order.
func TestLaterOrder(t *testing.T) {
	const goroutines, nodes, each = 8, 5, 12500
	f := newFake(46)
	o := quiet()
	o.Limit = 1000
	n := New(f, o)
	later := n.Later()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				data := binary.NativeEndian.AppendUint32(nil, uint32(g))
				data = binary.NativeEndian.AppendUint32(data, uint32(i))
				for later.Store(NodeID(i%nodes), 0, data) != nil { // full
					n.Flush(context.Background())
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, n.Flush(t.Context()))
	require.Len(t, f.messages(), goroutines*each)
	last := map[[2]uint64]int{}
	for _, msg := range f.messages() {
		data := msg[headSize+24:]
		g, i := binary.NativeEndian.Uint32(data), int(binary.NativeEndian.Uint32(data[4:]))
		key := [2]uint64{binary.NativeEndian.Uint64(msg[headSize:]), uint64(g)}
		if prev, ok := last[key]; ok && prev >= i {
			require.Fail(t, "out of order", "node %d goroutine %d: %d after %d", key[0], g, i, prev)
		}
		last[key] = i
	}
}

// A guard hears of what can wait, and only in the direct form.
func TestGuard(t *testing.T) {
	var seen []string
	o := quiet()
	o.Guard = func(code wire.NotifyCode, nodes ...NodeID) func() {
		seen = append(seen, fmt.Sprint(code, nodes))
		return func() { seen = append(seen, "done") }
	}
	n := New(newFake(46), o)
	for _, form := range []*Notifier{n, n.Later()} {
		require.NoError(t, form.InvalInode(1, -1, 0))
		require.NoError(t, form.IncEpoch())
		require.NoError(t, form.Wakeup(1))
		require.NoError(t, form.Delete(1, 2, "x"))
		require.NoError(t, form.Store(3, 0, nil))
	}
	require.Equal(t, []string{"DELETE [1 2]", "done", "STORE [3]", "done"}, seen)
}
