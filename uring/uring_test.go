//go:build linux

package uring

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/internal/iouring"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

func TestFrame(t *testing.T) {
	r := started(t, 2, 1)
	q, k := r.Queues()[0], r.rings[0]
	k.request(wire.OpSetxattr, 10, "fixed", "name\x00value")
	got := newWorker(t, q).receive()
	require.NoError(t, got.err)
	require.Len(t, got.frames, 1)
	f := got.frames[0]
	require.True(t, f.URing)
	require.False(t, f.Joined)
	require.Equal(t, uint64(10), sys.As[wire.InHeader](f.Header).Unique)
	require.Equal(t, "fixed", string(f.Op[:5]))
	require.Equal(t, "name\x00value", string(f.Payload))
}

// The answers to a batch leave with the system call that waits for the next one.
func TestBatch(t *testing.T) {
	r := started(t, 4, 1)
	q, k := r.Queues()[0], r.rings[0]
	for i := range uint64(3) {
		k.request(wire.OpGetattr, 2*i+2, "", "")
	}
	w := newWorker(t, q)
	w.begin()
	got := w.wait()
	require.NoError(t, got.err)
	require.Len(t, got.frames, 3)
	q.(*queue).timer.Stop()
	q.(*queue).armed = true // nobody else submits
	for i, f := range got.frames {
		require.NoError(t, q.Reply(f, reply(uint64(2*i+2), 0, "fixed", []byte("data"))))
	}
	require.Equal(t, 3, k.Pending())
	k.request(wire.OpGetattr, 8, "", "")
	require.Len(t, w.receive().frames, 1)
	answers := k.answered(3)
	require.Equal(t, []int{4, 3}, k.enters)
	for i, a := range answers {
		unique := uint64(2*i + 2)
		require.Equal(t, answer{unique, wire.OutHeader{Len: 25, Unique: unique}, []byte("fixeddata")}, a)
	}
}

// An answer from elsewhere leaves while the worker waits.
func TestReplyFromElsewhere(t *testing.T) {
	r := started(t, 2, 2)
	q, k := r.Queues()[1], r.rings[1]
	k.request(wire.OpGetattr, 2, "", "")
	w := newWorker(t, q)
	f := w.receive().frames[0]
	w.begin()
	require.NoError(t, q.Reply(f, reply(2, syscall.EIO, "")))
	require.Equal(t, []answer{{2, wire.OutHeader{Len: 16, Error: -int32(syscall.EIO), Unique: 2}, []byte{}}}, k.answered(1))
	k.request(wire.OpGetattr, 4, "", "")
	require.Len(t, w.wait().frames, 1)
}

// An answer leaves although its handler goes on, also before a notification, which could wait for its receiver.
func TestReplyInsideHandler(t *testing.T) {
	r := started(t, 2, 1)
	q, k := r.Queues()[0], r.rings[0]
	w := newWorker(t, q)
	k.request(wire.OpGetattr, 2, "", "")
	require.NoError(t, q.Reply(w.receive().frames[0], reply(2, 0, "")))
	k.answered(1) // by the timer

	k.request(wire.OpGetattr, 4, "", "")
	f := w.receive().frames[0]
	q.(*queue).mu.Lock()
	q.(*queue).timer.Stop()
	q.(*queue).armed = true
	q.(*queue).mu.Unlock()
	require.NoError(t, q.Reply(f, reply(4, 0, "")))
	require.NoError(t, r.Send([]byte("note"), []byte("s")))
	k.answered(2)
	require.Equal(t, [][]byte{[]byte("notes")}, r.dev.sent)
}

// What has no answer is committed all the same: the entry would be lost.
func TestDrop(t *testing.T) {
	r := started(t, 1, 1)
	q, k := r.Queues()[0], r.rings[0]
	k.request(wire.OpNotifyReply, 1<<62|2, "", strings.Repeat("x", 100))
	k.request(wire.OpForget, 4, "", "")
	w := newWorker(t, q)
	q.Drop(w.receive().frames[0])
	q.Drop(w.receive().frames[0])
	w.begin()
	require.Equal(t, []answer{
		{1<<62 | 2, wire.OutHeader{Len: 16, Unique: 1<<62 | 2}, []byte{}},
		{4, wire.OutHeader{Len: 16, Unique: 4}, []byte{}},
	}, k.answered(2))
	r.Stop()
	require.ErrorIs(t, w.wait().err, session.ErrStopped)
}

func TestRoom(t *testing.T) {
	r := started(t, 1, 1)
	q, k := r.Queues()[0], r.rings[0]
	w := newWorker(t, q)
	e := q.(*queue).entries[0]
	next := func(fixed string, parts ...[]byte) string {
		n := len(k.answers)
		require.NoError(t, q.Reply(&e.Frame, reply(2, 0, fixed, parts...)))
		k.request(wire.OpRead, 2, "", "")
		require.Len(t, w.receive().frames, 1)
		return string(k.answered(n + 1)[n].payload)
	}
	k.request(wire.OpRead, 2, "", "")
	w.receive()
	require.Len(t, e.payload, 16384)

	room := q.Room(&e.Frame, 16384)
	require.Same(t, &e.payload[0], &room[0])
	copy(room, "in place")
	require.Equal(t, "in place", next("", room[:8]))

	room = q.Room(&e.Frame, 16)
	copy(room, "behind it")
	require.Equal(t, "fixedbehind it", next("fixed", room[:9]))

	copy(room, "abcdef")
	require.Equal(t, "0defabcabcdef", next("", []byte("0"), room[3:6], room[:3], room[:6]))

	copy(room, "xyplace")
	require.Equal(t, "abplace", next("ab", room[2:7]))
	require.Equal(t, "", next("", nil, room[:0]))

	// Room for more than the entry has is no error, but the answer is.
	room = q.Room(&e.Frame, 20000)
	require.Len(t, room, 20000)
	require.ErrorIs(t, q.Reply(&e.Frame, reply(2, 0, "", room)), syscall.EINVAL)
	k.request(wire.OpGetxattr, 2, "", "name\x00")
	w.receive()
	last := k.answers[len(k.answers)-1]
	require.Equal(t, -int32(syscall.EINVAL), last.out.Error)
	require.Empty(t, last.payload)

	// What came with the request stays.
	room = q.Room(&e.Frame, 100)
	clear(room)
	require.Equal(t, "name\x00", string(e.Payload))
	require.Equal(t, "value", next("", append(room[:0], "value"...)))
}

// The kernel takes entries only when it has seen the answer to FUSE_INIT.
func TestRegisterAgain(t *testing.T) {
	r := started(t, 2, 1)
	q, k := r.Queues()[0], r.rings[0]
	early := 4
	k.refuse = func(iouring.Command) int32 {
		if early--; early >= 0 {
			return int32(syscall.EAGAIN)
		}
		return 0
	}
	k.request(wire.OpGetattr, 2, "", "")
	w := newWorker(t, q)
	require.Len(t, w.receive().frames, 1)
	require.Negative(t, early)
}

// An entry that the kernel gave back unused is offered again; at the end of the connection all come back.
func TestEntriesComeBack(t *testing.T) {
	r := started(t, 2, 1)
	q, k := r.Queues()[0], r.rings[0]
	k.request(wire.OpGetattr, 2, "", "")
	w := newWorker(t, q)
	f := w.receive().frames[0]
	k.end(syscall.ENOTCONN)
	k.request(wire.OpGetattr, 4, "", "")
	g := w.receive().frames[0]
	require.NotSame(t, f, g)

	require.NoError(t, q.Reply(g, reply(4, 0, "")))
	w.begin()
	k.answered(1)
	r.setEnded()
	k.end(syscall.ENOTCONN)
	require.Equal(t, io.EOF, w.wait().err)
	require.ErrorIs(t, q.Reply(f, reply(2, 0, "")), syscall.ENOENT)
	require.Empty(t, r.log.String())
}

// Where a request can be lost the worker does not go on.
func TestFailure(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.EINVAL, syscall.ECANCELED} {
		r := started(t, 2, 1)
		q, k := r.Queues()[0], r.rings[0]
		k.request(wire.OpGetattr, 6, "", "")
		w := newWorker(t, q)
		f := w.receive().frames[0]
		k.refuse = func(c iouring.Command) int32 { return int32(errno) }
		require.NoError(t, q.Reply(f, reply(6, 0, "")))
		err := w.receive().err
		require.ErrorIs(t, err, errno)
		require.ErrorContains(t, err, "io_uring queue 0: answering request 6")
	}
}

// The kernel goes on with the device if it cannot take an entry.
func TestRefusedEntry(t *testing.T) {
	r := started(t, 3, 2)
	q, k := r.Queues()[1], r.rings[1]
	refused := make(chan struct{}, 3)
	k.refuse = func(iouring.Command) int32 {
		refused <- struct{}{}
		return int32(syscall.EINVAL)
	}
	w := newWorker(t, q)
	w.begin()
	for range cap(refused) {
		<-refused
	}
	r.Stop()
	require.Equal(t, session.ErrStopped, w.wait().err)
	require.Equal(t, 1, strings.Count(r.log.String(), "refuses an entry"), r.log.String())
}

func TestStop(t *testing.T) {
	r := started(t, 2, 2)
	q, k := r.Queues()[0], r.rings[0]
	k.request(wire.OpGetattr, 2, "", "")
	k.request(wire.OpGetattr, 4, "", "")
	w, other := newWorker(t, q), newWorker(t, r.Queues()[1])
	frames := w.receive().frames
	w.begin()
	other.begin()
	r.Stop()
	require.Equal(t, session.ErrStopped, w.wait().err)
	require.Equal(t, session.ErrStopped, other.wait().err)
	require.Equal(t, session.ErrStopped, w.receive().err)
	require.True(t, r.dev.stopped)

	require.NoError(t, q.Reply(frames[0], reply(2, 0, "")))
	k.answered(1)
	require.NoError(t, r.Close())
	require.True(t, r.dev.closed)
	require.True(t, k.closed)
	require.Equal(t, uint64(4), sys.As[wire.InHeader](frames[1].Header).Unique, "it is still the request's")
	require.ErrorIs(t, q.Reply(frames[1], reply(4, 0, "")), syscall.ENOENT)
	require.NoError(t, r.Close())
	require.Equal(t, session.ErrStopped, w.receive().err)
	require.NoError(t, r.Send([]byte("late")))
}

func TestStartFails(t *testing.T) {
	r := unstarted(2, 3)
	make := r.newRing
	r.newRing = func(entries, file int) (ring, error) {
		if len(r.rings) == 2 {
			return nil, os.NewSyscallError("io_uring_setup", syscall.ENOMEM)
		}
		return make(entries, file)
	}
	require.NoError(t, r.Start(session.Limits{URing: true}))
	require.ErrorIs(t, r.Err(), syscall.ENOMEM)
	require.ErrorContains(t, r.Err(), "queue 2 of 3")
	require.ErrorContains(t, r.Err(), "RLIMIT_MEMLOCK")
	require.Empty(t, r.Queues())
	require.True(t, r.rings[0].closed && r.rings[1].closed)
	require.NoError(t, r.Close())

	r = unstarted(2, 3)
	require.NoError(t, r.Start(session.Limits{}))
	require.NoError(t, r.Err())
	require.Empty(t, r.rings)
	require.NoError(t, r.Close())
}

func TestCPUs(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-1": 2, "0-3,8,10-11": 7, "": 0, "a": 0, "3-1": 0, "0-999999": 0} {
		n, err := parseCPUs(list)
		require.Equal(t, want, n, list)
		require.Equal(t, want == 0, err != nil, list)
	}
	n, err := possibleCPUs()
	require.NoError(t, err)
	require.Positive(t, n)
}

func TestExplain(t *testing.T) {
	for errno, word := range map[syscall.Errno]string{
		syscall.ENOSYS: "no io_uring", syscall.EPERM: "forbid", syscall.ENOMEM: "RLIMIT_MEMLOCK", syscall.EMFILE: "RLIMIT_NOFILE",
	} {
		err := explain(os.NewSyscallError("io_uring_setup", errno))
		require.ErrorIs(t, err, errno)
		if b, e := os.ReadFile(disabled); e == nil && strings.TrimSpace(string(b)) != "0" && errno == syscall.EPERM {
			word = "io_uring_disabled"
		}
		require.ErrorContains(t, err, word)
	}
	other := errors.New("other")
	require.Equal(t, other, explain(other))
}
