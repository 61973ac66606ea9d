//go:build linux

package lowlevel

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// ErrReplied is returned by the second and every later reply to a request, and by replies to requests that ended otherwise.
var ErrReplied = errors.New("fuse: request was replied to before")

// Request is the library's memory for one request; it stays with its frame. Users hold a Req.
type Request struct {
	state   atomic.Uint64 // generation, pins, done, live
	s       *Session
	q       session.Queue
	f       *session.Frame
	h       *wire.InHeader
	code    Op
	arg     []byte // fixed argument
	data    []byte // what follows it, without extensions
	ext     []byte // extensions
	since   int64  // nanoseconds of the session
	umask   uint32
	async   bool
	dropped bool // ended without a reply

	fi, fi2 FileInfo
	attr    SetAttr
	lock    Flock
	bufs    BufVec
	oldArg  [8]uint64 // a short argument of an old kernel, padded

	room []byte // of a directory listing under way
	used int

	out   [(16 + 288) / 8]uint64 // struct fuse_out_header and the opcode's fixed part
	reply session.Reply
	iov   [8][]byte

	handler     atomic.Int64 // goroutine that is in the operation, with Config.Debug
	interrupted atomic.Bool
	extra       atomic.Bool // something below is set
	mu          sync.Mutex
	ctx         context.Context
	cancel      context.CancelCauseFunc
	onInterrupt func()
}

// The state word of a Request. A reply takes the live bit, so that only one gets through. While there are pins somebody else
// reads the request or runs its interrupt function: a reply then waits in the request (done), and the last pin sends it.
const (
	live     = 1
	done     = 2
	onePin   = 4
	pinMask  = 1<<16 - 1 - (onePin - 1)
	genShift = 16
)

// begin makes p the request in f, and returns its handle.
func (p *Request) begin(s *Session, q session.Queue, f *session.Frame) Req {
	if p.s == nil { // once: handles of earlier requests may look at it
		p.s = s
	}
	p.q, p.f = q, f
	p.h = sys.As[wire.InHeader](f.Header)
	p.code = Op(p.h.Opcode)
	p.umask, p.async, p.dropped, p.room, p.used, p.ext = 0, false, false, nil, 0, nil
	p.since = int64(time.Since(s.epoch))
	if p.interrupted.Load() {
		p.interrupted.Store(false)
	}
	gen := p.state.Load()>>genShift + 1
	p.state.Store(gen<<genShift | live)
	return Req{p, gen}
}

// pin keeps p from being reused, if it is still the live request of generation gen (0: any); unpin ends that.
func (p *Request) pin(gen uint64) bool {
	for {
		st := p.state.Load()
		if st&live == 0 || gen != 0 && st>>genShift != gen || st&pinMask == pinMask {
			return false
		}
		if p.state.CompareAndSwap(st, st+onePin) {
			return true
		}
	}
}

func (p *Request) unpin() {
	if st := p.state.Add(^uint64(onePin - 1)); st&pinMask == 0 && st&done != 0 {
		if p.dropped {
			p.q.Drop(p.f)
			return
		}
		p.q.Reply(p.f, &p.reply)
	}
}

// Req is the handle of one request: it may be copied and kept, and is refused after the reply.
type Req struct {
	p   *Request
	gen uint64
}

// claim takes the right to reply.
func (r Req) claim() (*Request, error) {
	p := r.p
	if p == nil {
		return nil, ErrReplied
	}
	for {
		st := p.state.Load()
		if st>>genShift != r.gen || st&live == 0 {
			return nil, ErrReplied
		}
		if p.state.CompareAndSwap(st, st&^live) {
			return p, nil
		}
	}
}

// settle ends what hangs on a claimed request.
func (p *Request) settle() {
	if !p.extra.Load() {
		return
	}
	p.mu.Lock()
	cancel := p.cancel
	p.ctx, p.cancel, p.onInterrupt = nil, nil, nil
	p.extra.Store(false)
	p.mu.Unlock()
	if cancel != nil {
		cancel(ErrReplied)
	}
}

// send sends the reply of a claimed request: n bytes of its fixed part and parts of p.iov.
func (p *Request) send(errno Errno, n, parts int) error {
	p.settle()
	h := (*wire.OutHeader)(sys.As[wire.OutHeader](sys.Words(p.out[:])))
	total := headSize + n
	p.reply.Payload = p.iov[:parts]
	for _, b := range p.reply.Payload {
		total += len(b)
	}
	*h = wire.OutHeader{Len: uint32(total), Error: -int32(errno), Unique: p.h.Unique}
	p.reply.Head = sys.Words(p.out[:])[:headSize+n]
	if p.s.debug {
		p.s.traceReply(p, errno, total)
	}
	for {
		st := p.state.Load()
		if st&pinMask == 0 {
			break
		}
		// The payload belongs to our caller, who may change it when we return.
		for i, b := range p.reply.Payload {
			p.reply.Payload[i] = slices.Clone(b)
		}
		if p.state.CompareAndSwap(st, st|done) {
			return nil
		}
	}
	s, q, f := p.s, p.q, p.f
	err := q.Reply(f, &p.reply)
	if err != nil {
		s.replyFailed(err)
	}
	return err
}

const headSize = 16

// fixed views the fixed part of the reply as a T.
func fixed[T any](p *Request) *T { return sys.As[T](sys.Words(p.out[:])[headSize:]) }

// drop ends a claimed request without a reply.
func (p *Request) drop() {
	p.settle()
	p.dropped = true
	for {
		st := p.state.Load()
		if st&pinMask == 0 {
			p.q.Drop(p.f)
			return
		}
		if p.state.CompareAndSwap(st, st|done) {
			return
		}
	}
}

// fail replies with an error to a claimed request.
func (p *Request) fail(e Errno) error {
	if !knownErrno(e) {
		p.s.log.Error("fuse: bad error value", "errno", int(e))
		e = syscall.ERANGE
	}
	return p.send(e, 0, 0)
}

// knownErrno says what Linux knows as an error: 1 to 133 but for the two numbers never given.
func knownErrno(e Errno) bool { return e <= 133 && e != 41 && e != 58 }

// ReplyErr answers with an errno; 0 is the success of operations that have no other reply. An errno that Linux does not know
// becomes ERANGE.
func (r Req) ReplyErr(e Errno) error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	return p.fail(e)
}

// Op is the operation.
func (r Req) Op() Op { return r.p.code }

// Unique is the kernel's number of the request, which its trace lines and INTERRUPT use.
func (r Req) Unique() uint64 { return r.p.h.Unique }

// NodeID is the node id in the request's header.
func (r Req) NodeID() NodeID { return NodeID(r.p.h.NodeID) }

// Caller is who made the system call.
func (r Req) Caller() Caller {
	h := r.p.h
	return Caller{UID: h.UID, GID: h.GID, PID: h.PID, Umask: r.p.umask}
}

// Session is the session that the request came through.
func (r Req) Session() *Session { return r.p.s }

// IsURing reports whether the request came through io_uring.
func (r Req) IsURing() bool { return r.p.f != nil && r.p.f.URing }

// Async tells the library that the reply comes after the operation's function returned. Only Config.Strict needs it.
func (r Req) Async() { r.p.async = true }

// Pending reports whether the request still waits for its reply.
func (r Req) Pending() bool {
	return r.p != nil && r.p.state.Load()&^uint64(pinMask) == r.gen<<genShift|live
}

// Interrupted reports whether the caller got a signal. The operation still has to be answered, EINTR being the usual answer.
func (r Req) Interrupted() bool { return r.p.interrupted.Load() }

// OnInterrupt has f called when the caller gets a signal; at once if it has. f runs on the goroutine that received the
// INTERRUPT and may reply. It is not started any more once the reply was made. nil takes it back.
func (r Req) OnInterrupt(f func()) {
	p := r.p
	p.mu.Lock()
	if !r.Pending() {
		p.mu.Unlock()
		return
	}
	p.onInterrupt = f
	p.extra.Store(true)
	if !r.Pending() { // the reply may have missed what was just set, and the next request must not find it
		f, p.onInterrupt = nil, nil
	}
	now := f != nil && p.interrupted.Load()
	p.mu.Unlock()
	if now {
		f()
	}
}

// Context is made on first use. It ends when the caller is interrupted (see Config.Interrupts), when the request is replied
// to, and when the session ends.
func (r Req) Context() context.Context {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx != nil && r.Pending() {
		return p.ctx
	}
	ctx, cancel := context.WithCancelCause(p.s.base)
	if !r.Pending() {
		cancel(ErrReplied)
		return ctx
	}
	p.ctx, p.cancel = ctx, cancel
	p.extra.Store(true)
	if !r.Pending() { // as above
		p.ctx, p.cancel = nil, nil
		cancel(ErrReplied)
	} else if p.interrupted.Load() {
		p.s.cancelInterrupted(r, cancel)
	}
	return ctx
}
