//go:build linux

package session

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// ErrStopped is returned by Queue.Receive after Transport.Stop.
var ErrStopped = errors.New("fuse: stopped")

// CustomIO is a connection by functions of the caller's, libfuse's custom io: each Read is one whole request, each Writev
// one whole reply or notification. Errors that carry an errno mean what they mean on /dev/fuse: ENODEV and io.EOF end the
// session, ENOENT from Writev says that the requester is gone. Close must make a waiting Read return.
type CustomIO interface {
	Read(p []byte) (int, error)
	Writev(parts [][]byte) (int, error)
	io.Closer
}

// CloneIO is a CustomIO that can open further channels to the same connection, as FUSE_DEV_IOC_CLONE does.
type CloneIO interface {
	CustomIO
	Clone() (CustomIO, error)
}

// WakeIO is a CustomIO whose waiting Read can be ended while writing goes on. Without it, stopping a session closes the
// connection, and replies that are still to come are lost.
type WakeIO interface {
	CustomIO
	Wake() error
}

// channel is one way to the connection: a descriptor, or a CustomIO.
type channel interface {
	read(p []byte) (int, error)
	write(head []byte, parts [][]byte, mayBlock bool) (int, error)
	close() error
}

// ioTransport is the Transport over channels: /dev/fuse, sockets, CustomIO.
type ioTransport struct {
	first   *ioQueue
	pool    *bufferPool
	clone   func() (channel, error) // nil: all queues share the first channel
	wake    func() error            // makes waiting reads return
	device  atomic.Int32            // -1: none, or closed
	stopped atomic.Bool

	mu     sync.Mutex
	queues []*ioQueue
	idle   []*ioQueue // retired, to be used again
	closed bool
}

type transportOptions struct {
	payload  int   // bytes of data a request may carry
	inflight int64 // bound on buffer memory, 0: none
}

func newIOTransport(ch channel, o transportOptions) *ioTransport {
	t := &ioTransport{pool: newBufferPool(max(o.payload, wire.MinReadBuffer), o.inflight)}
	t.device.Store(-1)
	t.first = &ioQueue{t: t, ch: ch}
	t.queues = []*ioQueue{t.first}
	return t
}

// NewCustomTransport is a Transport over functions of the caller's.
func NewCustomTransport(c CustomIO, cfg *Config) Transport {
	ch := &customChannel{io: c}
	t := newIOTransport(ch, cfg.transport())
	t.wake = ch.close
	if w, ok := c.(WakeIO); ok {
		t.wake = w.Wake
	}
	if cl, ok := c.(CloneIO); ok && cfg != nil && cfg.CloneFD {
		t.clone = func() (channel, error) {
			c, err := cl.Clone()
			return &customChannel{io: c}, err
		}
	}
	return t
}

func (t *ioTransport) First() Queue { return t.first }
func (t *ioTransport) Device() int  { return int(t.device.Load()) }

func (t *ioTransport) Start(l Limits) error {
	t.pool.resize(max(l.MaxWrite, l.MaxRead))
	return nil
}

func (t *ioTransport) Grow() (Queue, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil
	}
	if n := len(t.idle); n > 0 {
		q := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return q, nil
	}
	ch := t.first.ch
	if t.clone != nil {
		c, err := t.clone()
		if err != nil {
			return nil, err
		}
		ch = c
	}
	q := &ioQueue{t: t, ch: ch}
	t.queues = append(t.queues, q)
	return q, nil
}

func (t *ioTransport) Retire(q Queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = append(t.idle, q.(*ioQueue))
}

func (t *ioTransport) Send(parts ...[]byte) error {
	_, err := t.first.ch.write(nil, parts, true)
	return err
}

func (t *ioTransport) Stop() {
	if t.stopped.Swap(true) {
		return
	}
	t.pool.stop()
	if t.wake != nil {
		t.wake()
	}
}

func (t *ioTransport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	queues := t.queues
	t.mu.Unlock()
	t.Stop() // closing the device waits for its reads
	t.device.Store(-1)
	err := t.first.ch.close()
	for _, q := range queues {
		if q.ch != t.first.ch {
			err = errors.Join(err, q.ch.close())
		}
		q.leave()
	}
	t.pool.close()
	return err
}

// smallRequest is the size up to which a request is copied out of the receive buffer, so that it does not pin one while it waits.
const smallRequest = 1024

// smallRoom is the size of the reply room that a frame keeps once it had one.
const smallRoom = 8 << 10

// ioFrame is a Frame with the memory that belongs to it.
type ioFrame struct {
	Frame
	small   [smallRequest / 8]uint64
	request *buffer // of a large request
	room    *buffer // of a large reply
	little  []byte  // of a small reply
}

// ioQueue is one worker's side of a channel.
type ioQueue struct {
	t       *ioTransport
	ch      channel
	buf     *buffer     // receive buffer, owned by the receiving goroutine
	reading atomic.Bool // a goroutine is in Receive

	mu   sync.Mutex
	free []*ioFrame
}

func (q *ioQueue) frame() *ioFrame {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.free); n > 0 {
		f := q.free[n-1]
		q.free = q.free[:n-1]
		return f
	}
	f := &ioFrame{}
	f.Joined = true
	f.Data = f
	return f
}

func (q *ioQueue) release(f *ioFrame) {
	if f.request != nil {
		q.t.pool.put(f.request)
		f.request = nil
	}
	if f.room != nil {
		q.t.pool.put(f.room)
		f.room = nil
	}
	q.mu.Lock()
	q.free = append(q.free, f)
	q.mu.Unlock()
}

// giveBack returns the receive buffer.
func (q *ioQueue) giveBack() {
	if q.buf != nil {
		q.t.pool.put(q.buf)
		q.buf = nil
	}
}

// leave returns the receive buffer of a queue of a stopped transport, unless somebody is still in Receive, who then does it
// when leaving: its memory goes away with that.
func (q *ioQueue) leave() {
	if q.reading.CompareAndSwap(false, true) {
		q.giveBack()
		q.reading.Store(false)
	}
}

const headerSize = 40

func (q *ioQueue) Receive(dst []*Frame) (int, error) {
	if !q.reading.CompareAndSwap(false, true) {
		return 0, ErrStopped // Close is here
	}
	defer q.reading.Store(false)
	for {
		if q.t.stopped.Load() {
			q.giveBack()
			return 0, ErrStopped
		}
		if q.buf != nil && !q.buf.fits(q.t.pool.payload()) {
			q.giveBack()
		}
		if q.buf == nil {
			b, err := q.t.pool.get(true)
			if err != nil {
				return 0, err
			}
			q.buf = b
			continue // the wait for it may have been ended by Stop
		}
		n, err := q.ch.read(q.buf.request)
		if err != nil {
			if err = q.readError(err); err != nil {
				q.giveBack()
				return 0, err
			}
			continue
		}
		if n == 0 {
			q.giveBack()
			return 0, io.EOF
		}
		if n < headerSize {
			q.giveBack()
			return 0, errShortRead
		}
		f := q.frame()
		msg := q.buf.request[:n]
		if n <= smallRequest {
			small := sys.Words(f.small[:])
			copy(small, msg)
			msg = small[:n]
			if q.t.pool.limit > 0 {
				q.giveBack() // others may wait for it while the handler runs
			}
		} else {
			f.request, q.buf = q.buf, nil
		}
		f.Header, f.Op, f.Payload = msg[:headerSize:headerSize], msg[headerSize:], nil
		dst[0] = &f.Frame
		return 1, nil
	}
}

var errShortRead = errors.New("fuse: short read on fuse device")

// readError sorts what a failed read means: nil says read again.
func (q *ioQueue) readError(err error) error {
	switch {
	case q.t.stopped.Load():
		return ErrStopped
	case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.ENOENT): // a signal; the request was withdrawn while it was copied
		return nil
	case errors.Is(err, syscall.EAGAIN):
		if c, ok := q.ch.(*fdChannel); ok {
			_, _, err = sys.WaitRead(c.fd, -1)
			return err
		}
		runtime.Gosched()
		return nil
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ECONNABORTED), errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
		return io.EOF // ECONNABORTED: the connection ended while a request was on its way to us
	}
	return err
}

func (q *ioQueue) Room(f *Frame, n int) []byte {
	io := f.Data.(*ioFrame)
	if n <= smallRoom {
		if io.little == nil {
			io.little = sys.Words(make([]uint64, smallRoom/8))
		}
		return io.little[:n]
	}
	if io.room == nil {
		b, err := q.t.pool.get(false)
		if err != nil {
			return make([]byte, n)
		}
		io.room = b
	}
	if room := io.room.mem[sys.PageSize:]; n <= len(room) {
		return room[:n]
	}
	return make([]byte, n)
}

func (q *ioQueue) Drop(f *Frame) { q.release(f.Data.(*ioFrame)) }

func (q *ioQueue) Reply(f *Frame, r *Reply) error {
	err := q.send(r)
	q.release(f.Data.(*ioFrame))
	return err
}

func (r *Reply) size() int {
	n := len(r.Head)
	for _, b := range r.Payload {
		n += len(b)
	}
	return n
}

// memoryTries is how often a reply is tried again when the kernel is out of memory before the requester gets EIO.
const memoryTries = 16

// send writes one reply so that the requester gets an answer whatever happens: a reply that the kernel refuses before it
// has found the request would leave the requester waiting.
func (q *ioQueue) send(r *Reply) error {
	for try := 0; ; try++ {
		n, err := q.ch.write(r.Head, r.Payload, false)
		if err == nil && n != r.size() {
			err = io.ErrShortWrite
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.ENOENT):
			return syscall.ENOENT
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN):
			runtime.Gosched()
			continue
		case errors.Is(err, syscall.ENOMEM) && try < memoryTries:
			runtime.Gosched()
			continue
		case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.EBADF), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
			return err
		}
		return errors.Join(err, q.sendError(r))
	}
}

// sendError answers a request whose proper reply was refused with EIO. If that reply had already ended the request, the
// kernel knows it no more, which is fine.
func (q *ioQueue) sendError(r *Reply) error {
	h := *sys.As[wire.OutHeader](r.Head)
	h.Len = uint32(sys.SizeOf[wire.OutHeader]())
	h.Error = -int32(syscall.EIO)
	for range memoryTries {
		_, err := q.ch.write(slices.Clone(sys.Bytes(&h)), nil, false)
		switch {
		case err == nil, errors.Is(err, syscall.ENOENT):
			return nil
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
			runtime.Gosched()
		default:
			return err
		}
	}
	return syscall.ENOMEM
}
