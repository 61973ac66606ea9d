//go:build linux

package lowlevel_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/notify"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

func TestNotify(t *testing.T) {
	k := fusetest.New(t, yes(), nil)
	n := k.Session().Notify()
	want := []fusetest.Notification{
		{Code: wire.NotifyInvalInode, NodeID: 2, Off: 3, Len: 4},
		{Code: wire.NotifyInvalEntry, Parent: 3, Name: "a"},
		{Code: wire.NotifyInvalEntry, Parent: 3, Name: "b", Flags: 1},
		{Code: wire.NotifyDelete, Parent: 3, Child: 4, Name: "c"},
		{Code: wire.NotifyStore, NodeID: 2, Off: 8, Len: 4, Data: []byte("data")},
		{Code: wire.NotifyPoll, KH: 9},
		{Code: wire.NotifyIncEpoch},
		{Code: wire.NotifyResend},
		{Code: wire.NotifyPrune, Nodes: []lowlevel.NodeID{5}},
	}
	for _, form := range []*notify.Notifier{n, n.Later()} {
		for _, err := range []error{
			form.InvalInode(2, 3, 4), form.InvalEntry(3, "a"), form.ExpireEntry(3, "b"), form.Delete(3, 4, "c"),
			form.Store(2, 8, []byte("da"), []byte("ta")), form.Wakeup(9), form.IncEpoch(), form.Resend(), form.Prune(5),
		} {
			require.NoError(t, err)
		}
		require.NoError(t, n.Flush(t.Context()))
		var got []fusetest.Notification
		for range want {
			m := <-k.Notifications()
			m.Body = nil
			got = append(got, m)
		}
		if form == n {
			require.Equal(t, want, got)
		} else { // between nodes there is no order
			require.ElementsMatch(t, want, got)
		}
	}
	k.Destroy()
	require.ErrorIs(t, n.IncEpoch(), syscall.ENOTCONN)
	require.ErrorIs(t, n.Later().IncEpoch(), syscall.ENOTCONN)
	require.Equal(t, session.ErrNotMounted, k.Session().Unmount(t.Context(), 0))
}

func TestNotifyGates(t *testing.T) {
	ops := yes()
	k := fusetest.Options{Minor: 31, NoInit: true}.New(t, ops, nil)
	n := k.Session().Notify()
	require.ErrorIs(t, n.InvalInode(1, 0, 0), syscall.ENOTCONN)
	require.ErrorIs(t, k.Session().Retrieve(1, 0, 1, nil), syscall.ENOTCONN)
	ops.Init = func(*lowlevel.Conn) error { return nil }
	require.NoError(t, k.Init())
	require.NoError(t, n.InvalInode(1, 0, 0))
	for _, err := range []error{n.IncEpoch(), n.ExpireEntry(1, "x"), n.Later().Prune(3), n.Resend()} {
		no, ok := errors.AsType[*notify.NotSupportedError](err)
		require.True(t, ok, "%v", err)
		require.EqualValues(t, 31, no.Have)
		require.Equal(t, syscall.ENOSYS, lowlevel.ErrnoOf(err))
	}
	require.Equal(t, wire.NotifyInvalInode, (<-k.Notifications()).Code)
}

func TestRetrieve(t *testing.T) {
	ops := yes()
	type answer struct {
		cookie any
		text   string
	}
	got := make(chan answer, 1)
	ops.RetrieveReply = func(r lowlevel.NoneReq, cookie any, ino lowlevel.NodeID, off int64, buf *lowlevel.BufVec) {
		p := make([]byte, 100)
		n, err := lowlevel.Copy(lowlevel.MemVec(p), buf, 0)
		if err != nil || ino != 2 || off != 3 {
			t.Errorf("retrieve of %d at %d: %v", ino, off, err)
		}
		r.ReplyNone()
		got <- answer{cookie, string(p[:n])}
	}
	var k *fusetest.Kernel
	k = fusetest.Options{OnNotify: func(n *fusetest.Notification) error {
		if n.NodeID != 2 {
			return syscall.ENOENT
		}
		m := *n
		go k.Retrieved(&m, []byte("cached"))
		return nil
	}}.New(t, ops, nil)
	s := k.Session()
	p := make([]byte, 20)
	n, err := s.Notify().Retrieve(t.Context(), 2, 3, p)
	require.NoError(t, err)
	require.Equal(t, "cached", string(p[:n]))
	_, err = s.Notify().Retrieve(t.Context(), 7, 3, p)
	require.Equal(t, syscall.ENOENT, err)
	require.NoError(t, s.Retrieve(2, 3, 20, "cookie"))
	require.Equal(t, answer{"cookie", "cached"}, <-got)
	require.Equal(t, syscall.ENOENT, s.Retrieve(7, 3, 20, "cookie"))
}

// Over io_uring the answer's struct is in the payload, and what Op holds is another request's.
func TestRetrieveReplyByRing(t *testing.T) {
	ops := yes()
	got := make(chan string, 1)
	ops.RetrieveReply = func(r lowlevel.NoneReq, cookie any, _ lowlevel.NodeID, _ int64, buf *lowlevel.BufVec) {
		p := make([]byte, 100)
		n, _ := lowlevel.Copy(lowlevel.MemVec(p), buf, 0)
		r.ReplyNone()
		got <- string(p[:n])
	}
	stub := newStub(1, 0)
	q := stub.queues[0]
	q.over = func(*stubFrame, *session.Reply) {}
	s := serve(t, stub, ops, lowlevel.Config{})
	f := &stubFrame{}
	f.Joined, f.Data = true, f
	q.in <- f.request(wire.OpInit, 1, 0, initBody)
	<-s.Ready()
	require.NoError(t, s.Retrieve(2, 0, 10, nil))
	f = &stubFrame{}
	f.Data = f
	in := wire.NotifyRetrieveIn{Size: 5}
	f.request(wire.OpNotifyReply, 1, 2, nil)
	f.Op = bytes.Repeat([]byte{0xff}, 128)
	f.Payload = append(bytes.Clone(sys.Bytes(&in)), "hello"...)
	f.Joined, f.URing = false, true
	q.in <- &f.Frame
	require.Equal(t, "hello", <-got)
}

// safeLog is a log that may be read while it is written.
type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
	ch chan struct{}
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Contains(string(p), "level=ERROR") {
		select {
		case l.ch <- struct{}{}:
		default:
		}
	}
	return l.b.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *safeLog) lines(level string) (list []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "level="+level) {
			list = append(list, line)
		}
	}
	return list
}

// A notification sent inside the handler of a request for which it may wait is found in debug mode.
func TestNotifyInsideHandler(t *testing.T) {
	ops := yes()
	var n *notify.Notifier
	inval := func(ino lowlevel.NodeID) {
		n.InvalEntry(ino, "x")
		n.Later().InvalEntry(ino, "y")
	}
	ops.Unlink = func(r lowlevel.ErrReq, parent lowlevel.NodeID, _ lowlevel.Name) {
		inval(parent)
		r.ReplyOK()
		inval(parent)
	}
	ops.Rename = func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ lowlevel.Name, newparent lowlevel.NodeID, _ lowlevel.Name, _ uint32) {
		inval(newparent)
		r.ReplyOK()
	}
	ops.Rmdir = func(r lowlevel.ErrReq, parent lowlevel.NodeID, _ lowlevel.Name) {
		inval(parent + 1) // has nothing to do with it
		r.ReplyOK()
	}
	for _, debug := range []bool{true, false} {
		log := &safeLog{ch: make(chan struct{}, 1)}
		k := fusetest.New(t, ops, &lowlevel.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Debug: debug})
		n = k.Session().Notify()
		require.NoError(t, k.Rmdir(1, "d"))
		require.Empty(t, log.lines("ERROR"))
		require.NoError(t, k.Unlink(1, "f"))
		require.NoError(t, k.Rename(1, "f", 5, "g", 0))
		require.NoError(t, n.Flush(t.Context()))
		lines := log.lines("ERROR")
		if !debug {
			require.Empty(t, lines)
			continue
		}
		require.Len(t, lines, 2, log)
		for i, want := range []string{"op=UNLINK", "op=RENAME"} {
			require.Contains(t, lines[i], "notification inside the handler of a request")
			require.Contains(t, lines[i], "code=INVAL_ENTRY")
			require.Contains(t, lines[i], want)
			require.Equal(t, 2, strings.Count(lines[i], "TestNotifyInsideHandler.func1("), "both stacks: %s", lines[i])
		}
	}
}

// One that waits for a handler of another goroutine, which waits for it, is found when it takes too long.
func TestNotifyDeadlock(t *testing.T) {
	log := &safeLog{ch: make(chan struct{}, 1)}
	ops := yes()
	release, blocked := make(chan struct{}), make(chan struct{})
	ops.Unlink = func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ lowlevel.Name) {
		close(blocked)
		<-release
		r.ReplyOK()
	}
	k := fusetest.Options{OnNotify: func(*fusetest.Notification) error {
		<-release
		return nil
	}}.New(t, ops, &lowlevel.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Debug: true})
	var wg sync.WaitGroup
	wg.Go(func() { k.Unlink(1, "f") })
	<-blocked
	wg.Go(func() { waitingSender(k.Session().Notify()) })
	<-log.ch
	close(release)
	wg.Wait()
	lines := log.lines("ERROR")
	require.Len(t, lines, 1)
	for _, want := range []string{"waits for a request without a reply", "op=UNLINK", "waitingSender", "TestNotifyDeadlock.func1"} {
		require.Contains(t, lines[0], want)
	}
}

func waitingSender(n *notify.Notifier) { n.InvalEntry(1, "f") }

// The end of a session does not wait for ever for a notification that waits for a request that nobody answers.
func TestCloseWithStuckNotification(t *testing.T) {
	log := &safeLog{}
	release := make(chan struct{})
	k := fusetest.Options{OnNotify: func(*fusetest.Notification) error {
		<-release
		return nil
	}}.New(t, yes(), &lowlevel.Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
	s := k.Session()
	require.NoError(t, s.Notify().Later().InvalEntry(1, "f"))
	require.NoError(t, s.Notify().Later().InvalEntry(1, "g"))
	s.Close()
	require.Contains(t, log.String(), "waits for a request without a reply")
	close(release)
	require.NoError(t, s.Notify().Stop(context.Background()))
}

// What is queued when the session is closed is sent before.
func TestCloseSendsWhatWaits(t *testing.T) {
	k := fusetest.New(t, yes(), nil)
	s := k.Session()
	const names = 1000
	for i := range names {
		require.NoError(t, s.Notify().Later().InvalInode(lowlevel.NodeID(i+1), 0, 0))
	}
	require.NoError(t, s.Close())
	require.Len(t, k.Notifications(), names)
	require.ErrorIs(t, s.Notify().Later().IncEpoch(), syscall.ENOTCONN)
}
