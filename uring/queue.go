//go:build linux

package uring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/iouring"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

const (
	// yieldAfter is how long a worker may go without passing through the scheduler: after 10 ms the runtime's monitor takes its
	// P away at each of its rounds.
	yieldAfter = 4 * time.Millisecond
	// retryPause is the pause before a command goes out again that the kernel could not take yet.
	retryPause = time.Millisecond
	// reapWait bounds how long close waits for the entries of a connection that has ended.
	reapWait = 500 * time.Millisecond

	wakeUser = 1 << 32 // user data of the wait for Stop; that of an entry is its index

	inHeaderSize  = 40
	outHeaderSize = 16
	opOffset      = wire.UringInOutHeaderSize
	vecOffset     = 1024 // in the header's page, behind what the kernel uses of it
)

// state says whose an entry is.
type state uint8

const (
	idle   state = iota // nobody's: not registered, or ended
	kernel              // the kernel's, a completion will come
	hand                // a request's
)

// entry is memory for one request.
type entry struct {
	session.Frame
	q       *queue
	index   uint64
	mem     []byte // all of it, mapped outside the Go heap
	header  []byte // one page with struct fuse_uring_req_header
	payload []byte

	// Under the queue's lock.
	state      state
	registered bool // the kernel has had it once
	batch      uint64

	commit uint64 // the request's number for the kernel
	cmd    wire.UringCmdReq
	in     int // bytes of payload that came with the request
}

// queue is one CPU's ring. Its lock guards pushing, the states of the entries, and its end.
type queue struct {
	t       *Transport
	id      int
	ring    ring
	wake    sys.Event
	entries []*entry
	yielded time.Duration // the worker's

	mu         sync.Mutex
	left       sync.Cond // receiving has become false
	begun      bool
	receiving  bool   // the worker is in Receive
	batch      uint64 // counts calls of Receive: what they delivered is handled before the next one
	inKernel   int
	gone       bool // the connection has ended
	closed     bool
	timer      *time.Timer
	armed      bool // timer runs
	timerBatch uint64
}

func (t *Transport) newQueue(id, payload int) (_ *queue, err error) {
	q := &queue{t: t, id: id}
	q.left.L = &q.mu
	if q.wake, err = sys.NewEvent(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			q.wake.Close()
			for _, e := range q.entries {
				sys.Unmap(e.mem)
			}
		}
	}()
	page := sys.PageSize
	for i := range t.cfg.Depth {
		mem, err := sys.Map(page + (payload+page-1)&^(page-1))
		if err != nil {
			return nil, err
		}
		e := &entry{q: q, index: uint64(i), mem: mem, header: mem[:page:page], payload: mem[page:]}
		e.Data, e.URing = e, true
		q.entries = append(q.entries, e)
	}
	q.timer = time.AfterFunc(time.Hour, q.tick)
	q.timer.Stop()
	q.ring, err = t.newRing(t.cfg.Depth+1, t.Device())
	return q, err
}

// begin is the worker's first act: it takes a thread to the queue's CPU and offers the entries to the kernel.
func (q *queue) begin() {
	q.begun = true
	runtime.LockOSThread() // for ever: the thread ends with the goroutine, and nobody gets it with our affinity
	if err := sys.PinThread(q.id); err != nil {
		q.t.log.Debug("fuse: io_uring: worker is not bound to its CPU", "cpu", q.id, "err", err)
	}
	q.ring.PushPoll(int(q.wake), wakeUser)
	for _, e := range q.entries {
		q.register(e)
	}
}

// register and fetch give an entry to the kernel. The caller holds the lock.
func (q *queue) register(e *entry) {
	e.registered = false
	vec := iouring.SetVec(e.header[vecOffset:], e.header[:sys.SizeOf[wire.UringReqHeader]()], e.payload)
	q.push(e, wire.UringCmdRegister, wire.UringCmdReq{QID: uint16(q.id)}, vec)
}

func (q *queue) fetch(e *entry) {
	q.push(e, wire.UringCmdCommitAndFetch, wire.UringCmdReq{QID: uint16(q.id), CommitID: e.commit}, nil)
}

func (q *queue) push(e *entry, op wire.UringCmd, c wire.UringCmdReq, vec []byte) {
	e.state, e.cmd = kernel, c
	q.inKernel++
	q.ring.Push(iouring.Command{Op: uint32(op), Payload: sys.Bytes(&e.cmd), Vec: vec, User: e.index})
}

// Receive waits for requests. It also submits the replies to those that the call before it delivered.
func (q *queue) Receive(dst []*session.Frame) (int, error) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return 0, session.ErrStopped
	}
	q.receiving = true
	q.batch++
	if !q.begun {
		q.begin()
	}
	q.mu.Unlock()
	n, err := q.receive(dst)
	q.mu.Lock()
	q.receiving = false
	q.left.Broadcast()
	q.mu.Unlock()
	return n, err
}

func (q *queue) receive(dst []*session.Frame) (int, error) {
	for {
		if q.t.stopped.Load() {
			if err := q.enter(0); err != nil {
				return 0, err
			}
			return 0, session.ErrStopped
		}
		if now := time.Since(q.t.epoch); now-q.yielded > yieldAfter {
			q.yielded = now
			if err := q.enter(0); err != nil {
				return 0, err
			}
			runtime.Gosched()
		}
		wait := 1
		if q.ring.Ready() {
			wait = 0
		}
		if err := q.enter(wait); err != nil {
			return 0, err
		}
		n, again, err := q.reap(dst)
		if n > 0 || err != nil {
			return n, err
		}
		if again {
			time.Sleep(retryPause)
		}
	}
}

// enter submits what is pending and waits for a completion if told so.
func (q *queue) enter(wait int) error {
	if wait == 0 && q.ring.Pending() == 0 {
		return nil
	}
	switch err := q.ring.Enter(wait); {
	case err == nil, errors.Is(err, syscall.EINTR):
		return nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EBUSY): // the kernel is short of memory
		time.Sleep(retryPause)
		return nil
	default:
		return fmt.Errorf("fuse: io_uring queue %d: io_uring_enter: %w", q.id, err)
	}
}

// submit is enter for others than the worker.
func (q *queue) submit() {
	for {
		q.mu.Lock()
		pending := !q.closed && q.ring.Pending() > 0
		q.mu.Unlock()
		if !pending { // and the flusher ends before the ring does
			return
		}
		if err := q.enter(0); err != nil {
			q.t.log.Error(err.Error())
			return
		}
	}
}

// reap takes completions and makes frames of them; again says that something was pushed that should not be tried at once.
func (q *queue) reap(dst []*session.Frame) (n int, again bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n < len(dst) {
		c, ok := q.ring.Pop()
		if !ok {
			break
		}
		if c.User == wakeUser {
			continue
		}
		e := q.entries[c.User]
		q.inKernel--
		e.state = idle
		if c.Res < 0 {
			retry, err := q.failed(e, syscall.Errno(-c.Res))
			if err != nil {
				return n, false, err
			}
			again = again || retry
			continue
		}
		if err := q.deliver(e); err != nil {
			return n, false, err
		}
		dst[n] = &e.Frame
		n++
	}
	if n == 0 && q.gone && q.inKernel == 0 {
		return 0, false, io.EOF
	}
	return n, again, nil
}

// deliver makes a frame of what the kernel has put into e.
func (q *queue) deliver(e *entry) error {
	h := sys.As[wire.UringReqHeader](e.header)
	n := int64(h.RingEntInOut.PayloadSz)
	if h.RingEntInOut.CommitID == 0 || n > int64(len(e.payload)) {
		return fmt.Errorf("fuse: io_uring queue %d: request %d with %d bytes", q.id, h.RingEntInOut.CommitID, n)
	}
	e.state, e.registered, e.batch = hand, true, q.batch
	e.commit, e.in = h.RingEntInOut.CommitID, int(n)
	e.Header = e.header[:inHeaderSize:inHeaderSize]
	e.Op = e.header[opOffset : opOffset+wire.UringOpInOutSize : opOffset+wire.UringOpInOutSize]
	e.Payload = e.payload[:n:n]
	return nil
}

// failed sees to an entry that came back without a request. An error is one after which requests could be lost.
func (q *queue) failed(e *entry, errno syscall.Errno) (again bool, err error) {
	if q.gone || q.t.gone() {
		q.gone = true
		return false, nil
	}
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR: // FUSE_INIT is not quite answered
		if e.registered {
			q.fetch(e)
		} else {
			q.register(e)
		}
		return true, nil
	case errno == syscall.ENOTCONN || errno == syscall.ECONNABORTED: // taken back from the kernel while it was unused
		q.register(e)
		return true, nil
	case !e.registered:
		// The kernel now sends everything through the device, unless all queues have got an entry each.
		if !q.t.refused.Swap(true) {
			q.t.log.Warn("fuse: io_uring: the kernel refuses an entry", "queue", q.id, "err", errno)
		}
		return false, nil
	}
	return false, fmt.Errorf("fuse: io_uring queue %d: answering request %d: %w", q.id, e.commit, errno)
}

// Room returns payload memory, from which a reply needs no copy. What came with the request is not overwritten.
func (q *queue) Room(f *session.Frame, n int) []byte {
	e := f.Data.(*entry)
	if e.in == 0 && n <= len(e.payload) {
		return e.payload[:n]
	}
	return make([]byte, n)
}

// Reply answers. The kernel's verdict on the answer comes when nobody waits for it: an error is only what can be said before.
func (q *queue) Reply(f *session.Frame, r *session.Reply) error {
	e := f.Data.(*entry)
	err := e.put(r)
	if gone := q.commit(e); gone != nil {
		return gone
	}
	return err
}

// Drop answers, too: the kernel's entry is free only then. The kernel does not look at an answer to what expects none.
func (q *queue) Drop(f *session.Frame) {
	e := f.Data.(*entry)
	e.answer(0, 0)
	q.commit(e)
}

// answer writes a reply's header; n bytes of the payload follow it.
func (e *entry) answer(errno syscall.Errno, n int) {
	h := sys.As[wire.UringReqHeader](e.header)
	out := sys.As[wire.OutHeader](e.header)
	unique := sys.As[wire.InHeader](e.header).Unique
	*out = wire.OutHeader{Len: uint32(outHeaderSize + n), Error: -int32(errno), Unique: unique}
	h.RingEntInOut.PayloadSz = uint32(n)
}

// put writes a reply into the entry. One that does not fit becomes EINVAL.
func (e *entry) put(r *session.Reply) error {
	fixed := r.Head[outHeaderSize:]
	n := len(fixed)
	for _, b := range r.Payload {
		n += len(b)
	}
	if n > len(e.payload) {
		e.answer(syscall.EINVAL, 0)
		return fmt.Errorf("fuse: io_uring: a reply of %d bytes: %w", n, syscall.EINVAL)
	}
	// What was built in the payload memory, but not where it belongs, must survive what is put before it.
	if len(fixed) > 0 || len(r.Payload) > 1 {
		at := len(fixed)
		for i, b := range r.Payload {
			if sys.Overlaps(b, e.payload) && &b[0] != &e.payload[at] {
				r.Payload[i] = bytes.Clone(b)
			}
			at += len(b)
		}
	}
	at := copy(e.payload, fixed)
	for _, b := range r.Payload {
		if len(b) > 0 && &b[0] != &e.payload[at] {
			copy(e.payload[at:], b)
		}
		at += len(b)
	}
	e.answer(syscall.Errno(-sys.As[wire.OutHeader](r.Head).Error), n)
	return nil
}

// commit gives an answered entry back to the kernel, for its next request. The answer to a request of the batch at hand
// leaves with the worker's next Receive, any other one at once.
func (q *queue) commit(e *entry) error {
	q.mu.Lock()
	if q.closed || q.gone {
		e.state = idle
		if q.closed {
			sys.Unmap(e.mem)
		}
		q.mu.Unlock()
		return syscall.ENOENT
	}
	later := e.batch == q.batch
	q.fetch(e)
	if later && !q.armed {
		q.armed, q.timerBatch = true, q.batch
		q.timer.Reset(flushAfter)
	}
	q.mu.Unlock()
	if !later {
		q.t.flush()
	}
	return nil
}

// tick runs while there is traffic, and looks for answers whose worker has not come back to submit them.
func (q *queue) tick() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.armed = false
	switch {
	case q.closed:
	case q.batch != q.timerBatch:
		q.armed, q.timerBatch = true, q.batch
		q.timer.Reset(flushAfter)
	case q.ring.Pending() > 0:
		q.t.flush()
	}
}

// pending reports whether answers wait to be submitted.
func (q *queue) pending() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed && q.ring.Pending() > 0
}

// stop ends the worker's waiting.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.wake.Signal()
	}
}

// close gives everything back but the memory of requests that have no reply yet. The flusher has ended.
func (q *queue) close() {
	end := time.Now().Add(closeWait)
	q.mu.Lock()
	defer q.mu.Unlock()
	stuck := time.AfterFunc(closeWait, func() { q.left.Broadcast() })
	defer stuck.Stop()
	for q.receiving && time.Now().Before(end) {
		q.left.Wait()
	}
	q.closed = true
	q.timer.Stop()
	if q.receiving {
		q.t.log.Error("fuse: io_uring: a worker does not end", "queue", q.id)
		return
	}
	q.finish()
	for _, e := range q.entries {
		switch e.state {
		case idle:
			sys.Unmap(e.mem)
		case kernel: // which has it until the ring's end has got through to it
			sys.Wall(e.mem)
		}
	}
	q.ring.Close()
	q.wake.Close()
}

// finish submits the last answers, and takes back the entries of a connection that has ended. The caller holds the lock.
func (q *queue) finish() {
	q.enter(0)
	if q.inKernel == 0 || !q.begun || !q.gone && !q.t.gone() {
		return
	}
	for end := time.Now().Add(reapWait); q.inKernel > 0 && time.Now().Before(end); {
		c, ok := q.ring.Pop()
		if !ok {
			time.Sleep(retryPause)
			continue
		}
		if c.User != wakeUser {
			q.inKernel--
			q.entries[c.User].state = idle
		}
	}
}
