//go:build linux

package fusetest_test

import (
	"encoding/binary"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// run gives an example a testing.TB.
func run(f func(testing.TB)) {
	tb := &exampleTB{}
	f(tb)
	for i := len(tb.cleanups) - 1; i >= 0; i-- {
		tb.cleanups[i]()
	}
}

type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                      {}
func (e *exampleTB) Cleanup(f func())             { e.cleanups = append(e.cleanups, f) }
func (e *exampleTB) Output() io.Writer            { return io.Discard }
func (e *exampleTB) Errorf(f string, args ...any) { panic(f) }
func (e *exampleTB) Fatalf(f string, args ...any) { panic(f) }
func (e *exampleTB) Fatal(args ...any)            { panic(args) }

// wires is a server that the test plays itself, with bytes.
type wires struct {
	t *testing.T
	k *fusetest.Kernel
	q session.Queue
	x session.Transport
}

func newWires(t *testing.T, o fusetest.Options) *wires {
	o.Lenient, o.Unanswered = true, true
	w := &wires{t: t, k: o.Bare(t)}
	w.x = w.k.Transport()
	t.Cleanup(func() { w.x.Close() })
	w.q = w.x.First()
	done := make(chan error)
	go func() { done <- w.k.Init() }()
	h, _ := w.read()
	require.NoError(t, w.send(h.Unique, 0, sys.Bytes(&wire.InitOut{Major: 7, Minor: wire.KernelMinor, MaxWrite: 4096})))
	require.NoError(t, <-done)
	return w
}

func (w *wires) read() (wire.InHeader, []byte) {
	var f [1]*session.Frame
	n, err := w.q.Receive(f[:])
	require.NoError(w.t, err)
	require.Equal(w.t, 1, n)
	var h wire.InHeader
	copy(sys.Bytes(&h), f[0].Header)
	body := append([]byte(nil), f[0].Op...)
	w.q.Drop(f[0])
	return h, body
}

func (w *wires) send(unique uint64, errno int32, body []byte) error {
	h := wire.OutHeader{Len: uint32(16 + len(body)), Error: errno, Unique: unique}
	return w.x.Send(sys.Bytes(&h), body)
}

// TestReplyRules writes replies that the kernel does not take, and what becomes of the requester.
func TestReplyRules(t *testing.T) {
	w := newWires(t, fusetest.Options{})
	getattr := func() (*fusetest.Call, uint64) {
		c := w.k.Start(wire.OpGetattr, root, make([]byte, 16), nil)
		h, body := w.read()
		require.Equal(t, c.Unique, h.Unique)
		require.Len(t, body, 16)
		return c, h.Unique
	}
	attr := func(mode uint32) []byte { return sys.Bytes(&wire.AttrOut{Attr: wire.Attr{Mode: mode}}) }

	c, u := getattr()
	require.Equal(t, syscall.EINVAL, w.x.Send([]byte("short")))
	h := wire.OutHeader{Len: 17, Unique: u}
	require.Equal(t, syscall.EINVAL, w.x.Send(sys.Bytes(&h)))
	require.Equal(t, syscall.EINVAL, w.send(u, 1, nil))
	require.Equal(t, syscall.EINVAL, w.send(u, -512, nil))
	require.Equal(t, syscall.ENOENT, w.send(u+100, 0, nil))
	require.Len(t, w.k.Unanswered(), 1) // none of these has ended it
	require.NoError(t, w.send(u, -511, nil))
	_, err := c.Wait()
	require.Equal(t, syscall.Errno(511), err)
	require.Equal(t, syscall.ENOENT, w.send(u, 0, nil))

	for _, body := range [][]byte{nil, make([]byte, 103), make([]byte, 105)} {
		c, u = getattr()
		require.Equal(t, syscall.EINVAL, w.send(u, 0, body))
		_, err = c.Wait()
		require.Equal(t, syscall.EIO, err)
	}
	c, u = getattr()
	require.Equal(t, syscall.EINVAL, w.send(u, -5, make([]byte, 8)))
	_, err = c.Wait()
	require.Equal(t, syscall.EIO, err)

	// A reply of the right length that cannot be true ends the request well, and the system call with EIO.
	for _, mode := range []uint32{0, syscall.S_IFREG} {
		done := make(chan error)
		go func() { _, err := w.k.Getattr(root); done <- err }()
		h, _ := w.read()
		require.NoError(t, w.send(h.Unique, 0, attr(mode)))
		require.Equal(t, syscall.EIO, <-done)
	}
	for _, e := range []wire.EntryOut{
		{NodeID: 5},
		{NodeID: 1, Attr: wire.Attr{Mode: syscall.S_IFDIR}},
		{NodeID: 5, Attr: wire.Attr{Mode: syscall.S_IFREG, Size: 1 << 63}},
	} {
		done := make(chan error)
		go func() { _, err := w.k.Lookup(root, "x"); done <- err }()
		h, _ := w.read()
		require.NoError(t, w.send(h.Unique, 0, sys.Bytes(&e)))
		require.Equal(t, syscall.EIO, <-done)
		require.Zero(t, w.k.Lookups(5))
	}
	// A listing with a bad name is refused whole; one that is cut off loses its end.
	for _, c := range []struct {
		body []byte
		want int
		err  error
	}{
		{wire.AppendDirent(wire.AppendDirent(nil, &wire.Dirent{Ino: 1}, "a"), &wire.Dirent{Ino: 2}, "b/c"), 0, syscall.EIO},
		{wire.AppendDirent(wire.AppendDirent(nil, &wire.Dirent{Ino: 1}, "a"), &wire.Dirent{Ino: 2}, "b")[:60], 1, nil},
	} {
		done := make(chan error)
		var list []fusetest.Dirent
		go func() {
			var err error
			list, err = w.k.Dir(root, 0).Readdir(0, 4096)
			done <- err
		}()
		h, _ := w.read()
		require.NoError(t, w.send(h.Unique, 0, c.body))
		require.Equal(t, c.err, <-done)
		require.Len(t, list, c.want)
	}
	require.NotEmpty(t, w.k.Violations())
}

// TestResend sends requests again on request, with the mark in their numbers.
func TestResend(t *testing.T) {
	w := newWires(t, fusetest.Options{})
	c := w.k.Start(wire.OpGetattr, root, make([]byte, 16), nil)
	h, _ := w.read()
	require.NoError(t, w.x.Send(sys.Bytes(&wire.OutHeader{Len: 16, Error: int32(wire.NotifyResend)})))
	again, _ := w.read()
	require.Equal(t, h.Unique|1<<63, again.Unique)
	require.Equal(t, syscall.ENOENT, w.send(h.Unique, -5, nil))
	require.NoError(t, w.send(again.Unique, -5, nil))
	_, err := c.Wait()
	require.Equal(t, syscall.EIO, err)
	require.Equal(t, wire.NotifyResend, (<-w.k.Notifications()).Code)
}

// TestNotificationRules takes what a kernel of a minor knows, in the right form.
func TestNotificationRules(t *testing.T) {
	inval := append(sys.Bytes(&wire.NotifyInvalEntryOut{Parent: 1, NameLen: 3, Flags: 1}), "abc\x00"...)
	w := newWires(t, fusetest.Options{Minor: 17})
	note := func(code wire.NotifyCode, body []byte) error { return w.send(0, int32(code), body) }
	require.NoError(t, note(wire.NotifyInvalEntry, inval))
	n := <-w.k.Notifications()
	require.Equal(t, "abc", n.Name)
	require.EqualValues(t, 1, n.Flags)
	require.Equal(t, root, n.Parent)
	require.Equal(t, syscall.EINVAL, note(wire.NotifyInvalEntry, inval[:len(inval)-1]))
	require.Equal(t, syscall.EINVAL, note(wire.NotifyDelete, make([]byte, 32)))
	require.Equal(t, syscall.EINVAL, note(77, nil))
	store := append(sys.Bytes(&wire.NotifyStoreOut{NodeID: 4, Offset: 5, Size: 2}), "xy"...)
	require.NoError(t, note(wire.NotifyStore, store))
	n = <-w.k.Notifications()
	require.Equal(t, "xy", string(n.Data))
	require.EqualValues(t, 5, n.Off)
	require.Equal(t, syscall.EINVAL, note(wire.NotifyStore, store[:25]))
	require.NoError(t, note(wire.NotifyRetrieve, sys.Bytes(&wire.NotifyRetrieveOut{NotifyUnique: 99, NodeID: 4, Offset: 8, Size: 10})))
	n = <-w.k.Notifications()
	go w.k.Retrieved(&n, []byte("data"))
	h, body := w.read()
	require.Equal(t, wire.OpNotifyReply, wire.Opcode(h.Opcode))
	require.EqualValues(t, 99, h.Unique)
	require.EqualValues(t, 8, binary.NativeEndian.Uint64(body[8:]))
	require.Equal(t, "data", string(body[40:]))

	refuse := fusetest.Options{OnNotify: func(n *fusetest.Notification) error { return syscall.ENOENT }}
	w = newWires(t, refuse)
	require.Equal(t, syscall.ENOENT, note(wire.NotifyPrune, append(sys.Bytes(&wire.NotifyPruneOut{Count: 1}), make([]byte, 8)...)))
}

// TestSticky has the kernel remember what a server does not have.
func TestSticky(t *testing.T) {
	calls := 0
	no := func(r interface{ ReplyErr(syscall.Errno) error }) { calls++; r.ReplyErr(syscall.ENOSYS) }
	ops := &lowlevel.Operations{
		Access:    func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ uint32) { no(r) },
		Flush:     func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { no(r) },
		Open:      func(r lowlevel.OpenReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { no(r) },
		Release:   func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) { t.Error("released"); r.ReplyOK() },
		Fallocate: func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ uint32, _, _ int64, _ *lowlevel.FileInfo) { no(r) },
	}
	k := fusetest.New(t, ops, nil)
	for range 3 {
		require.NoError(t, k.Access(root, 4))
		f, err := k.Open(2, 0)
		require.NoError(t, err)
		require.True(t, f.NoOpen)
		require.NoError(t, f.Close())
		require.Equal(t, syscall.EOPNOTSUPP, f.Fallocate(0, 0, 1))
	}
	require.Equal(t, 4, calls)
}

// TestMisuse fails tests that leave requests unanswered, forget too much, or whose server breaks the rules.
func TestMisuse(t *testing.T) {
	fake := &exampleTB{}
	r := &recorder{TB: fake}
	ops := &lowlevel.Operations{
		Getattr: func(lowlevel.AttrReq, lowlevel.NodeID, *lowlevel.FileInfo) {},
		Lookup: func(r lowlevel.EntryReq, _ lowlevel.NodeID, _ lowlevel.Name) {
			r.ReplyEntry(&lowlevel.Entry{NodeID: 7})
		},
	}
	k := fusetest.New(r, ops, nil)
	<-k.Start(wire.OpGetattr, root, make([]byte, 16), nil).Read()
	_, err := k.Lookup(root, "x")
	require.Equal(t, syscall.EIO, err)
	k.Forget(9, 1)
	for i := len(fake.cleanups) - 1; i >= 0; i-- {
		fake.cleanups[i]()
	}
	for _, want := range []string{"no reply to GETATTR of node 1", "LOOKUP of node 1 (unique 6): attributes of no kind of file", "forgets 1 lookups of node 9"} {
		require.Contains(t, r.text.String(), want)
	}
}
