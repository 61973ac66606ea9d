//go:build linux

package session

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// pipeIO is a connection whose requests a test sends; replies go nowhere.
type pipeIO struct {
	requests chan uint64
	closed   chan struct{}
	once     sync.Once
}

func (p *pipeIO) Read(b []byte) (int, error) {
	select {
	case unique := <-p.requests:
		h := wire.InHeader{Len: headerSize, Opcode: uint32(wire.OpStatfs), Unique: unique, NodeID: 1}
		return copy(b, sys.Bytes(&h)), nil
	case <-p.closed:
		return 0, io.EOF
	}
}

func (p *pipeIO) Writev(parts [][]byte) (n int, err error) {
	for _, b := range parts {
		n += len(b)
	}
	return n, nil
}

func (p *pipeIO) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// handlerFunc handles all requests.
type handlerFunc func(unique uint64)

func (h handlerFunc) Handle(q Queue, f *Frame) {
	h(sys.As[wire.InHeader](f.Header).Unique)
	q.Drop(f)
}
func (handlerFunc) Begin(Transport) {}
func (handlerFunc) End()            {}

// serveCrew serves h until the test ends.
func serveCrew(t *testing.T, cfg *Config, h handlerFunc) (*Session, *pipeIO) {
	s, err := New(h, cfg)
	require.NoError(t, err)
	conn := &pipeIO{requests: make(chan uint64), closed: make(chan struct{})}
	require.NoError(t, s.Use(NewCustomTransport(conn, cfg)))
	s.Answered(nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		s.Exit()
		require.NoError(t, <-served)
		require.NoError(t, s.Close())
	})
	return s, conn
}

func (c *crew) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.workers)
}

// TestBlockedHandlersDoNotStopTheOthers sends requests whose handlers wait for each other: they end only if all of them run
// at once.
func TestBlockedHandlersDoNotStopTheOthers(t *testing.T) {
	for name, n := range map[string]int{"up to the default": DefaultWorkers, "beyond it, all stuck": DefaultWorkers + 2} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			all.Add(n)
			var done sync.WaitGroup
			done.Add(n)
			_, conn := serveCrew(t, nil, func(uint64) {
				all.Done()
				all.Wait()
				done.Done()
			})
			for i := range n {
				conn.requests <- uint64(i)
			}
			done.Wait()
		})
	}
}

// TestOneWorkerStaysOne holds libfuse's -s: the second request waits for the first.
func TestOneWorkerStaysOne(t *testing.T) {
	var running, most atomic.Int32
	s, conn := serveCrew(t, &Config{Workers: 1}, func(uint64) {
		most.Store(max(most.Load(), running.Add(1)))
		running.Add(-1)
	})
	for i := range 10_000 {
		conn.requests <- uint64(i)
	}
	require.EqualValues(t, 1, most.Load())
	require.Equal(t, 1, s.crew.size())
}

// TestWorkersGrowAndRetire holds as many handlers as there may be workers, and then finds the spare ones gone.
func TestWorkersGrowAndRetire(t *testing.T) {
	for name, c := range map[string]struct{ workers, maxIdle, want, left int }{
		"a few stay":   {6, 0, 6, spareWorkers},
		"one may idle": {6, 1, 6, 2},
		"all stay":     {6, -1, 6, 6},
	} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			all.Add(c.want)
			handled := make(chan struct{})
			s, conn := serveCrew(t, &Config{Workers: c.workers, MaxIdle: c.maxIdle}, func(unique uint64) {
				if unique == 0 {
					all.Done()
					all.Wait()
					return
				}
				handled <- struct{}{}
			})
			for range c.want {
				conn.requests <- 0
			}
			all.Wait()
			require.Equal(t, c.want, s.crew.size())
			// On one CPU a worker that has yielded comes back only when this goroutine and the worker that it talks to have
			// used up their time, so this can need far more requests than are due.
			end := time.Now().Add(patient)
			for n := 0; n < 2000 || s.crew.size() > c.left && time.Now().Before(end); n++ {
				for int(s.crew.idle.Load()) != s.crew.size() {
					runtime.Gosched()
				}
				conn.requests <- 1
				<-handled
			}
			require.Equal(t, c.left, s.crew.size())
		})
	}
}

// TestWorkersBound sends more requests that block than there may be workers: those beyond wait their turn.
func TestWorkersBound(t *testing.T) {
	const bound = 3
	var running, most atomic.Int32
	entered, turn := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Add(8)
	s, conn := serveCrew(t, &Config{Workers: bound}, func(uint64) {
		for n := running.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		entered <- struct{}{}
		<-turn
		running.Add(-1)
		done.Done()
	})
	for i := range 8 {
		if i >= bound {
			turn <- struct{}{}
		}
		conn.requests <- uint64(i)
		<-entered
	}
	for range bound {
		turn <- struct{}{}
	}
	done.Wait()
	require.EqualValues(t, bound, most.Load())
	require.LessOrEqual(t, s.crew.size(), bound)
}
