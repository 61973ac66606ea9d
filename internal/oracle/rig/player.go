//go:build linux

package rig

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// Player is the kernel's end of a purefuse session with one worker (session.CustomIO): each Read hands out the next request,
// so whatever is written and told between two Reads belongs to the request of the first.
type Player struct {
	Last func() // called when no more requests are left

	next  func() []byte // nil: no more
	ended bool
	read  int // requests handed out

	mu    sync.Mutex
	steps []Step
	// A lock that may wait is handled on a goroutine of its own: the next Read waits until it was answered or kept.
	settled sync.Cond
	waiting uint64 // unique of such a request, 0: none
}

// NewPlayer makes a player of the requests that next returns; nil is their end. When next is called, all steps before are done.
func NewPlayer(next func() []byte) *Player {
	p := &Player{Last: func() {}, next: next, steps: make([]Step, 1)}
	p.settled.L = &p.mu
	return p
}

// Server is a session of either API.
type Server interface {
	Serve(context.Context) error
	Close() error
}

// Play serves until the requests or the session end; closing, if not nil, runs before the Close and is told whether the
// session ended first.
func (p *Player) Play(s Server, use func(session.Transport) error, closing func(exited bool)) error {
	if err := use(session.NewCustomTransport(p, nil)); err != nil {
		return err
	}
	serveErr := s.Serve(context.Background())
	if closing != nil {
		closing(!p.ended)
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w (serve: %v)", err, serveErr)
	}
	if (serveErr != nil) == p.ended {
		return fmt.Errorf("serve: %v, but all requests were read: %v", serveErr, p.ended)
	}
	return nil
}

// Read hands out the next request; the one before it is done by then.
func (p *Player) Read(b []byte) (int, error) {
	p.mu.Lock()
	for p.waiting != 0 {
		p.settled.Wait()
	}
	if p.ended {
		p.mu.Unlock()
		return 0, io.EOF
	}
	if p.read > 0 {
		p.steps = append(p.steps, Step{})
	}
	p.mu.Unlock()
	m := p.next()
	if m == nil {
		p.ended = true
		p.Last()
		return 0, io.EOF
	}
	p.read++
	if len(m) > len(b) {
		return 0, fmt.Errorf("request of %d bytes, buffer of %d", len(m), len(b))
	}
	if wire.Opcode(binary.NativeEndian.Uint32(m[4:])) == wire.OpSetlkw {
		p.mu.Lock()
		p.waiting = binary.NativeEndian.Uint64(m[8:])
		p.mu.Unlock()
	}
	return copy(b, m), nil
}

// Writev takes one reply.
func (p *Player) Writev(parts [][]byte) (int, error) {
	b := slices.Concat(parts...)
	p.mu.Lock()
	s := &p.steps[len(p.steps)-1]
	s.Replies = append(s.Replies, b)
	p.mu.Unlock()
	if len(b) >= headerOut {
		p.Settle(binary.NativeEndian.Uint64(b[8:]))
	}
	return len(b), nil
}

const headerOut = 16

// Close has nothing to give up.
func (p *Player) Close() error { return nil }

// Settle notes that a request was answered or kept.
func (p *Player) Settle(unique uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == unique {
		p.waiting = 0
		p.settled.Broadcast()
	}
}

// Line notes what reached the file system.
func (p *Player) Line(l string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.steps[len(p.steps)-1]
	s.Lines = append(s.Lines, l)
}

// Pad makes the steps n if the session ended before the requests did: what comes then belongs to the last.
func (p *Player) Pad(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.steps) < n {
		p.steps = append(p.steps, Step{})
	}
}

// Steps are one step for each request, and one for what came after the last.
func (p *Player) Steps() []Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.steps
}

// Take is one of them, which is empty afterwards.
func (p *Player) Take(i int) Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.steps[i]
	p.steps[i] = Step{}
	return s
}
