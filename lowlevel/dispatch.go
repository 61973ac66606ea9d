//go:build linux

package lowlevel

import (
	"math"
	"runtime/debug"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/uring"
	"github.com/purefuse/purefuse/wire"
)

// dispatcher is a Session as its session.Handler, so that these methods stay out of the public ones.
type dispatcher Session

// row is one opcode: the size of its fixed argument, and how it is decoded and handed to the file system.
type row struct {
	size    int                   // of the fixed argument, today
	old     func(s *Session) int  // the same where it depends on what was negotiated; nil: size
	noReply bool                  // nothing may go back
	free    bool                  // allow_root lets everybody through
	waits   func(p *Request) bool // may wait by nature: gets a goroutine of its own
	handle  func(s *Session, p *Request, r Req)
}

// before makes a size that was another one before a minor.
func before(minor uint32, then, now int) func(*Session) int {
	return func(s *Session) int {
		if s.minor() < minor {
			return then
		}
		return now
	}
}

func always(*Request) bool { return true }

// table is the single source of how each opcode is taken apart.
var table = [...]row{
	wire.OpLookup:          {handle: doLookup},
	wire.OpForget:          {size: 8, noReply: true, handle: doForget},
	wire.OpGetattr:         {size: 16, old: before(9, 0, 16), handle: doGetattr},
	wire.OpSetattr:         {size: 88, handle: doSetattr},
	wire.OpReadlink:        {handle: doReadlink},
	wire.OpSymlink:         {handle: doSymlink},
	wire.OpMknod:           {size: 16, old: before(12, wire.CompatMknodInSize, 16), handle: doMknod},
	wire.OpMkdir:           {size: 8, handle: doMkdir},
	wire.OpUnlink:          {handle: doUnlink},
	wire.OpRmdir:           {handle: doRmdir},
	wire.OpRename:          {size: 8, handle: doRename},
	wire.OpLink:            {size: 8, handle: doLink},
	wire.OpOpen:            {size: 8, handle: doOpen},
	wire.OpRead:            {size: 40, old: before(9, 24, 40), free: true, handle: doRead},
	wire.OpWrite:           {size: 40, old: before(9, wire.CompatWriteInSize, 40), free: true, handle: doWrite},
	wire.OpStatfs:          {handle: doStatfs},
	wire.OpRelease:         {size: 24, free: true, handle: doRelease},
	wire.OpFsync:           {size: 16, free: true, handle: doFsync},
	wire.OpSetxattr:        {size: 16, old: setxattrSize, handle: doSetxattr},
	wire.OpGetxattr:        {size: 8, handle: doGetxattr},
	wire.OpListxattr:       {size: 8, handle: doListxattr},
	wire.OpRemovexattr:     {handle: doRemovexattr},
	wire.OpFlush:           {size: 24, handle: doFlush},
	wire.OpInit:            {size: 8, free: true, handle: (*Session).handleInit},
	wire.OpOpendir:         {size: 8, handle: doOpendir},
	wire.OpReaddir:         {size: 40, old: before(9, 24, 40), free: true, handle: doReaddir},
	wire.OpReleasedir:      {size: 24, free: true, handle: doReleasedir},
	wire.OpFsyncdir:        {size: 16, free: true, handle: doFsyncdir},
	wire.OpGetlk:           {size: 48, old: before(9, 40, 48), handle: doGetlk},
	wire.OpSetlk:           {size: 48, old: before(9, 40, 48), handle: doSetlk},
	wire.OpSetlkw:          {size: 48, old: before(9, 40, 48), waits: always, handle: doSetlk},
	wire.OpAccess:          {size: 8, handle: doAccess},
	wire.OpCreate:          {size: 16, old: before(12, 8, 16), handle: doCreate},
	wire.OpInterrupt:       {size: 8, handle: func(s *Session, _ *Request, r Req) { s.interrupt(r) }},
	wire.OpBmap:            {size: 16, handle: doBmap},
	wire.OpDestroy:         {handle: doDestroy},
	wire.OpIoctl:           {size: 32, handle: doIoctl},
	wire.OpPoll:            {size: 24, handle: doPoll},
	wire.OpNotifyReply:     {size: 40, noReply: true, free: true, handle: doNotifyReply},
	wire.OpBatchForget:     {size: 8, noReply: true, handle: doBatchForget},
	wire.OpFallocate:       {size: 32, handle: doFallocate},
	wire.OpReaddirplus:     {size: 40, free: true, handle: doReaddirplus},
	wire.OpRename2:         {size: 16, handle: doRename2},
	wire.OpLseek:           {size: 24, handle: doLseek},
	wire.OpCopyFileRange:   {size: 56, handle: doCopyFileRange},
	wire.OpSyncfs:          {size: 8, handle: doSyncfs},
	wire.OpTmpfile:         {size: 16, handle: doTmpfile},
	wire.OpStatx:           {size: 24, handle: doStatx},
	wire.OpCopyFileRange64: {size: 56, handle: doCopyFileRange},
}

func setxattrSize(s *Session) int {
	if s.conn.Load().Has(CapSetxattrExt) {
		return 16
	}
	return wire.CompatSetxattrInSize
}

// Begin forgets what an earlier transport negotiated.
func (d *dispatcher) Begin(t session.Transport) {
	s := (*Session)(d)
	ring, _ := t.(*uring.Transport)
	s.ring.Store(ring)
	s.phase.Store(phaseInit)
	s.conn.Store(&Conn{})
	s.regMu.Lock()
	defer s.regMu.Unlock()
	s.reg = nil
	s.regP.Store(nil)
}

// End cancels the contexts of what is still in flight.
func (d *dispatcher) End() {
	s := (*Session)(d)
	s.cancel(session.ErrStopped)
	s.notifier.Unanswered()
}

// Handle takes one request.
func (d *dispatcher) Handle(q session.Queue, f *session.Frame) {
	s := (*Session)(d)
	p, _ := f.Owner.(*Request)
	if p == nil {
		p = s.adopt(f)
	}
	r := p.begin(s, q, f)
	var h *row
	if int(p.code) < len(table) && table[p.code].handle != nil {
		h = &table[p.code]
	}
	if e := s.check(p, h); e != 0 {
		s.refuse(p, r, h, e)
		return
	}
	if p.code != wire.OpInterrupt && !s.noInterrupt() {
		s.matchInterrupt(p)
	}
	if h.waits != nil && h.waits(p) {
		go s.run(h, p, r)
		return
	}
	s.run(h, p, r)
}

func (s *Session) noInterrupt() bool { return s.conn.Load().NoInterrupt }

// refuse answers a request that does not get to its handler.
func (s *Session) refuse(p *Request, r Req, h *row, e Errno) {
	if h != nil && h.noReply {
		NoneReq{r}.ReplyNone()
		return
	}
	if p.code == wire.OpInterrupt && s.debug {
		s.trace("FUSE_INTERRUPT: reply to kernel to disable interrupt")
	}
	r.ReplyErr(e)
}

// check takes the request apart and says what keeps it from its handler, 0 if nothing.
func (s *Session) check(p *Request, h *row) Errno {
	need := 0
	if h != nil {
		need = h.size
		if h.old != nil {
			need = h.old(s)
		}
	}
	if s.debug {
		defer s.traceRequest(p)
	}
	p.cut(need)
	if p.h.TotalExtLen != 0 {
		s.cutExtensions(p)
	}
	init := p.code == wire.OpInit || p.code == wire.OpCuseInit
	if s.phase.Load() == phaseReady {
		if init {
			return syscall.EIO
		}
	} else if p.code != wire.OpInit {
		return syscall.EIO
	}
	if s.cfg.Mount.AllowRoot && p.h.UID != s.owner && p.h.UID != 0 && (h == nil || !h.free) {
		return syscall.EACCES
	}
	if h == nil {
		return syscall.ENOSYS
	}
	if p.code == wire.OpInit && len(p.arg)+len(p.data) < 8 {
		return syscall.EPROTO
	}
	if p.code == wire.OpInterrupt && s.noInterrupt() {
		return syscall.ENOSYS
	}
	if len(p.arg) < need {
		s.log.Warn("fuse: request is too short", "op", p.code, "have", len(p.arg), "need", need)
		return syscall.EIO
	}
	return 0
}

// cut splits what follows the header into the fixed argument and the rest. A request that is too short keeps a short argument.
func (p *Request) cut(size int) {
	f := p.f
	whole := f.Op
	switch {
	case f.Joined:
	case p.code == wire.OpNotifyReply: // its first argument, which Op has, is empty; the struct is the second one
		whole = f.Payload
	default:
		p.arg, p.data = f.Op[:min(size, len(f.Op))], f.Payload
		return
	}
	n := min(size, len(whole))
	p.arg, p.data = whole[:n:n], whole[n:]
}

// cutExtensions takes the extensions off the end of the request.
func (s *Session) cutExtensions(p *Request) {
	n := int(p.h.TotalExtLen) * 8
	if n > len(p.data) {
		s.log.Error("fuse: extensions are longer than their request", "op", p.code, "len", n)
		return
	}
	p.ext = p.data[len(p.data)-n:]
	p.data = p.data[:len(p.data)-n]
}

// run calls the handler and sees to it that a panic there does not leave the caller waiting.
func (s *Session) run(h *row, p *Request, r Req) {
	returned := false
	defer func() {
		if !returned {
			s.recovered(p, r, recover())
		}
	}()
	if s.debug {
		defer p.handledBy(sys.GoroutineID())()
	}
	h.handle(s, p, r)
	returned = true
	if s.cfg.Strict && r.Pending() && !p.async && p.code != wire.OpInterrupt {
		s.log.Error("fuse: operation returned without a reply", "op", p.code)
		r.ReplyErr(syscall.EIO)
	}
}

// recovered answers a request whose handler panicked with v, or ended its goroutine (nil).
func (s *Session) recovered(p *Request, r Req, v any) {
	e := syscall.EIO
	var info RequestInfo
	pending := p.pin(r.gen)
	if pending {
		info = p.info(p.since)
		p.unpin()
	}
	if s.cfg.OnPanic != nil {
		e = s.cfg.OnPanic(info, v)
	} else {
		s.log.Error("fuse: panic in operation", "op", info.Op, "panic", v, "stack", string(debug.Stack()))
	}
	if !pending {
		return
	}
	if op := info.Op; int(op) < len(table) && table[op].noReply {
		NoneReq{r}.ReplyNone()
		return
	}
	r.ReplyErr(e)
}

// arg views the fixed argument as a T. The shorter form of an old kernel is padded with zeros.
func arg[T any](p *Request) *T {
	if v := sys.As[T](p.arg); v != nil {
		return v
	}
	old := sys.Words(p.oldArg[:])
	clear(old)
	copy(old, p.arg)
	return sys.As[T](old)
}

// size makes an int of a size in a request, also where that has 32 bits.
func size(n uint32) int { return int(min(uint64(n), math.MaxInt)) }

// name takes one NUL-terminated name off the front of the data.
func (p *Request) name() (Name, bool) {
	for i, c := range p.data {
		if c == 0 {
			n := Name{p.data[: i+1 : i+1]}
			p.data = p.data[i+1:]
			return n, true
		}
	}
	return Name{}, false
}

// name takes a name off the front of p's data, or answers the request if that has no end.
func (s *Session) name(p *Request, r Req) (Name, bool) {
	n, ok := p.name()
	if !ok {
		s.badName(r)
	}
	return n, ok
}

// badName answers a request whose name has no end.
func (s *Session) badName(r Req) {
	s.log.Warn("fuse: name without end", "op", r.Op())
	r.ReplyErr(syscall.EIO)
}

func (s *Session) handleInit(p *Request, r Req) {
	p.arg = p.f.Op // all of it: its length depends on the kernel
	s.inited.Store(false)
	s.init(r)
	if s.phase.Load() == phaseReady {
		s.inited.Store(true)
	}
}

func (s *Session) traceRequest(p *Request) {
	from, size := "dev", int(p.h.Len)
	if p.f.URing {
		from, size = "cqe", len(p.f.Payload)
	}
	s.trace("%s unique: %d, opcode: %s (%d), nodeid: %d, insize: %d, pid: %d", from, p.h.Unique, p.code.DebugName(), uint32(p.code), p.h.NodeID, size, p.h.PID)
}
