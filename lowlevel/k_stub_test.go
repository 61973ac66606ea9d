//go:build linux

package lowlevel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// stub is a session.Transport that makes requests itself, with nothing between it and the dispatcher.
type stub struct {
	queues  []*stubQueue
	grown   atomic.Int32
	stopped chan struct{}
	once    sync.Once
}

// stubQueue is one queue of a stub. next fills a free frame, and reports whether there is a request; nil means that frames come
// by in.
type stubQueue struct {
	t    *stub
	in   chan *session.Frame
	next func(f *stubFrame) bool
	over func(f *stubFrame, r *session.Reply) // r is nil for a dropped request

	mu    sync.Mutex
	free  []*stubFrame
	freed chan struct{} // capacity 1: a frame may be free
}

type stubFrame struct {
	session.Frame
	mem  [32]uint64
	room []byte
}

func newStub(queues, frames int) *stub {
	t := &stub{stopped: make(chan struct{})}
	for range queues {
		q := &stubQueue{t: t, in: make(chan *session.Frame), freed: make(chan struct{}, 1)}
		for range frames {
			f := &stubFrame{}
			f.Joined, f.Data = true, f
			q.free = append(q.free, f)
		}
		t.queues = append(t.queues, q)
	}
	return t
}

// request makes f a request.
func (f *stubFrame) request(op wire.Opcode, unique uint64, ino lowlevel.NodeID, body []byte) *session.Frame {
	mem := sys.Words(f.mem[:])
	h := sys.As[wire.InHeader](mem)
	*h = wire.InHeader{Len: uint32(40 + len(body)), Opcode: uint32(op), Unique: unique, NodeID: uint64(ino)}
	n := copy(mem[40:], body)
	f.Header, f.Op, f.Payload = mem[:40], mem[40:40+n], nil
	return &f.Frame
}

func (t *stub) First() session.Queue       { return t.queues[0] }
func (t *stub) Start(session.Limits) error { return nil }
func (t *stub) Grow() (session.Queue, error) {
	if n := int(t.grown.Add(1)); n < len(t.queues) {
		return t.queues[n], nil
	}
	return nil, nil
}
func (t *stub) Retire(session.Queue) {}
func (t *stub) Send(...[]byte) error { return nil }
func (t *stub) Stop()                { t.once.Do(func() { close(t.stopped) }) }
func (t *stub) Device() int          { return -1 }
func (t *stub) Close() error         { t.Stop(); return nil }

func (q *stubQueue) Receive(dst []*session.Frame) (int, error) {
	if q.next == nil {
		select {
		case dst[0] = <-q.in:
			return 1, nil
		case <-q.t.stopped:
			return 0, session.ErrStopped
		}
	}
	for {
		q.mu.Lock()
		n := 0
		for n < len(dst) && len(q.free) > 0 {
			f := q.free[len(q.free)-1]
			if !q.next(f) {
				break
			}
			q.free = q.free[:len(q.free)-1]
			dst[n] = &f.Frame
			n++
		}
		q.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-q.freed:
		case <-q.t.stopped:
			return 0, session.ErrStopped
		}
	}
}

func (q *stubQueue) Room(f *session.Frame, n int) []byte {
	sf := f.Data.(*stubFrame)
	if len(sf.room) < n {
		sf.room = make([]byte, n)
	}
	return sf.room[:n]
}

func (q *stubQueue) Reply(f *session.Frame, r *session.Reply) error {
	q.end(f, r)
	return nil
}

func (q *stubQueue) Drop(f *session.Frame) { q.end(f, nil) }

func (q *stubQueue) end(f *session.Frame, r *session.Reply) {
	sf := f.Data.(*stubFrame)
	q.over(sf, r)
	if q.next == nil {
		return
	}
	q.mu.Lock()
	q.free = append(q.free, sf)
	q.mu.Unlock()
	select {
	case q.freed <- struct{}{}:
	default:
	}
}

// serve runs a session of ops on t until the test ends.
func serve(tb testing.TB, t *stub, ops *lowlevel.Operations, cfg lowlevel.Config) *lowlevel.Session {
	cfg.Logger = quiet
	s, err := lowlevel.New(ops, &cfg)
	require.NoError(tb, err)
	require.NoError(tb, s.Use(t))
	over := make(chan error, 1)
	go func() { over <- s.Serve(context.Background()) }()
	tb.Cleanup(func() {
		require.NoError(tb, s.Close())
		require.NoError(tb, <-over)
	})
	return s
}

// initBody is INIT's argument from the newest kernel.
var initBody = sys.Bytes(&wire.InitIn{Major: wire.KernelMajor, Minor: wire.KernelMinor})

// TestStaleReplies keeps handles of answered requests and replies to them again while their memory serves others, a million times:
// every request gets exactly the reply that was meant for it, and every other reply is refused.
func TestStaleReplies(t *testing.T) {
	const (
		total   = 1_000_000
		queues  = 2
		frames  = 24
		keep    = 64
		foreign = syscall.EXDEV // what nobody answers in earnest
	)
	meant := func(unique uint64) lowlevel.Errno { return lowlevel.Errno(1 + unique%17) } // never EXDEV, 18
	var (
		sent, answered, refused atomic.Uint64
		wrong                   atomic.Uint64
		done                    = make(chan struct{})
		kept                    [keep]atomic.Pointer[lowlevel.AttrReq]
		late                    = make(chan lowlevel.AttrReq, 64)
		workers                 sync.WaitGroup
	)
	tr := newStub(queues, frames)
	over := func(f *stubFrame, r *session.Reply) {
		h := sys.As[wire.InHeader](f.Header)
		o := sys.As[wire.OutHeader](r.Head)
		if wire.Opcode(h.Opcode) == wire.OpInit {
			return
		}
		if o.Unique != h.Unique || o.Error != -int32(meant(h.Unique)) || o.Len != 16 {
			wrong.Add(1)
		}
		if answered.Add(1) == total {
			close(done)
		}
	}
	var inited atomic.Bool
	for i, q := range tr.queues {
		q.over = over
		q.next = func(f *stubFrame) bool {
			if i == 0 && inited.CompareAndSwap(false, true) {
				f.request(wire.OpInit, 1, 0, initBody)
				return true
			}
			n := sent.Add(1)
			if n > total {
				return false
			}
			f.request(wire.OpGetattr, n, root, make([]byte, 16))
			return true
		}
	}
	again := func(r lowlevel.AttrReq) {
		if err := r.ReplyErr(foreign); errors.Is(err, lowlevel.ErrReplied) {
			refused.Add(1)
		} else {
			wrong.Add(1)
		}
	}
	keepIt := func(r lowlevel.AttrReq, slot uint64) {
		if old := kept[slot%keep].Swap(&r); old != nil {
			again(*old)
		}
	}
	ops := &lowlevel.Operations{Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) {
		u := r.Unique()
		if u%4 == 0 {
			late <- r
			return
		}
		r.ReplyErr(meant(u))
		again(r)
		keepIt(r, u)
	}}
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		workers.Go(func() { // answers later, from elsewhere
			for {
				select {
				case r := <-late:
					u := r.Unique()
					r.ReplyErr(meant(u))
					keepIt(r, u)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	workers.Go(func() { // replies to old handles at random
		for ctx.Err() == nil {
			if r := kept[rand.IntN(keep)].Load(); r != nil {
				again(*r)
			}
			runtime.Gosched() // with one processor the others would wait for their turn
		}
	})
	serve(t, tr, ops, lowlevel.Config{Interrupts: lowlevel.InterruptOff})
	<-done
	cancel()
	workers.Wait()
	require.EqualValues(t, total, answered.Load())
	require.Zero(t, wrong.Load())
	require.Greater(t, refused.Load(), uint64(total))
}

// TestNoAllocations counts what the hot operations allocate on the way from the queue to the reply.
func TestNoAllocations(t *testing.T) {
	tr := newStub(1, 1)
	q := tr.queues[0]
	answered := make(chan struct{})
	var last int
	q.over = func(_ *stubFrame, r *session.Reply) {
		last = 0
		if r != nil {
			last = int(sys.As[wire.OutHeader](r.Head).Len)
		}
		answered <- struct{}{}
	}
	e := entry(fileMode)
	data := make([]byte, 4096)
	st := lowlevel.Stat{Ino: 1, Mode: dirMode}
	ops := yes()
	ops.Lookup = func(r lowlevel.EntryReq, _ lowlevel.NodeID, name lowlevel.Name) {
		if slices.Equal(name.Bytes(), []byte("name")) {
			r.ReplyEntry(e)
		}
	}
	ops.Getattr = func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { r.ReplyAttr(&st, 1) }
	ops.Read = func(r lowlevel.DataReq, _ lowlevel.NodeID, size int, _ int64, _ *lowlevel.FileInfo) {
		if size == 1 {
			r.ReplyBuf(data)
			return
		}
		room := r.Room(size)
		copy(room, data)
		r.ReplyBuf(room)
	}
	ops.Readdir = func(r lowlevel.DirReq, _ lowlevel.NodeID, _ int, _ uint64, _ *lowlevel.FileInfo) {
		for i := range uint64(20) {
			r.Add("some name", &st, i+1)
		}
		r.Reply()
	}
	ops.Readdirplus = func(r lowlevel.PlusReq, _ lowlevel.NodeID, _ int, _ uint64, _ *lowlevel.FileInfo) {
		for i := range uint64(5) {
			r.Add("some name", e, i+1)
		}
		r.Reply()
	}
	ops.Bmap, ops.Unlink = nil, nil
	ops.ForgetMulti = nil
	serve(t, tr, ops, lowlevel.Config{Workers: 1})
	f := q.free[0]
	f.request(wire.OpInit, 1, 0, initBody)
	q.in <- &f.Frame
	<-answered

	read := func(size uint32) []byte { return sys.Bytes(&wire.ReadIn{FH: 1, Size: size}) }
	for _, c := range []struct {
		name string
		op   wire.Opcode
		body []byte
		size int
	}{
		{"LOOKUP", wire.OpLookup, []byte("name\x00"), 144},
		{"GETATTR", wire.OpGetattr, make([]byte, 16), 120},
		{"GETATTR of a handle", wire.OpGetattr, sys.Bytes(&wire.GetattrIn{GetattrFlags: 1, FH: 5}), 120},
		{"READ into Room", wire.OpRead, read(4096), 16 + 4096},
		{"READ of own memory", wire.OpRead, read(1), 16 + 4096},
		{"WRITE", wire.OpWrite, append(slices.Clone(sys.Bytes(&wire.WriteIn{Size: 100})), make([]byte, 100)...), 24},
		{"FORGET", wire.OpForget, make([]byte, 8), 0},
		{"BATCH_FORGET", wire.OpBatchForget, append(slices.Clone(sys.Bytes(&wire.BatchForgetIn{Count: 2})), make([]byte, 32)...), 0},
		{"unknown operation", 77, nil, 16},
		{"unimplemented operation", wire.OpBmap, make([]byte, 16), 16},
		{"unimplemented operation with a name", wire.OpUnlink, []byte("name\x00"), 16},
		{"OPEN", wire.OpOpen, make([]byte, 8), 32},
		{"FLUSH", wire.OpFlush, make([]byte, 24), 16},
		{"RELEASE", wire.OpRelease, make([]byte, 24), 16},
		{"READDIR", wire.OpReaddir, read(4096), 16 + 20*40},
		{"READDIRPLUS", wire.OpReaddirplus, read(4096), 16 + 5*168},
	} {
		t.Run(c.name, func(t *testing.T) {
			unique := uint64(10)
			once := func() {
				unique += 2
				f.request(c.op, unique, root, c.body)
				q.in <- &f.Frame
				<-answered
			}
			once()
			require.Equal(t, c.size, last)
			require.Zero(t, testing.AllocsPerRun(1000, once))
		})
	}
}
