//go:build linux

package session

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/purefuse/purefuse/wire"

	"github.com/purefuse/purefuse/internal/sys"
)

const (
	// startWorkers is how many workers read at once before any of them was seen to wait in a handler: two find a waiting
	// client whichever CPU it is on, more make each other's caches cold.
	startWorkers = 2
	// spareWorkers is how many idle workers are kept beside the one at work; retireAfter is how many requests in a row must
	// have found that many idle before a worker goes.
	spareWorkers = 2
	retireAfter  = 256
	// rescueWorkers is the bound while all DefaultWorkers are stuck in handlers and no bound was asked for.
	rescueWorkers = 100

	// yieldAfter is how long a worker may go without passing through the scheduler. After 10 ms the runtime's monitor takes
	// its P away at each of its rounds, which costs every later system call a futex.
	yieldAfter = 4 * time.Millisecond
	// slowAfter is when a handler counts as waiting rather than computing, stuckAfter when it counts as stuck.
	slowAfter  = 200 * time.Microsecond
	stuckAfter = 100 * time.Millisecond
	// With many clients at once more workers get the server its share of the processors, although none of them waits: after
	// busyLooks looks in a row that found none idle there is one more, up to busyWorkers.
	busyLooks   = 8
	busyWorkers = 8
	// growPause and growPauseMax bound the pause between two looks for slow handlers while no worker is idle.
	growPause    = 100 * time.Microsecond
	growPauseMax = 5 * time.Millisecond
)

// worker is one goroutine that receives and handles requests.
type worker struct {
	q     Queue
	since atomic.Int64 // when it began the request at hand, in nanoseconds of the session, 0: none
}

// crew is the workers of a session.
type crew struct {
	s       *Session
	idle    atomic.Int32
	starved atomic.Bool   // the foreman was told that no worker is idle
	dry     chan struct{} // tells it
	over    chan struct{}
	stopped sync.Once
	attends atomic.Bool // the transport's own queues have their workers
	wg      sync.WaitGroup

	mu      sync.Mutex
	workers []*worker
	max     int
	hardMax int
	spare   int
	rescued bool
}

func (c *crew) init(s *Session) {
	c.s, c.dry, c.over = s, make(chan struct{}, 1), make(chan struct{})
	c.max, c.hardMax, c.spare = s.cfg.Workers, s.cfg.Workers, s.cfg.MaxIdle
	if c.max == 0 {
		c.max, c.hardMax = DefaultWorkers, rescueWorkers
	}
	if c.spare == 0 {
		c.spare = spareWorkers
	}
}

func (c *crew) stop() { c.stopped.Do(func() { close(c.over) }) }

// run works until the session ends.
func (c *crew) run() {
	c.hire(c.s.transport().First())
	c.s.mu.Lock()
	answered := c.s.answered
	c.s.mu.Unlock()
	if answered {
		c.attendAll()
	}
	if c.hardMax > 1 {
		c.wg.Go(c.foreman) // counted with those it hires, so that none of them is missed
	}
	c.wg.Wait()
	c.s.exit.Store(true)
	c.stop()
}

func (c *crew) hire(q Queue) {
	w := &worker{q: q}
	c.mu.Lock()
	c.workers = append(c.workers, w)
	c.mu.Unlock()
	c.employ(w)
}

// employ lets w work. A handler may end its goroutine (runtime.Goexit, as a test's FailNow does); the work goes on on another.
func (c *crew) employ(w *worker) {
	c.idle.Add(1)
	c.wg.Go(func() {
		over := false
		defer func() {
			if over {
				return
			}
			if v := recover(); v != nil {
				panic(v)
			}
			w.since.Store(0)
			c.employ(w)
		}()
		c.work(w)
		over = true
	})
}

// grow hires one more worker on a queue of its own.
func (c *crew) grow() bool {
	t := c.s.transport()
	q, err := t.Grow()
	if err != nil {
		c.s.cfg.logger().Warn("fuse: no further worker", "err", err)
	}
	if q == nil || err != nil {
		return false
	}
	c.hire(q)
	return true
}

// work is the life of one worker. It counts as idle while it waits in Receive.
func (c *crew) work(w *worker) {
	var frames [8]*Frame
	yielded := time.Duration(0)
	calm := 0
	for {
		n, err := w.q.Receive(frames[:])
		left := c.idle.Add(-1)
		if err != nil {
			if err != io.EOF && !errors.Is(err, ErrStopped) {
				c.s.cfg.logger().Error("fuse: reading device", "err", err)
				c.s.fail(err)
			}
			if err == io.EOF && c.s.Device() >= 0 {
				c.s.exit.Store(true) // the others' reads of the device end the same way
				c.stop()
				if c.attends.Load() { // and its further queues may have nothing that would
					c.s.transport().Stop()
				}
			} else {
				c.s.Exit()
			}
			return
		}
		if left == 0 && c.hardMax > 1 && !forgets(frames[:n]) && c.starved.CompareAndSwap(false, true) {
			c.dry <- struct{}{}
		}
		now := time.Since(c.s.epoch)
		w.since.Store(int64(now))
		for _, f := range frames[:n] {
			c.s.h.Handle(w.q, f)
		}
		w.since.Store(0)
		if c.s.exit.Load() {
			return
		}
		if int(left) < c.spare || c.spare < 0 {
			calm = 0
		} else if calm++; calm > retireAfter && c.leave(w) {
			return
		}
		c.idle.Add(1)
		if now-yielded > yieldAfter {
			yielded = now
			runtime.Gosched()
		}
	}
}

// attendAll starts the workers of the queues that Start has added. The caller is counted in wg, or hires.
func (c *crew) attendAll() {
	set, ok := c.s.transport().(QueueSet)
	if !ok || c.attends.Swap(true) {
		return
	}
	for _, q := range set.Queues() {
		c.wg.Go((&attendant{c: c, q: q}).run)
	}
}

// attendant is the worker of a queue that nobody else can serve.
type attendant struct {
	c      *crew
	q      Queue
	frames [8]*Frame
	rest   []*Frame // of frames, not handled yet
}

// run ends with Receive only, which may still have replies to send. Not even a handler that ends the goroutine
// (runtime.Goexit) ends it, as its thread would end, too: the work goes on in what runs at the goroutine's end.
func (a *attendant) run() {
	over := false
	defer func() {
		if over {
			return
		}
		if v := recover(); v != nil {
			panic(v)
		}
		a.run()
	}()
	for {
		for len(a.rest) > 0 {
			f := a.rest[0]
			a.rest = a.rest[1:]
			a.c.s.h.Handle(a.q, f)
		}
		n, err := a.q.Receive(a.frames[:])
		if err != nil {
			a.end(err)
			over = true
			return
		}
		a.rest = a.frames[:n]
	}
}

// end is what follows from Receive's error.
func (a *attendant) end(err error) {
	if err == io.EOF || errors.Is(err, ErrStopped) {
		return
	}
	s := a.c.s
	s.cfg.logger().Error("fuse: the connection is given up", "err", err)
	s.fail(err)
	if s.Abort() != nil {
		s.transport().Close()
	}
	s.Exit()
}

// forgets reports whether frames are only messages that need no second worker.
func forgets(frames []*Frame) bool {
	for _, f := range frames {
		h := sys.As[wire.InHeader](f.Header)
		if op := wire.Opcode(h.Opcode); op != wire.OpForget && op != wire.OpBatchForget {
			return false
		}
	}
	return true
}

// leave takes w off the crew unless it is one of the first.
func (c *crew) leave(w *worker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.workers) <= startWorkers || c.workers[0] == w {
		return false
	}
	for i, x := range c.workers {
		if x == w {
			c.workers = append(c.workers[:i], c.workers[i+1:]...)
			break
		}
	}
	c.s.transport().Retire(w.q)
	return true
}

// foreman hires workers while all of them are busy and some of them wait in their handlers.
func (c *crew) foreman() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-c.over:
			return
		case <-c.dry:
		}
		pause := growPause
		for {
			for looks := 0; c.idle.Load() == 0; looks++ {
				if c.wanted(looks) && c.grow() {
					pause, looks = growPause, 0
				} else {
					pause = min(2*pause, growPauseMax)
				}
				timer.Reset(pause)
				select {
				case <-c.over:
					return
				case <-timer.C:
				}
			}
			c.starved.Store(false)
			if c.idle.Load() != 0 || !c.starved.CompareAndSwap(false, true) {
				break
			}
		}
	}
}

// wanted reports whether one more worker would help; looks is how often in a row none was idle.
func (c *crew) wanted(looks int) bool {
	select {
	case <-c.s.ready: // until INIT is answered nothing else arrives
	default:
		return false
	}
	now := time.Since(c.s.epoch)
	c.mu.Lock()
	defer c.mu.Unlock()
	slow, stuck := 0, 0
	for _, w := range c.workers {
		switch since := time.Duration(w.since.Load()); {
		case since == 0:
		case now-since > stuckAfter:
			stuck++
			fallthrough
		case now-since > slowAfter:
			slow++
		}
	}
	n := len(c.workers)
	if n < c.max {
		return n < startWorkers+slow || looks >= busyLooks && n < busyWorkers
	}
	if n >= c.hardMax || stuck < n {
		return false
	}
	if !c.rescued {
		c.rescued = true
		c.s.cfg.logger().Warn("fuse: all workers are stuck in handlers, adding more", "workers", n)
	}
	return true
}
