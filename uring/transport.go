//go:build linux

// Package uring carries requests through FUSE over io_uring: a session.Transport around that of the device, which keeps
// FUSE_INIT, FORGET, INTERRUPT and notifications.
//
// The kernel has one queue for each possible CPU and gives a request to the one of the CPU that its caller runs on. Each
// queue has a worker of its own, locked to a thread on that CPU, a ring, and a few entries: memory for one request each.
// Answering a request fetches the next one, so that under load one system call does for both, and for several at once.
package uring

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// DefaultDepth is how many requests of one CPU can be in hand at once.
const DefaultDepth = 8

// Config is what the transport can be told; the zero value is usable.
type Config struct {
	Logger *slog.Logger // nil: slog.Default()
	Depth  int          // entries of each queue, 0: DefaultDepth; each has memory for the largest request, taken when it is first used
}

const (
	// flushAfter is when replies leave at the latest that wait for their handler, or the next one of the batch, to return.
	flushAfter = 2 * time.Millisecond
	// closeWait bounds how long Close waits for a worker to leave Receive.
	closeWait = 5 * time.Second
	// minPayload is the least payload memory that the kernel accepts.
	minPayload = wire.MinReadBuffer
)

// Transport is a session.Transport with the device's queue and one for each CPU.
type Transport struct {
	session.Transport // of the device
	cfg               Config
	log               *slog.Logger
	epoch             time.Time
	newRing           func(entries, file int) (ring, error)
	cpus              func() (int, error)
	gone              func() bool // whether the connection has ended

	stopped atomic.Bool
	refused atomic.Bool   // a refused registration was logged
	kick    chan struct{} // tells the flusher
	over    chan struct{} // ends it
	flushed sync.WaitGroup
	closing sync.Once

	mu     sync.Mutex
	queues []*queue
	err    error // why there are none
}

// New makes a Transport of a device's: see session.Config.Wrap. Before Start it is nothing but that one.
func New(device session.Transport, cfg *Config) *Transport {
	t := &Transport{Transport: device, epoch: time.Now(), kick: make(chan struct{}, 1), over: make(chan struct{})}
	if cfg != nil {
		t.cfg = *cfg
	}
	if t.cfg.Depth <= 0 {
		t.cfg.Depth = DefaultDepth
	}
	if t.log = t.cfg.Logger; t.log == nil {
		t.log = slog.Default()
	}
	t.newRing, t.cpus = newRing, possibleCPUs
	t.gone = func() bool {
		ev, err := sys.Poll(0, sys.PollFd{Fd: uintptr(device.Device())})
		return err == nil && ev[0]&(sys.POLLERR|sys.POLLNVAL) != 0
	}
	return t
}

// Start sets the queues up if the limits ask for them. That it cannot is no error: then requests come through the device,
// and Err says why.
func (t *Transport) Start(l session.Limits) error {
	if err := t.Transport.Start(l); err != nil || !l.URing {
		return err
	}
	if t.Device() < 0 {
		t.err = errors.New("there is no device")
		return nil
	}
	queues, err := t.setUp(max(minPayload, l.MaxWrite, l.MaxRead))
	if err != nil {
		for _, q := range queues {
			q.close()
		}
		queues = nil
	}
	t.mu.Lock()
	t.queues, t.err = queues, err
	t.mu.Unlock()
	if len(queues) > 0 {
		t.flushed.Go(t.flusher)
	}
	return nil
}

// setUp makes all queues; with an error it returns those that are to be closed.
func (t *Transport) setUp(payload int) (queues []*queue, err error) {
	n, err := t.cpus()
	if err != nil {
		return nil, err
	}
	for id := range n {
		q, err := t.newQueue(id, payload)
		if err != nil {
			return queues, fmt.Errorf("queue %d of %d: %w", id, n, explain(err))
		}
		queues = append(queues, q)
	}
	return queues, nil
}

// Err is why Start could not set the queues up, nil if it did or was not asked to.
func (t *Transport) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Queues are the queues beside First, nil before Start. Each needs a goroutine of its own, which Receive locks to a thread.
// The first Receive gives the kernel the queue's entries, which it takes only when FUSE_INIT was answered; requests flow when
// all queues have done it.
func (t *Transport) Queues() []session.Queue {
	var list []session.Queue
	for _, q := range t.list() {
		list = append(list, q)
	}
	return list
}

func (t *Transport) list() []*queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queues
}

// Send writes a notification. It may wait for a caller whose reply has not left yet.
func (t *Transport) Send(parts ...[]byte) error {
	for _, q := range t.list() {
		if q.pending() {
			t.flush()
			break
		}
	}
	return t.Transport.Send(parts...)
}

// Stop makes every Receive return; replies still work.
func (t *Transport) Stop() {
	t.stopped.Store(true)
	for _, q := range t.list() {
		q.stop()
	}
	t.Transport.Stop()
}

// Close ends the connection. Memory of requests that have no reply yet goes away with their replies.
func (t *Transport) Close() error {
	t.Stop()
	t.closing.Do(func() {
		close(t.over)
		t.flushed.Wait()
		for _, q := range t.list() {
			q.close()
		}
	})
	return t.Transport.Close()
}

// flush has the flusher submit what waits, soon.
func (t *Transport) flush() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// flusher submits the replies that do not come from a queue's worker. The kernel delivers the next request of an entry by
// way of the thread that submitted it, and loses it if that thread has ended. Any thread of a Go program can end, with a
// goroutine that is locked to it, but those of the workers and of the flusher.
func (t *Transport) flusher() {
	runtime.LockOSThread()
	for {
		select {
		case <-t.over:
			return
		case <-t.kick:
		}
		for _, q := range t.list() {
			q.submit()
		}
	}
}
