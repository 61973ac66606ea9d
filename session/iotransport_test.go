//go:build linux

package session

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

// message is a request of n bytes in all.
func message(unique uint64, n int) []byte {
	h := wire.InHeader{Len: uint32(n), Opcode: uint32(wire.OpStatfs), Unique: unique, NodeID: 1}
	m := append(make([]byte, 0, n), sys.Bytes(&h)...)
	for len(m) < n {
		m = append(m, byte(unique)+byte(len(m)))
	}
	return m
}

// success is the empty success of a request.
func success(unique uint64) *Reply {
	h := wire.OutHeader{Len: 16, Unique: unique}
	return &Reply{Head: sys.Bytes(&h)}
}

// result is what one call of a scriptIO returns.
type result struct {
	data []byte // of Read
	n    int    // of Writev, 0: all
	err  error
}

// scriptIO reads and writes what a test says; afterwards it waits until it is closed.
type scriptIO struct {
	mu      sync.Mutex
	reads   []result
	writes  []result
	written [][]byte
	closed  chan struct{}
	closes  int
}

func script(reads, writes []result) *scriptIO {
	return &scriptIO{reads: reads, writes: writes, closed: make(chan struct{})}
}

func (s *scriptIO) Read(p []byte) (int, error) {
	s.mu.Lock()
	if len(s.reads) > 0 {
		r := s.reads[0]
		s.reads = s.reads[1:]
		s.mu.Unlock()
		return copy(p, r.data), r.err
	}
	s.mu.Unlock()
	<-s.closed
	return 0, errors.New("closed")
}

func (s *scriptIO) Writev(parts [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	msg := bytes.Join(parts, nil)
	s.written = append(s.written, msg)
	var r result
	if len(s.writes) > 0 {
		r, s.writes = s.writes[0], s.writes[1:]
	}
	if r.n == 0 && r.err == nil {
		r.n = len(msg)
	}
	return r.n, r.err
}

func (s *scriptIO) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closes++; s.closes > 1 {
		return errors.New("closed twice")
	}
	close(s.closed)
	return nil
}

func receiveOne(t *testing.T, q Queue) *Frame {
	t.Helper()
	var f [1]*Frame
	n, err := q.Receive(f[:])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	return f[0]
}

func bytesOf(f *Frame) []byte { return append(append([]byte{}, f.Header...), f.Op...) }

// What a failed or odd read means.
func TestReceiveErrors(t *testing.T) {
	odd := errors.New("odd")
	for name, c := range map[string]struct {
		result
		want error // nil: the read is tried again
	}{
		"signal":        {result{err: syscall.EINTR}, nil},
		"withdrawn":     {result{err: syscall.ENOENT}, nil},
		"not ready":     {result{err: syscall.EAGAIN}, nil},
		"unmounted":     {result{err: syscall.ENODEV}, io.EOF},
		"end":           {result{err: io.EOF}, io.EOF},
		"closed pipe":   {result{err: io.ErrClosedPipe}, io.EOF},
		"nothing":       {result{}, io.EOF},
		"short":         {result{data: make([]byte, headerSize-1)}, errShortRead},
		"anything else": {result{err: odd}, odd},
	} {
		t.Run(name, func(t *testing.T) {
			tr := NewCustomTransport(script([]result{c.result, {data: message(1, 40)}}, nil), nil)
			var f [1]*Frame
			_, err := tr.First().Receive(f[:])
			require.ErrorIs(t, err, c.want)
			if c.want == nil {
				tr.First().Drop(f[0])
			}
			require.NoError(t, tr.Close())
			require.Zero(t, tr.(*ioTransport).pool.used)
		})
	}
}

// Every request gets an answer: what may be tried again is, and in place of a reply that is refused goes EIO.
func TestReplyErrors(t *testing.T) {
	many := make([]result, memoryTries+1)
	for i := range many {
		many[i].err = syscall.ENOMEM
	}
	all := append(append([]result{}, many...), many...)
	for name, c := range map[string]struct {
		writes []result
		want   error
		tries  int
		eio    bool
	}{
		"good":                   {nil, nil, 1, false},
		"signal":                 {[]result{{err: syscall.EINTR}, {err: syscall.EAGAIN}}, nil, 3, false},
		"little memory":          {many[:memoryTries], nil, memoryTries + 1, false},
		"no memory":              {many, syscall.ENOMEM, memoryTries + 2, true},
		"no memory at all":       {all, syscall.ENOMEM, 2*memoryTries + 1, true},
		"nobody waits":           {[]result{{err: syscall.ENOENT}}, syscall.ENOENT, 1, false},
		"short":                  {[]result{{n: 15}}, io.ErrShortWrite, 2, true},
		"refused":                {[]result{{err: syscall.EINVAL}, {err: syscall.EINTR}}, syscall.EINVAL, 3, true},
		"refused after the fact": {[]result{{err: syscall.EINVAL}, {err: syscall.ENOENT}}, syscall.EINVAL, 2, true},
		"refused for good":       {[]result{{err: syscall.EINVAL}, {err: syscall.EPERM}}, syscall.EPERM, 2, true},
		"unmounted":              {[]result{{err: syscall.ENODEV}}, syscall.ENODEV, 1, false},
		"peer gone":              {[]result{{err: syscall.EPIPE}}, syscall.EPIPE, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			io := script([]result{{data: message(77, 40)}}, c.writes)
			tr := NewCustomTransport(io, nil)
			q := tr.First().(*ioQueue)
			f := receiveOne(t, q)
			r := success(77)
			sys.As[wire.OutHeader](r.Head).Len = 19
			r.Payload = [][]byte{[]byte("a"), []byte("bc")}
			err := q.Reply(f, r)
			require.ErrorIs(t, err, c.want)
			require.Len(t, io.written, c.tries)
			require.Equal(t, "abc", string(io.written[0][16:]))
			last := sys.As[wire.OutHeader](io.written[c.tries-1])
			want := wire.OutHeader{Len: 19, Unique: 77}
			if c.eio {
				want = wire.OutHeader{Len: 16, Error: -int32(syscall.EIO), Unique: 77}
				require.Len(t, io.written[c.tries-1], 16)
			}
			require.Equal(t, want, *last)
			require.Len(t, q.free, 1, "the frame is given back in any case")
			require.NoError(t, tr.Close())
		})
	}
}

// Requests keep their memory until the reply, small ones without a receive buffer.
func TestFramesKeepTheirMemory(t *testing.T) {
	sizes := []int{40, smallRequest, smallRequest + 1, 100_000, 41}
	var reads []result
	for i, n := range sizes {
		reads = append(reads, result{data: message(uint64(i), n)})
	}
	tr := NewCustomTransport(script(reads, nil), nil)
	q := tr.First().(*ioQueue)
	var frames []*Frame
	for range sizes {
		f := receiveOne(t, q)
		require.True(t, f.Joined)
		frames = append(frames, f)
	}
	pool := tr.(*ioTransport).pool
	require.EqualValues(t, 3*pool.payload(), pool.used, "two large requests and the receive buffer")
	for i, n := range sizes {
		require.Equal(t, message(uint64(i), n), bytesOf(frames[i]))
	}
	little := q.Room(frames[0], 100)
	large := q.Room(frames[1], smallRoom+1)
	larger := q.Room(frames[2], 2*pool.payload())
	require.Len(t, little, 100)
	require.Len(t, large, smallRoom+1)
	require.Len(t, larger, 2*pool.payload())
	require.NotSame(t, &little[0], &q.Room(frames[3], 100)[0])
	for _, f := range frames {
		q.Drop(f)
	}
	require.NoError(t, tr.Close())
	require.NoError(t, tr.Close())
	require.Zero(t, pool.used)
	_, err := q.Receive(frames[:1])
	require.ErrorIs(t, err, ErrStopped)
	grown, err := tr.Grow()
	require.NoError(t, err)
	require.Nil(t, grown)
}

// At the bound of request memory receiving waits, until a reply or Stop.
func TestReceiveWaitsAtTheBound(t *testing.T) { synctest.Test(t, receiveWaits) }

func receiveWaits(t *testing.T) {
	const large = 100_000
	io := script([]result{{data: message(1, large)}, {data: message(2, large)}, {data: message(3, 40)}}, nil)
	tr := NewCustomTransport(io, &Config{MaxInflight: 1})
	q := tr.First()
	first := receiveOne(t, q)
	next := make(chan *Frame)
	errs := make(chan error)
	go func() {
		for {
			var f [1]*Frame
			if _, err := q.Receive(f[:]); err != nil {
				errs <- err
				return
			}
			next <- f[0]
		}
	}()
	synctest.Wait()
	select {
	case <-next:
		require.Fail(t, "beyond the bound")
	default:
	}
	require.NoError(t, q.Reply(first, success(1)))
	second := <-next
	require.Equal(t, message(2, large), bytesOf(second))
	synctest.Wait()
	tr.Stop()
	require.ErrorIs(t, <-errs, ErrStopped)
	require.NoError(t, q.Reply(second, success(2)))
	require.NoError(t, tr.Close())
	require.Zero(t, tr.(*ioTransport).pool.used)
}

// An idle worker's receive buffer does not keep the others from receiving when memory is bounded.
func TestBoundedMemoryIsShared(t *testing.T) {
	io := script([]result{{data: message(1, 40)}, {data: message(2, 40)}}, nil)
	tr := NewCustomTransport(io, &Config{MaxInflight: 1})
	first := receiveOne(t, tr.First())
	other, err := tr.Grow()
	require.NoError(t, err)
	second := receiveOne(t, other) // while the first is being handled
	tr.First().Drop(first)
	other.Drop(second)
	tr.Retire(other)
	again, err := tr.Grow()
	require.NoError(t, err)
	require.Same(t, other, again, "a retired queue is used again")
	require.NoError(t, tr.Close())
}

// lateIO fills the buffer of a Read after it was closed.
type lateIO struct {
	scriptIO
	entered, goOn chan struct{}
}

func (l *lateIO) Read(p []byte) (int, error) {
	close(l.entered)
	<-l.goOn
	clear(p)
	return 0, io.EOF
}

// A Read that is slow to return still has its memory after Close.
func TestCloseDuringRead(t *testing.T) {
	l := &lateIO{scriptIO{closed: make(chan struct{})}, make(chan struct{}), make(chan struct{})}
	tr := NewCustomTransport(l, nil)
	errs := make(chan error)
	go func() {
		var f [1]*Frame
		_, err := tr.First().Receive(f[:])
		errs <- err
	}()
	<-l.entered
	require.NoError(t, tr.Close())
	close(l.goOn)
	require.ErrorIs(t, <-errs, ErrStopped)
	require.Zero(t, tr.(*ioTransport).pool.used)
}
