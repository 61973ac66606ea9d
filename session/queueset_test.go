//go:build linux

package session

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// ringSet is a connection with further queues whose ends a test decides on.
type ringSet struct {
	Transport
	queues []*ringQueue
}

func (r *ringSet) Queues() (list []Queue) {
	for _, q := range r.queues {
		list = append(list, q)
	}
	return list
}

func (r *ringSet) Stop() {
	for _, q := range r.queues {
		q.stop.Do(func() { close(q.stopped) })
	}
	r.Transport.Stop()
}

type ringQueue struct {
	requests chan uint64
	fail     chan error
	dropped  chan uint64
	stopped  chan struct{}
	stop     sync.Once
}

func (q *ringQueue) Receive(dst []*Frame) (int, error) {
	select {
	case err := <-q.fail:
		return 0, err
	case <-q.stopped:
		return 0, ErrStopped
	case unique := <-q.requests:
		h := wire.InHeader{Len: headerSize, Opcode: uint32(wire.OpStatfs), Unique: unique, NodeID: 1}
		dst[0] = &Frame{Header: sys.Bytes(&h)}
		return 1, nil
	}
}
func (q *ringQueue) Room(*Frame, int) []byte    { return nil }
func (q *ringQueue) Reply(*Frame, *Reply) error { return nil }
func (q *ringQueue) Drop(f *Frame)              { q.dropped <- sys.As[wire.InHeader](f.Header).Unique }

// endsGoroutine is a request whose handler does that.
const endsGoroutine = 99

func serveRings(t *testing.T) (*Session, *pipeIO, *ringSet, chan error) {
	conn := &pipeIO{requests: make(chan uint64), closed: make(chan struct{})}
	set := &ringSet{Transport: NewCustomTransport(conn, nil)}
	for range 2 {
		set.queues = append(set.queues, &ringQueue{requests: make(chan uint64), fail: make(chan error), dropped: make(chan uint64), stopped: make(chan struct{})})
	}
	s, err := New(handlerFunc(func(unique uint64) {
		if unique == endsGoroutine {
			runtime.Goexit()
		}
	}), nil)
	require.NoError(t, err)
	require.NoError(t, s.Use(set))
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, conn, set, served
}

// The queues that a transport has added get workers when INIT was answered, and Serve waits for them.
func TestQueueSet(t *testing.T) {
	s, _, set, served := serveRings(t)
	s.Answered(nil)
	for i, q := range set.queues {
		q.requests <- uint64(i)
		require.Equal(t, uint64(i), <-q.dropped)
	}
	for range 2 {
		set.queues[0].requests <- endsGoroutine
	}
	set.queues[1].fail <- io.EOF
	set.queues[0].requests <- 7 // its end is not the others'
	require.Equal(t, uint64(7), <-set.queues[0].dropped)
	s.Exit()
	require.NoError(t, <-served)
}

// Requests could be lost in a queue that fails, so the connection ends.
func TestQueueFails(t *testing.T) {
	s, conn, set, served := serveRings(t)
	s.Answered(nil)
	broken := errors.New("broken")
	set.queues[1].fail <- broken
	require.Equal(t, broken, <-served)
	<-conn.closed
}
