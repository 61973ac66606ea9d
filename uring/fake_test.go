//go:build linux

package uring

import (
	"bytes"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/iouring"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// answer is one commit as the kernel sees it.
type answer struct {
	commit  uint64
	out     wire.OutHeader
	payload []byte
}

// fakeRing is a ring with the kernel's side of a queue: entries that it was given get the requests of a test.
type fakeRing struct {
	id int
	q  func() *queue // whose ring it is

	mu          sync.Mutex
	changed     sync.Cond
	pushed      []iouring.Command
	unused      []uint64 // entries without a request
	waiting     [][3][]byte
	completions []iouring.Completion
	answers     []answer
	enters      []int                                 // how many commands each submitted
	refuse      func(c iouring.Command) (errno int32) // answers a command at once
	closed      bool
}

func (r *fakeRing) Push(c iouring.Command) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Payload = bytes.Clone(c.Payload)
	r.pushed = append(r.pushed, c)
}

func (r *fakeRing) PushPoll(fd int, user uint64) {
	go func() {
		sys.WaitRead(fd, -1)
		r.complete(user, 0)
	}()
}

func (r *fakeRing) complete(user uint64, res int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.completions = append(r.completions, iouring.Completion{User: user, Res: res})
	r.changed.Broadcast()
}

func (r *fakeRing) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pushed)
}

func (r *fakeRing) Ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.completions) > 0
}

func (r *fakeRing) Enter(wait int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.pushed); n > 0 {
		r.enters = append(r.enters, n)
	}
	for _, c := range r.pushed {
		r.take(c)
	}
	r.pushed = nil
	r.deliver()
	r.changed.Broadcast()
	for len(r.completions) < wait {
		r.changed.Wait()
	}
	return nil
}

// take is what the kernel does with one command.
func (r *fakeRing) take(c iouring.Command) {
	req := sys.As[wire.UringCmdReq](c.Payload)
	if int(req.QID) != r.id {
		panic("command for another queue")
	}
	if r.refuse != nil {
		if errno := r.refuse(c); errno != 0 {
			r.completions = append(r.completions, iouring.Completion{User: c.User, Res: -errno})
			return
		}
	}
	if wire.UringCmd(c.Op) == wire.UringCmdCommitAndFetch {
		e := r.q().entries[c.User]
		n := sys.As[wire.UringReqHeader](e.header).RingEntInOut.PayloadSz
		r.answers = append(r.answers, answer{req.CommitID, *sys.As[wire.OutHeader](e.header), bytes.Clone(e.payload[:n])})
	}
	r.unused = append(r.unused, c.User)
}

// deliver puts waiting requests into unused entries.
func (r *fakeRing) deliver() {
	for len(r.waiting) > 0 && len(r.unused) > 0 {
		w, user := r.waiting[0], r.unused[0]
		r.waiting, r.unused = r.waiting[1:], r.unused[1:]
		e := r.q().entries[user]
		copy(e.header, w[0])
		copy(e.header[opOffset:], w[1])
		copy(e.payload, w[2])
		io := &sys.As[wire.UringReqHeader](e.header).RingEntInOut
		io.CommitID, io.PayloadSz = sys.As[wire.InHeader](w[0]).Unique, uint32(len(w[2]))
		r.completions = append(r.completions, iouring.Completion{User: user})
	}
}

func (r *fakeRing) Pop() (iouring.Completion, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.completions) == 0 {
		return iouring.Completion{}, false
	}
	c := r.completions[0]
	r.completions = r.completions[1:]
	return c, true
}

func (r *fakeRing) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

// request makes the kernel send one.
func (r *fakeRing) request(op wire.Opcode, unique uint64, fixed, payload string) {
	h := wire.InHeader{Opcode: uint32(op), Unique: unique, NodeID: 1}
	h.Len = uint32(sys.SizeOf[wire.InHeader]() + len(fixed) + len(payload))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, [3][]byte{bytes.Clone(sys.Bytes(&h)), []byte(fixed), []byte(payload)})
	r.deliver()
	r.changed.Broadcast()
}

// answered waits for n answers and returns all there are.
func (r *fakeRing) answered(n int) []answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.answers) < n {
		r.changed.Wait()
	}
	return slices.Clone(r.answers)
}

// end is the end of the connection for all entries that the kernel has.
func (r *fakeRing) end(errno syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, user := range r.unused {
		r.completions = append(r.completions, iouring.Completion{User: user, Res: -int32(errno)})
	}
	r.unused = nil
	r.changed.Broadcast()
}

// device stands for the device's transport.
type device struct {
	sent    [][]byte
	stopped bool
	closed  bool
}

func (d *device) First() session.Queue         { return nil }
func (d *device) Start(session.Limits) error   { return nil }
func (d *device) Grow() (session.Queue, error) { return nil, nil }
func (d *device) Retire(session.Queue)         {}
func (d *device) Send(parts ...[]byte) error {
	d.sent = append(d.sent, bytes.Join(parts, nil))
	return nil
}
func (d *device) Stop()        { d.stopped = true }
func (d *device) Device() int  { return 0 }
func (d *device) Close() error { d.closed = true; return nil }

// rig is a started transport over fake rings.
type rig struct {
	*Transport
	dev   *device
	rings []*fakeRing
	log   *bytes.Buffer
	ended bool // the connection
	mu    sync.Mutex
}

func (r *rig) setEnded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

func unstarted(depth, cpus int) *rig {
	r := &rig{dev: &device{}, log: new(bytes.Buffer)}
	r.Transport = New(r.dev, &Config{Depth: depth, Logger: slog.New(slog.NewTextHandler(r.log, nil))})
	r.cpus = func() (int, error) { return cpus, nil }
	r.gone = func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.ended
	}
	r.newRing = func(entries, file int) (ring, error) {
		f := &fakeRing{id: len(r.rings)}
		f.changed.L = &f.mu
		f.q = func() *queue { return r.list()[f.id] }
		r.rings = append(r.rings, f)
		return f, nil
	}
	return r
}

func started(t *testing.T, depth, cpus int) *rig {
	r := unstarted(depth, cpus)
	require.NoError(t, r.Start(session.Limits{MaxWrite: 4096, MaxRead: 16384, URing: true}))
	require.NoError(t, r.Err())
	require.Len(t, r.Queues(), cpus)
	t.Cleanup(func() { r.Close() })
	return r
}

// worker is a goroutine that calls Receive when told to.
type worker struct {
	frames  []*session.Frame
	results chan result
	calls   chan struct{}
}

type result struct {
	frames []*session.Frame
	err    error
}

func newWorker(t *testing.T, q session.Queue) *worker {
	w := &worker{frames: make([]*session.Frame, 8), results: make(chan result), calls: make(chan struct{})}
	go func() {
		for range w.calls {
			n, err := q.Receive(w.frames)
			w.results <- result{slices.Clone(w.frames[:n]), err}
		}
	}()
	t.Cleanup(func() { close(w.calls) })
	return w
}

// begin has the worker call Receive, wait returns what that returned.
func (w *worker) begin()       { w.calls <- struct{}{} }
func (w *worker) wait() result { return <-w.results }
func (w *worker) receive() result {
	w.begin()
	return w.wait()
}

// reply is an answer with a fixed part and parts of payload.
func reply(unique uint64, errno syscall.Errno, fixed string, parts ...[]byte) *session.Reply {
	head := sys.Words(make([]uint64, 16))
	*sys.As[wire.OutHeader](head) = wire.OutHeader{Error: -int32(errno), Unique: unique}
	n := copy(head[outHeaderSize:], fixed)
	return &session.Reply{Head: head[:outHeaderSize+n], Payload: parts}
}
