//go:build linux

package lowlevel

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/notify"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// Notify is how the server tells the kernel something unasked. Inside operations its queued form, Notify().Later(), is the
// one to use: sent directly, a notification can wait for the very request that is being handled. With Config.Debug that is
// found and logged.
func (s *Session) Notify() *notify.Notifier { return s.notifier }

func (s *Session) newNotifier() {
	o := &notify.Options{Logger: s.log}
	if s.debug {
		o.Guard = s.guard
	}
	s.notifier = notify.New((*notifySender)(s), o)
}

// notifySender is a Session as its notifier sees it.
type notifySender Session

// NotifyState says what the kernel understands at the moment.
func (n *notifySender) NotifyState() notify.State {
	c := n.conn.Load()
	return notify.State{
		Ready: n.phase.Load() == phaseReady, Minor: c.Minor, MaxWrite: c.MaxWrite,
		ExpireOnly: c.Capable&CapExpireOnly != 0, URing: c.Has(CapOverIOUring),
	}
}

// Send writes one notification.
func (n *notifySender) Send(parts ...[]byte) error {
	if n.debug {
		h := parts[0]
		code, length := wire.OutHeader{}, 0
		copy(sys.Bytes(&code), h)
		for _, p := range parts {
			length += len(p)
		}
		(*Session)(n).trace("NOTIFY: code=%d length=%d", code.Error, length)
	}
	return n.Session.Send(parts...)
}

// AddBacking registers a file or device with the kernel.
func (n *notifySender) AddBacking(fd int, flags uint32) (int, error) {
	return (*Session)(n).addBacking(fd, flags)
}

// RemoveBacking takes it back.
func (n *notifySender) RemoveBacking(id int) error { return (*Session)(n).CloseBacking(BackingID(id)) }

// Retrieve asks the kernel for n bytes at off of the page cache of ino; the answer comes to Operations.RetrieveReply with
// cookie. The error is the kernel's: ENOENT if it does not know the inode. Since minor 15. Notify().Retrieve is the form
// that waits for the answer.
func (s *Session) Retrieve(ino NodeID, off int64, n int, cookie any) error {
	return s.notifier.RequestRetrieve(ino, off, n, cookie)
}

// doNotifyReply takes the answer to a retrieve.
func doNotifyReply(s *Session, p *Request, r Req) {
	a := arg[wire.NotifyRetrieveIn](p)
	data := p.data
	short := int64(len(data)) < int64(a.Size)
	if short {
		s.log.Warn("fuse: answer to a retrieve is too short", "have", len(data), "size", a.Size)
		data = nil
	} else {
		data = data[:a.Size:a.Size]
	}
	cookie, ok := s.notifier.Reply(p.h.Unique, data)
	if !ok || short || s.ops.RetrieveReply == nil {
		NoneReq{r}.ReplyNone()
		return
	}
	s.ops.RetrieveReply(NoneReq{r}, cookie, p.ino(), int64(a.Offset), p.bufs.mem(data))
}

// PollHandle stands for a caller that waits in poll(2).
type PollHandle struct {
	s  *Session
	kh uint64
}

// Notify wakes the caller, whose kernel then polls again. The handle may be used any number of times, also when the caller
// has stopped waiting, and in any handler: it waits for nothing.
func (ph *PollHandle) Notify() error {
	if ph == nil {
		return nil
	}
	return ph.s.notifier.Wakeup(ph.kh)
}

// KH is the number that notify.Notifier.Wakeup takes, which is good for the whole session.
func (ph *PollHandle) KH() uint64 { return ph.kh }

// Unmount sends what Notify().Later() has queued, unmounts what Mount mounted, and waits until Serve is over; see
// session.Session.Unmount.
func (s *Session) Unmount(ctx context.Context, flags session.UnmountFlags) error {
	s.notifier.Flush(ctx)
	return s.Session.Unmount(ctx, flags)
}

// notifyPatience is how long a notification may take before something is wrong.
const notifyPatience = time.Second

// endNotifications sends what is queued and sees to it that none is left in the kernel: one that waits there for a request
// that nobody answers any more would keep the connection, and so this process, from ever ending.
func (s *Session) endNotifications() {
	ctx, cancel := context.WithTimeout(context.Background(), notifyPatience)
	defer cancel()
	s.notifier.Flush(ctx) // a failure is logged
	if s.notifier.Stop(ctx) == nil {
		return
	}
	s.log.Warn("fuse: a notification waits for a request without a reply")
	if err := s.Session.Abort(); err != nil && !errors.Is(err, session.ErrNotMounted) {
		s.log.Warn("fuse: abort", "err", err)
	}
}

// handledBy notes which goroutine is in p's operation; what it returns ends that.
func (p *Request) handledBy(id int64) func() {
	p.handler.Store(id)
	return func() { p.handler.CompareAndSwap(id, 0) } // p may be another request by then
}

// holder is a request in flight for which a notification may have to wait.
type holder struct {
	op      Op
	unique  uint64
	node    NodeID
	handler int64 // its goroutine, 0: none at the moment
}

// holders lists the requests in flight on one of nodes.
func (s *Session) holders(nodes []NodeID) (list []holder) {
	for _, p := range s.requests() {
		if !p.pin(0) {
			continue
		}
		h := holder{p.code, p.h.Unique, NodeID(p.h.NodeID), p.handler.Load()}
		related := slices.Contains(nodes, h.node)
		switch h.op {
		case wire.OpRename, wire.OpRename2, wire.OpLink: // the other directory, or the inode, comes first
			if op := p.f.Op; !related && len(op) >= 8 {
				var other NodeID
				copy(sys.Bytes(&other), op)
				related = slices.Contains(nodes, other)
			}
		case wire.OpForget, wire.OpBatchForget, wire.OpInterrupt, wire.OpNotifyReply, wire.OpGetattr, wire.OpStatx,
			wire.OpStatfs, wire.OpRelease, wire.OpReleasedir, wire.OpAccess, wire.OpPoll, wire.OpDestroy:
			related = false // nothing is locked meanwhile
		}
		p.unpin()
		if related {
			list = append(list, h)
		}
	}
	return list
}

// guard finds notifications that wait for a request whose handler waits for them: those that are sent inside of the handler,
// before they are sent, and those that do not return.
func (s *Session) guard(code wire.NotifyCode, nodes ...NodeID) func() {
	me := sys.GoroutineID()
	for _, h := range s.holders(nodes) {
		if h.handler == me {
			s.reportNotification("fuse: notification inside the handler of a request that it may wait for; Later is the form for that", code, h, me)
		}
	}
	timer := time.AfterFunc(notifyPatience, func() {
		for _, h := range s.holders(nodes) {
			s.reportNotification("fuse: notification waits for a request without a reply", code, h, me)
		}
	})
	return func() { timer.Stop() }
}

func (s *Session) reportNotification(what string, code wire.NotifyCode, h holder, sender int64) {
	stack := "the operation has returned, its reply is still to come"
	if h.handler != 0 {
		stack = sys.GoroutineStack(h.handler)
	}
	s.log.Error(what, "code", code, "op", h.op, "unique", h.unique, "node", uint64(h.node),
		"sender", sys.GoroutineStack(sender), "handler", stack)
}
