//go:build linux

package lowlevel

import (
	"cmp"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/uring"
	"github.com/purefuse/purefuse/wire"
)

// InitError is why FUSE_INIT, and so the session, failed.
type InitError struct{ Err error }

func (e *InitError) Error() string { return "fuse: init: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *InitError) Unwrap() error { return e.Err }

// maxPages is the most pages that a request can have: the number has 16 bits.
const maxPages = 1<<16 - 1

// init answers FUSE_INIT.
func (s *Session) init(r Req) {
	p := r.p
	var in wire.InitIn
	copy(sys.Bytes(&in), p.arg)
	if s.debug {
		s.trace("INIT: %d.%d", in.Major, in.Minor)
		if in.Minor >= 6 {
			s.trace("flags=0x%08x", in.Flags)
			s.trace("max_readahead=0x%08x", in.MaxReadahead)
		}
	}
	if in.Major > wire.KernelMajor { // the kernel comes again with a version that we know
		*fixed[wire.InitOut](p) = wire.InitOut{Major: wire.KernelMajor, Minor: wire.KernelMinor}
		if p, err := r.claim(); err == nil {
			p.send(0, sys.SizeOf[wire.InitOut](), 0)
		}
		return
	}
	if err := s.negotiate(p, &in); err != nil {
		err = &InitError{err}
		s.log.Error(err.Error())
		r.ReplyErr(syscall.EPROTO)
		s.Session.Answered(err)
		return
	}
	if p, err := r.claim(); err == nil {
		n := sys.SizeOf[wire.InitOut]()
		switch {
		case in.Minor < 5:
			n = wire.CompatInitOutSize
		case in.Minor < 23:
			n = wire.Compat22InitOutSize
		}
		if err := p.send(0, n, 0); err != nil {
			s.Session.Answered(&InitError{err})
			return
		}
	}
	s.Session.Answered(nil)
}

// negotiate works out the answer to INIT, into the fixed part of p's reply.
func (s *Session) negotiate(p *Request, in *wire.InitIn) error {
	if in.Major < wire.KernelMajor {
		return fmt.Errorf("unsupported protocol version: %d.%d", in.Major, in.Minor)
	}
	c := &Conn{Major: in.Major, Minor: in.Minor, MaxWrite: session.DefaultMaxWrite, MaxRead: s.cfg.Mount.MaxRead, TimeGran: 1}
	var flags wire.InitFlags
	if in.Minor >= 6 {
		flags = wire.JoinInitFlags(in.Flags, in.Flags2)
		c.MaxReadahead = in.MaxReadahead
	}
	c.Capable = capable(in.Minor, flags)
	s.uringOffered = c.Capable&CapOverIOUring != 0
	if s.ring.Load() == nil {
		c.Capable &^= CapOverIOUring
	}
	c.want = s.defaultCaps(c.Capable)
	c.NoInterrupt = s.cfg.Interrupts == InterruptOff
	offered := c.MaxReadahead
	if s.ops.Init != nil {
		if err := s.callInit(c); err != nil {
			return err
		}
	}
	if no := c.want &^ c.Capable; no != 0 {
		return &CapError{no, "not offered by this kernel"}
	}
	if c.MaxRead != s.cfg.Mount.MaxRead {
		return fmt.Errorf("init() and fuse_session_new() requested different maximum read size (%d vs %d)", c.MaxRead, s.cfg.Mount.MaxRead)
	}
	page := uint32(sys.PageSize)
	if flags&wire.InitMaxPages == 0 {
		c.MaxWrite = min(c.MaxWrite, wire.DefaultMaxPages*page)
	}
	c.MaxWrite = min(max(c.MaxWrite, 4096), maxPages*page) // the kernel's own bounds
	c.MaxReadahead = min(c.MaxReadahead, offered)
	c.MaxBackground = min(c.MaxBackground, 1<<16-1)
	if c.CongestionThreshold == 0 {
		c.CongestionThreshold = c.MaxBackground * 3 / 4
	}
	c.CongestionThreshold = min(c.CongestionThreshold, c.MaxBackground)

	out := fixed[wire.InitOut](p)
	*out = wire.InitOut{Major: wire.KernelMajor, Minor: wire.KernelMinor, MaxReadahead: c.MaxReadahead, MaxWrite: c.MaxWrite}
	reply := wire.InitBigWrites
	pages := uint32(wire.DefaultMaxPages)
	if flags&wire.InitMaxPages != 0 {
		reply |= wire.InitMaxPages
		pages = (c.MaxWrite-1)/page + 1
		out.MaxPages = uint16(pages)
	}
	if err := s.settle(c, session.Limits{MaxWrite: int(c.MaxWrite), MaxRead: int(pages * page), Minor: in.Minor}); err != nil {
		return err
	}
	for _, row := range capTable {
		if c.want&row.cap != 0 && !row.local {
			reply |= row.flag
		}
	}
	if c.Has(CapPassthrough) {
		out.MaxStackDepth = c.MaxStackDepth + 1
	}
	if secs := uint64((c.RequestTimeout + time.Second - 1) / time.Second); secs > 0 && flags&wire.InitRequestTimeout != 0 {
		reply |= wire.InitRequestTimeout
		out.RequestTimeout = uint16(min(secs, 1<<16-1))
	}
	if flags&wire.InitExt != 0 {
		reply |= wire.InitExt
	} else {
		reply &= 1<<32 - 1
	}
	out.Flags, out.Flags2 = uint32(reply), uint32(reply>>32)
	if in.Minor >= 13 {
		out.MaxBackground, out.CongestionThreshold = uint16(c.MaxBackground), uint16(c.CongestionThreshold)
	}
	if in.Minor >= 23 {
		out.TimeGran = c.TimeGran
	}
	s.conn.Store(c)
	if s.debug {
		s.traceInit(out)
	}
	if os.Getenv("FUSE_INIT_STATUS") != "" {
		s.initStatus(c)
	}
	s.phase.Store(phaseReady)
	return nil
}

// callInit calls the file system's Init; a panic there must not leave the mount without an answer.
func (s *Session) callInit(c *Conn) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("fuse: panic in Init", "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return s.ops.Init(c)
}

// capable is what a kernel of that minor with these INIT flags can do.
func capable(minor uint32, flags wire.InitFlags) (c Cap) {
	for _, row := range capTable {
		if row.flag != 0 && flags&row.flag != 0 {
			c |= row.cap
		}
	}
	if minor >= 14 {
		c |= CapSpliceWrite | CapSpliceMove | CapSpliceRead
	}
	if minor >= 18 {
		c |= CapIoctlDir
	}
	if minor >= 38 {
		c |= CapExpireOnly
	}
	return c
}

// defaultCaps is what the library wants by itself: what the operations that are there need, and what does no harm.
func (s *Session) defaultCaps(can Cap) Cap {
	o := s.ops
	want := CapAsyncRead | CapAutoInvalData | CapAsyncDIO | CapIoctlDir | CapAtomicOTrunc
	if o.WriteBuf != nil {
		want |= CapSpliceRead
	}
	if o.Getlk != nil && o.Setlk != nil {
		want |= CapPosixLocks
	}
	if o.Flock != nil {
		want |= CapFlockLocks
	}
	if o.Readdirplus != nil {
		want |= CapReaddirplus
		if o.Readdir != nil {
			want |= CapReaddirplusAuto
		}
	}
	return (want | CapOverIOUring) & can
}

// initStatus logs what was negotiated, as $FUSE_INIT_STATUS asks.
func (s *Session) initStatus(c *Conn) {
	line := func(format string, args ...any) { s.log.Info("FUSE_INIT: " + fmt.Sprintf(format, args...)) }
	for _, name := range c.want.Names() {
		line("%s", name)
	}
	line("io_uring=%s", s.uringStatus())
	for _, f := range []struct {
		name string
		v    uint32
	}{
		{"proto_major", c.Major}, {"proto_minor", c.Minor}, {"max_readahead", c.MaxReadahead}, {"max_write", c.MaxWrite},
		{"max_background", c.MaxBackground}, {"congestion_threshold", c.CongestionThreshold}, {"time_gran", c.TimeGran},
		{"request_timeout", uint32(c.RequestTimeout / time.Second)}, {"max_stack_depth", c.MaxStackDepth},
	} {
		line("%s=%d", f.name, f.v)
	}
}

// settle prepares the transport for what INIT settled. Without its io_uring the mount works over the device.
func (s *Session) settle(c *Conn, l session.Limits) error {
	l.URing = c.Has(CapOverIOUring)
	if s.debug && l.URing {
		s.trace("starting io-uring q-depth=%d", cmp.Or(s.cfg.RingDepth, uring.DefaultDepth))
	}
	if err := s.Session.Settle(l); err != nil {
		return err
	}
	ring := s.ring.Load()
	switch {
	case s.cfg.Transport != TransportIOURing:
	case ring == nil:
		s.log.Warn("fuse: requests come through the device: io_uring needs one of the kernel's")
	case !s.uringOffered:
		s.log.Warn("fuse: requests come through the device: no io_uring", "why", uring.NotOffered())
	case ring.Err() != nil:
		c.want &^= CapOverIOUring
		c.Capable &^= CapOverIOUring
		s.log.Warn("fuse: requests come through the device: failed to start io-uring", "err", ring.Err())
	}
	return nil
}

// uringStatus is the io_uring line of initStatus in libfuse's words.
func (s *Session) uringStatus() string {
	ring := s.ring.Load()
	switch {
	case s.conn.Load().Has(CapOverIOUring):
		return "on"
	case s.Session.Device() < 0:
		return "off:custom_io"
	case ring == nil:
		return "off:disabled"
	case ring.Err() != nil:
		return "off:start_failed:" + ring.Err().Error()
	case !s.uringOffered:
		return "off:not_offered"
	}
	return "off:disabled" // by the file system
}

// traceInit prints INIT's answer as libfuse does.
func (s *Session) traceInit(o *wire.InitOut) {
	s.trace("   INIT: %d.%d", o.Major, o.Minor)
	for _, l := range strings.Split(fmt.Sprintf("flags=0x%08x max_readahead=0x%08x max_write=0x%08x max_background=%d congestion_threshold=%d time_gran=%d max_stack_depth=%d",
		o.Flags, o.MaxReadahead, o.MaxWrite, o.MaxBackground, o.CongestionThreshold, o.TimeGran, o.MaxStackDepth), " ") {
		s.trace("   %s", l)
	}
}
