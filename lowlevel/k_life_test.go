//go:build linux

package lowlevel_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// TestPanic has operations panic before and after their reply.
func TestPanic(t *testing.T) {
	ops := yes()
	ops.Lookup = func(r lowlevel.EntryReq, _ lowlevel.NodeID, name lowlevel.Name) {
		if name.String() == "late" {
			r.ReplyErr(syscall.EDOM)
		}
		panic("no " + name.String())
	}
	ops.Forget = func(lowlevel.NoneReq, lowlevel.NodeID, uint64) { panic("forget") }
	ops.Setlk = func(lowlevel.ErrReq, lowlevel.NodeID, *lowlevel.FileInfo, *lowlevel.Flock, bool) { panic("setlk") }
	k := fusetest.New(t, ops, &lowlevel.Config{Logger: quiet})
	_, err := k.Lookup(root, "x")
	require.Equal(t, syscall.EIO, err)
	_, err = k.Lookup(root, "late")
	require.Equal(t, syscall.EDOM, err)
	require.Equal(t, syscall.EIO, k.File(2, 1).Setlk(wire.FileLock{}, true)) // on a goroutine of its own
	_, err = k.Raw(wire.OpForget, 2, make([]byte, 8), nil)
	require.NoError(t, err)
	_, err = k.Getattr(root)
	require.NoError(t, err)
	require.Empty(t, slices.Collect(k.Session().InFlight()))

	type seen struct {
		op    lowlevel.Op
		value any
	}
	got := make(chan seen, 2)
	k = fusetest.New(t, ops, &lowlevel.Config{OnPanic: func(i lowlevel.RequestInfo, v any) lowlevel.Errno {
		got <- seen{i.Op, v}
		return syscall.ENOMEM
	}})
	_, err = k.Lookup(root, "y")
	require.Equal(t, syscall.ENOMEM, err)
	require.Equal(t, seen{wire.OpLookup, "no y"}, <-got)
}

func TestPanicInInit(t *testing.T) {
	ops := yes()
	ops.Init = func(*lowlevel.Conn) error { panic("init") }
	k := fusetest.Options{NoInit: true}.New(t, ops, &lowlevel.Config{Logger: quiet})
	require.Equal(t, syscall.EPROTO, k.Init())
	<-k.Session().Done()
	_, err := k.Getattr(root)
	require.Equal(t, syscall.ECONNREFUSED, err)
}

// TestInitError has Serve tell why the session failed.
func TestInitError(t *testing.T) {
	ops := yes()
	ops.Init = func(*lowlevel.Conn) error { return os.ErrPermission }
	k := fusetest.Options{NoInit: true}.New(t, ops, &lowlevel.Config{Logger: quiet})
	require.Equal(t, syscall.EPROTO, k.Init())
	s := k.Session()
	<-s.Done()
	select {
	case <-s.Ready():
		t.Fatal("ready")
	default:
	}
}

// TestInFlight shows a request that is never answered.
func TestInFlight(t *testing.T) {
	ops, reqs := held()
	k := fusetest.Options{Unanswered: true}.New(t, ops, nil)
	c := k.As(fusetest.Caller{PID: 4711}).Start(wire.OpGetattr, root, make([]byte, 16), nil)
	r := <-reqs
	list := slices.Collect(k.Session().InFlight())
	require.Len(t, list, 1)
	require.Equal(t, wire.OpGetattr, list[0].Op)
	require.Equal(t, c.Unique, list[0].Unique)
	require.Equal(t, root, list[0].NodeID)
	require.EqualValues(t, 4711, list[0].PID)
	require.GreaterOrEqual(t, list[0].Age, time.Duration(0))
	require.True(t, r.Pending())
	require.NoError(t, r.ReplyErr(syscall.EPERM))
	require.False(t, r.Pending())
	require.Empty(t, slices.Collect(k.Session().InFlight()))
	_, err := c.Wait()
	require.Equal(t, syscall.EPERM, err)
	getattr(k)
	<-reqs
}

// TestExitAnswers asks for the end of the session while a request is being worked on: it is still answered.
func TestExitAnswers(t *testing.T) {
	ops, reqs := held()
	k := fusetest.New(t, ops, nil)
	c := getattr(k)
	r := <-reqs
	ctx := r.Context()
	s := k.Session()
	s.Exit()
	<-s.Done()
	require.True(t, s.Exited())
	require.ErrorIs(t, context.Cause(ctx), session.ErrStopped)
	require.NoError(t, r.ReplyErr(syscall.EDOM))
	_, err := c.Wait()
	require.Equal(t, syscall.EDOM, err)
	require.ErrorIs(t, r.ReplyErr(0), lowlevel.ErrReplied)
}

// TestDisconnect loses the connection while a request is being worked on.
func TestDisconnect(t *testing.T) {
	ops, reqs := held()
	destroyed := 0
	ops.Destroy = func() { destroyed++ }
	k := fusetest.New(t, ops, &lowlevel.Config{Logger: quiet})
	c := getattr(k)
	r := <-reqs
	k.Disconnect()
	_, err := c.Wait()
	require.Equal(t, syscall.ECONNABORTED, err)
	_, err = k.Getattr(root)
	require.Equal(t, syscall.ENOTCONN, err)
	<-k.Session().Done()
	require.ErrorIs(t, r.ReplyErr(0), syscall.ENODEV)
	require.ErrorIs(t, r.ReplyErr(0), lowlevel.ErrReplied)
	require.NoError(t, k.Session().Close())
	require.Equal(t, 1, destroyed)
}

// TestBlockingLock keeps a single worker free while somebody waits for a lock.
func TestBlockingLock(t *testing.T) {
	waiting := make(chan lowlevel.ErrReq)
	ops := yes()
	ops.Setlk = func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo, lk *lowlevel.Flock, sleep bool) {
		if !sleep {
			r.ReplyErr(syscall.EAGAIN)
			return
		}
		waiting <- r
		<-waiting
		r.ReplyOK()
	}
	ops.Flock = func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo, op int) {
		if op&syscall.LOCK_NB != 0 {
			r.ReplyErr(syscall.EAGAIN)
			return
		}
		waiting <- r
		<-waiting
		r.ReplyErr(lowlevel.Errno(op))
	}
	k := fusetest.New(t, ops, &lowlevel.Config{Workers: 1})
	f := k.File(2, 1)
	require.Equal(t, syscall.EAGAIN, f.Setlk(wire.FileLock{Type: syscall.F_WRLCK}, false))
	require.Equal(t, syscall.EAGAIN, f.Flock(syscall.LOCK_EX|syscall.LOCK_NB))
	for want, lock := range map[error]func() error{
		nil:                            func() error { return f.Setlk(wire.FileLock{Type: syscall.F_WRLCK}, true) },
		syscall.Errno(syscall.LOCK_EX): func() error { return f.Flock(syscall.LOCK_EX) },
	} {
		got := make(chan error)
		go func() { got <- lock() }()
		r := <-waiting
		_, err := k.Getattr(root)
		require.NoError(t, err)
		require.True(t, r.Pending())
		waiting <- r
		require.Equal(t, want, <-got)
	}
}

// TestAllowRoot asks as owner, root and a stranger: the operations on open files are everybody's.
func TestAllowRoot(t *testing.T) {
	free := []wire.Opcode{wire.OpRead, wire.OpWrite, wire.OpFsync, wire.OpRelease, wire.OpReaddir, wire.OpFsyncdir, wire.OpReleasedir, wire.OpReaddirplus}
	k := fusetest.New(t, yes(), &lowlevel.Config{Logger: quiet, Mount: session.MountOptions{AllowRoot: true}})
	owner := uint32(os.Getuid())
	for op := wire.Opcode(1); op < 60; op++ {
		if op == wire.OpInit || op == wire.OpDestroy || op == wire.OpInterrupt || noReply(op) {
			continue
		}
		body := append(make([]byte, argSize[op]), "a\x00b\x00"...)
		want := func(uid uint32) error { _, err := k.As(fusetest.Caller{UID: uid}).Raw(op, root, body, nil); return err }
		mine := want(owner)
		require.Equal(t, mine, want(0), op)
		require.NotEqual(t, syscall.EACCES, mine, op)
		if op == wire.OpRelease || op == wire.OpReleasedir || slices.Contains(free, op) {
			require.Equal(t, mine, want(owner+1000), op)
		} else {
			require.Equal(t, syscall.EACCES, want(owner+1000), op)
		}
	}
}

// TestStrict fails operations that return without a reply, unless they said that it comes later.
func TestStrict(t *testing.T) {
	later := make(chan lowlevel.AttrReq, 1)
	ops := &lowlevel.Operations{
		Lookup: func(lowlevel.EntryReq, lowlevel.NodeID, lowlevel.Name) {},
		Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) {
			r.Async()
			later <- r
		},
	}
	k := fusetest.New(t, ops, &lowlevel.Config{Logger: quiet, Strict: true})
	_, err := k.Lookup(root, "x")
	require.Equal(t, syscall.EIO, err)
	c := getattr(k)
	require.NoError(t, (<-later).ReplyErr(syscall.EDOM))
	_, err = c.Wait()
	require.Equal(t, syscall.EDOM, err)
}

// TestBadErrno replaces error numbers that Linux does not have.
func TestBadErrno(t *testing.T) {
	ops := &lowlevel.Operations{Access: func(r lowlevel.ErrReq, _ lowlevel.NodeID, mask uint32) { r.ReplyErr(lowlevel.Errno(mask)) }}
	k := fusetest.New(t, ops, &lowlevel.Config{Logger: quiet})
	for no := range uint32(600) {
		_, err := k.Raw(wire.OpAccess, root, sys.Bytes(&wire.AccessIn{Mask: no}), nil)
		switch {
		case no == 0:
			require.NoError(t, err)
		case no == 41, no == 58, no > 133:
			require.Equal(t, syscall.ERANGE, err, no)
		default:
			require.Equal(t, syscall.Errno(no), err)
		}
	}
	_, err := k.Raw(wire.OpAccess, root, sys.Bytes(&wire.AccessIn{Mask: 1<<32 - 2}), nil) // -ENOENT
	require.Equal(t, syscall.ERANGE, err)
}

// TestExtensions hands security contexts and the parent's group to creating operations.
func TestExtensions(t *testing.T) {
	type got struct {
		ctx   map[string]string
		group uint32
		has   bool
		umask uint32
		name  string
	}
	ch := make(chan got, 1)
	note := func(r lowlevel.Req, name string) {
		g := got{ctx: map[string]string{}, umask: r.Caller().Umask, name: name}
		for n, v := range r.SecCtx() {
			g.ctx[n] = string(v)
		}
		g.group, g.has = r.ParentGroup()
		ch <- g
	}
	ops := yes()
	ops.Mkdir = func(r lowlevel.EntryReq, _ lowlevel.NodeID, name lowlevel.Name, _ uint32) {
		note(r.Req, name.String())
		r.ReplyEntry(entry(dirMode))
	}
	ops.Symlink = func(r lowlevel.EntryReq, target lowlevel.Name, _ lowlevel.NodeID, name lowlevel.Name) {
		note(r.Req, name.String()+" -> "+target.String())
		r.ReplyEntry(entry(syscall.S_IFLNK))
	}
	ops.Init = func(c *lowlevel.Conn) error { return c.Want(lowlevel.CapSecurityCtx | lowlevel.CapCreateSuppGroup) }
	k := fusetest.New(t, ops, &lowlevel.Config{Logger: quiet})
	require.Equal(t, wire.InitSecurityCtx|wire.InitCreateSuppGroup, k.Flags()&(wire.InitSecurityCtx|wire.InitCreateSuppGroup))
	labels := []wire.SecurityContext{{Name: []byte("security.selinux"), Value: []byte("system_u:object_r:x\x00")}, {Name: []byte("security.SMACK64"), Value: []byte("_")}}
	for _, c := range []struct {
		who  fusetest.Caller
		want got
	}{
		{fusetest.Caller{}, got{ctx: map[string]string{}}},
		{fusetest.Caller{SecCtx: labels[:0], Umask: 0o22}, got{ctx: map[string]string{}, umask: 0o22}},
		{fusetest.Caller{SecCtx: labels}, got{ctx: map[string]string{"security.selinux": "system_u:object_r:x\x00", "security.SMACK64": "_"}}},
		{fusetest.Caller{Groups: []uint32{77}}, got{ctx: map[string]string{}, group: 77, has: true}},
		{fusetest.Caller{SecCtx: labels[1:], Groups: []uint32{78}}, got{ctx: map[string]string{"security.SMACK64": "_"}, group: 78, has: true}},
	} {
		for _, name := range []string{"n", "a longer name"} {
			_, err := k.As(c.who).Mkdir(root, name, 0o777)
			require.NoError(t, err)
			c.want.name = name
			require.Equal(t, c.want, <-ch)
		}
		_, err := k.As(c.who).Symlink(root, "n", "target")
		require.NoError(t, err)
		c.want.name, c.want.umask = "n -> target", 0
		require.Equal(t, c.want, <-ch)
	}
	// An area that is longer than the request, and records that make no sense, are left alone.
	for _, ext := range [][]byte{{4, 0, 0, 0, 1, 0, 0, 0}, {16, 0, 0, 0, 1, 0, 0, 0}, {8, 0, 0, 0, 32, 0, 0, 0}} {
		h := wire.InHeader{Len: uint32(40 + 8 + 2 + len(ext)), Opcode: uint32(wire.OpMkdir), Unique: k.Unique(), NodeID: 1, TotalExtLen: uint16(len(ext) / 8)}
		msg := slices.Concat(sys.Bytes(&h), make([]byte, 8), []byte("n\x00"), ext)
		_, err := k.Inject(msg).Wait()
		require.NoError(t, err)
		require.Equal(t, got{ctx: map[string]string{}, name: "n"}, <-ch)
	}
	h := wire.InHeader{Len: 50, Opcode: uint32(wire.OpMkdir), Unique: k.Unique(), NodeID: 1, TotalExtLen: 9}
	_, err := k.Inject(slices.Concat(sys.Bytes(&h), make([]byte, 8), []byte("n\x00"))).Wait()
	require.NoError(t, err)
	require.Equal(t, got{ctx: map[string]string{}, name: "n"}, <-ch)
}

// TestGroups reads the caller's groups where the kernel has them.
func TestGroups(t *testing.T) {
	type got struct {
		groups []uint32
		err    error
	}
	ch := make(chan got, 1)
	ops := &lowlevel.Operations{Access: func(r lowlevel.ErrReq, _ lowlevel.NodeID, _ uint32) {
		g, err := r.Groups(nil)
		ch <- got{g, err}
		r.ReplyOK()
	}}
	k := fusetest.New(t, ops, nil)
	want, err := os.Getgroups()
	require.NoError(t, err)
	require.NoError(t, k.Access(root, 4))
	g := <-ch
	require.NoError(t, g.err)
	require.Len(t, g.groups, len(want))
	for _, gid := range want {
		require.Contains(t, g.groups, uint32(gid))
	}
	require.NoError(t, k.As(fusetest.Caller{}).Access(root, 4))
	require.ErrorIs(t, (<-ch).err, syscall.EIO)
	require.NoError(t, k.As(fusetest.Caller{PID: 1<<31 - 1}).Access(root, 4))
	require.ErrorIs(t, (<-ch).err, syscall.EIO)
}

// TestFaults has the device fail in all ways that need not be the end: every request still gets an answer.
func TestFaults(t *testing.T) {
	once := func(f fusetest.Fault) func(int, []byte) fusetest.Fault {
		return func(n int, _ []byte) fusetest.Fault {
			if n%2 == 0 { // the first write is INIT's answer
				return f
			}
			return fusetest.Fault{}
		}
	}
	for name, c := range map[string]struct {
		plan fusetest.FaultPlan
		want error
	}{
		"EINTR":             {fusetest.FaultPlan{Write: once(fusetest.Fault{Err: syscall.EINTR})}, nil},
		"EAGAIN":            {fusetest.FaultPlan{Write: once(fusetest.Fault{Err: syscall.EAGAIN})}, nil},
		"ENOMEM":            {fusetest.FaultPlan{Write: once(fusetest.Fault{Err: syscall.ENOMEM})}, nil},
		"EFAULT":            {fusetest.FaultPlan{Write: once(fusetest.Fault{Err: syscall.EFAULT})}, syscall.EIO},
		"short":             {fusetest.FaultPlan{Write: once(fusetest.Fault{Short: 20})}, syscall.EIO},
		"short, no header":  {fusetest.FaultPlan{Write: once(fusetest.Fault{Short: 7})}, syscall.EIO},
		"short, no error":   {fusetest.FaultPlan{Write: once(fusetest.Fault{Short: 20, ShortOK: true})}, syscall.EIO},
		"read EINTR":        {fusetest.FaultPlan{Read: everySecond(syscall.EINTR)}, nil},
		"read ENOENT":       {fusetest.FaultPlan{Read: everySecond(syscall.ENOENT)}, nil},
		"read EAGAIN":       {fusetest.FaultPlan{Read: everySecond(syscall.EAGAIN)}, nil},
		"wrapped read EINT": {fusetest.FaultPlan{Read: everySecond(os.NewSyscallError("read", syscall.EINTR))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := fusetest.Options{Faults: c.plan}.New(t, yes(), &lowlevel.Config{Logger: quiet, Workers: 1})
			for range 5 {
				_, err := k.Getattr(root)
				require.Equal(t, c.want, err)
				if c.want != nil {
					_, err := k.Getattr(root) // the write that puts it right has taken the turn
					require.Equal(t, c.want, err)
				}
			}
		})
	}
	t.Run("reply ENOENT", func(t *testing.T) {
		ops, reqs := held()
		plan := fusetest.FaultPlan{Write: once(fusetest.Fault{Err: syscall.ENOENT})}
		k := fusetest.Options{Faults: plan, Unanswered: true}.New(t, ops, nil)
		getattr(k)
		require.ErrorIs(t, (<-reqs).ReplyErr(0x5), syscall.ENOENT)
	})
	for n := range 4 {
		k := fusetest.Options{NoInit: true, Faults: fusetest.FaultPlan{DisconnectAfter: 1 + n}}.New(t, yes(), &lowlevel.Config{Logger: quiet})
		require.NoError(t, k.Init())
		var err error
		for err == nil {
			_, err = k.Getattr(root)
		}
		require.True(t, errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ENOTCONN), err)
		<-k.Session().Done()
	}
}

func everySecond(err error) func(int) error {
	return func(n int) error {
		if n%2 == 0 {
			return err
		}
		return nil
	}
}
