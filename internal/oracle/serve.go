//go:build linux

package oracle

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// player is the kernel's end of a purefuse session (session.CustomIO): each Read hands out the next request of a sequence,
// so whatever is written and told between two Reads belongs to the request of the first.
type player struct {
	requests [][]byte
	last     func() // called when no more requests are left
	read     int    // Reads so far

	mu    sync.Mutex
	steps []step
	// A lock that may wait is handled on a goroutine of its own: the next Read waits until it was answered or kept.
	settled sync.Cond
	waiting uint64 // unique of such a request, 0: none
}

func newPlayer(requests [][]byte) *player {
	p := &player{requests: requests, last: func() {}, steps: make([]step, 1, len(requests)+1)}
	p.settled.L = &p.mu
	return p
}

// play serves the sequence and returns whether the session ended before it; close, if not nil, runs before the Close.
func (p *player) play(ops *lowlevel.Operations, cfg *lowlevel.Config, closing func(exited bool)) error {
	s, err := lowlevel.New(ops, cfg)
	if err != nil {
		return err
	}
	if err := s.Use(session.NewCustomTransport(p, nil)); err != nil {
		return err
	}
	serveErr := s.Serve(context.Background())
	exited := p.read <= len(p.requests)
	for len(p.steps) <= len(p.requests) {
		p.steps = append(p.steps, step{})
	}
	if closing != nil {
		closing(exited)
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w (serve: %v)", err, serveErr)
	}
	if (serveErr != nil) != exited {
		return fmt.Errorf("serve: %v, but exited %v", serveErr, exited)
	}
	return nil
}

// Read hands out the next request; the one before it is done by then.
func (p *player) Read(b []byte) (int, error) {
	p.mu.Lock()
	for p.waiting != 0 {
		p.settled.Wait()
	}
	if p.read > 0 && p.read <= len(p.requests) {
		p.steps = append(p.steps, step{})
	}
	p.read++
	if p.read > len(p.requests) {
		end := p.read == len(p.requests)+1
		p.mu.Unlock()
		if end {
			p.last()
		}
		return 0, io.EOF
	}
	defer p.mu.Unlock()
	m := p.requests[p.read-1]
	if len(m) > len(b) {
		return 0, fmt.Errorf("request of %d bytes, buffer of %d", len(m), len(b))
	}
	if wire.Opcode(u32(m, 4)) == wire.OpSetlkw {
		p.waiting = binary.NativeEndian.Uint64(m[8:])
	}
	return copy(b, m), nil
}

// Writev takes one reply.
func (p *player) Writev(parts [][]byte) (int, error) {
	b := slices.Concat(parts...)
	p.mu.Lock()
	s := &p.steps[len(p.steps)-1]
	s.Replies = append(s.Replies, b)
	p.mu.Unlock()
	if len(b) >= 16 {
		p.settle(replyUnique(b))
	}
	return len(b), nil
}

// Close has nothing to give up.
func (p *player) Close() error { return nil }

// settle notes that a request was answered or kept.
func (p *player) settle(unique uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == unique {
		p.waiting = 0
		p.settled.Broadcast()
	}
}

// line notes what reached the file system.
func (p *player) line(l string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.steps[len(p.steps)-1]
	s.Lines = append(s.Lines, l)
}

// serveTwin plays a sequence on the script's Go form.
func serveTwin(file *os.File, c config, requests [][]byte) (*result, error) {
	p := newPlayer(requests)
	s := &script{cfg: &c, file: file, line: p.line, kept: p.settle}
	end := func(exited bool) {
		s.releaseHeld(false)
		p.line(fmt.Sprintf("end exited=%d", bit(exited)))
	}
	p.last = func() { end(false) }
	cfg := &lowlevel.Config{Logger: slog.New(slog.DiscardHandler), Workers: 1}
	cfg.Mount.AllowRoot = c.Flags&fAllowRoot != 0
	cfg.Mount.MaxRead = c.MaxReadOption
	err := p.play(s.operations(), cfg, func(exited bool) {
		if exited {
			end(true)
		}
	})
	return &result{Steps: p.steps}, err
}
