//go:build linux

package lowlevel

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// InterruptMode says what a signal to the caller does to the request's Context. OnInterrupt and Interrupted follow libfuse
// in every mode but InterruptOff.
type InterruptMode int

const (
	InterruptCancel InterruptMode = iota // the Context ends at once
	InterruptGrace                       // it ends if the request is still pending after Config.Grace: callers written in Go get signals all the time
	InterruptOff                         // the kernel is told to send none, libfuse's no_interrupt
)

// defaultGrace is Config.Grace if that is not set.
const defaultGrace = 100 * time.Millisecond

// Interrupted is the cause with which a request's Context ends when its caller got a signal.
var Interrupted error = syscall.EINTR

// interrupts are the INTERRUPT requests that came before the request they are for was known.
type interrupts struct {
	n    atomic.Int32 // of list, and of those that are being looked for
	mu   sync.Mutex
	list []waitingInterrupt
}

type waitingInterrupt struct {
	r      Req // the INTERRUPT itself
	target uint64
}

// interrupt handles an INTERRUPT.
func (s *Session) interrupt(r Req) {
	target := sys.As[wire.InterruptIn](r.p.arg).Unique
	if s.debug {
		s.trace("INTERRUPT: %d", target)
	}
	// Counted before the search: a request that becomes known after it then looks into the list, behind the lock.
	s.intr.n.Add(1)
	s.intr.mu.Lock()
	p := s.pinLive(target)
	waits := p == nil && !slices.ContainsFunc(s.intr.list, func(w waitingInterrupt) bool { return w.target == target })
	if waits {
		s.intr.list = append(s.intr.list, waitingInterrupt{r, target})
	} else {
		s.intr.n.Add(-1)
	}
	s.intr.mu.Unlock()
	if waits {
		return
	}
	if p != nil {
		defer p.unpin()
		p.mu.Lock()
		p.interrupted.Store(true) // under the lock, so that OnInterrupt calls its function, or we do, but not both
		f, cancel := p.onInterrupt, p.cancel
		p.mu.Unlock()
		if cancel != nil {
			s.cancelInterrupted(Req{p, p.state.Load() >> genShift}, cancel)
		}
		if f != nil {
			f()
		}
	}
	NoneReq{r}.ReplyNone()
}

// pinLive pins the request in flight with that unique, nil if there is none.
func (s *Session) pinLive(unique uint64) *Request {
	for _, p := range s.requests() {
		if !p.pin(0) {
			continue
		}
		if p.h.Unique == unique && p.code != wire.OpInterrupt {
			return p
		}
		p.unpin()
	}
	return nil
}

// cancelInterrupted ends the context of an interrupted request as the mode says.
func (s *Session) cancelInterrupted(r Req, cancel context.CancelCauseFunc) {
	if s.cfg.Interrupts != InterruptGrace {
		cancel(Interrupted)
		return
	}
	grace := s.cfg.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	time.AfterFunc(grace, func() {
		if r.Pending() {
			cancel(Interrupted)
		}
	})
}

// matchInterrupt looks for an INTERRUPT that waits for the new request p. If there is none, the one that waits longest is
// sent back, for the kernel to repeat if it still matters.
func (s *Session) matchInterrupt(p *Request) {
	if s.intr.n.Load() == 0 {
		return
	}
	s.intr.mu.Lock()
	if len(s.intr.list) == 0 {
		s.intr.mu.Unlock()
		return
	}
	i := slices.IndexFunc(s.intr.list, func(w waitingInterrupt) bool { return w.target == p.h.Unique })
	back := i < 0
	i = max(i, 0)
	w := s.intr.list[i]
	s.intr.list = slices.Delete(s.intr.list, i, i+1)
	s.intr.n.Add(-1)
	s.intr.mu.Unlock()
	if back {
		w.r.ReplyErr(syscall.EAGAIN)
		return
	}
	p.interrupted.Store(true)
	NoneReq{w.r}.ReplyNone()
}
