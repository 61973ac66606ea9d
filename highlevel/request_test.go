//go:build linux

package highlevel

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

func TestMissingOperations(t *testing.T) {
	_, k := start(t, &Operations{Getattr: func(_ *Context, _ string, st *Stat, _ *FileInfo) error {
		st.Mode = modeRegular
		return nil
	}}, nil)
	require.Zero(t, k.Flags()&(wire.InitPosixLocks|wire.InitFlockLocks))
	e, err := k.Lookup(root, "x")
	require.NoError(t, err)
	st, err := k.Statfs(root)
	require.NoError(t, err)
	require.EqualValues(t, 255, st.NameLen)
	require.EqualValues(t, 512, st.Bsize)
	h, err := k.Open(e.NodeID, os.O_RDWR)
	require.NoError(t, err)
	_, err = h.Read(0, 10)
	require.Equal(t, syscall.ENOSYS, err)
	_, err = h.Write(0, []byte("x"))
	require.Equal(t, syscall.ENOSYS, err)
	require.NoError(t, h.Close(), "the kernel takes ENOSYS from FLUSH for success")
	d, err := k.Opendir(root)
	require.NoError(t, err)
	_, err = d.Readdir(0, 4096)
	require.Equal(t, syscall.ENOSYS, err)
	require.NoError(t, d.Close())
	_, err = k.Mkdir(root, "d", 0)
	require.Equal(t, syscall.ENOSYS, err)
	_, err = k.Mknod(root, "d", modeRegular, 0)
	require.Equal(t, syscall.ENOSYS, err)
	require.Equal(t, syscall.ENOSYS, k.Unlink(root, "d"))
	_, _, err = k.Getxattr(root, "user.x", 10)
	require.Equal(t, syscall.EOPNOTSUPP, err)
}

func TestSubstitution(t *testing.T) {
	data := []byte("0123456789")
	l := NewFilesystem(&Operations{ReadBuf: func(_ *Context, _ string, size int, off int64, _ *FileInfo) (*BufVec, error) {
		return &BufVec{Bufs: []Buf{{Mem: data[off:5]}, {Mem: data[5:]}}}, nil
	}, WriteBuf: func(_ *Context, _ string, buf *BufVec, _ int64, _ *FileInfo) (int, error) { return buf.Size(), nil }}, nil)
	c, fi := &Context{}, &FileInfo{}
	p := make([]byte, 6)
	n, err := l.Read(c, "/x", p, 2, fi)
	require.NoError(t, err)
	require.Equal(t, "234567", string(p[:n]))
	n, err = l.Write(c, "/x", data, 0, fi)
	require.NoError(t, err)
	require.Equal(t, 10, n)

	var got []byte
	l = NewFilesystem(&Operations{
		Read: func(_ *Context, _ string, p []byte, off int64, _ *FileInfo) (int, error) {
			return copy(p, data[off:]), nil
		},
		Write: func(_ *Context, _ string, p []byte, _ int64, _ *FileInfo) (int, error) {
			got = slices.Clone(p)
			return len(p), nil
		},
	}, nil)
	buf, err := l.ReadBuf(c, "/x", 100, 4, fi)
	require.NoError(t, err)
	require.Equal(t, 6, buf.Size())
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString("from a file")
	require.NoError(t, err)
	n, err = l.WriteBuf(c, "/x", &BufVec{Bufs: []Buf{{Mem: []byte("mem ")}, {IsFD: true, FD: int(file.Fd()), Size: 11, Seek: true}}}, 0, fi)
	require.NoError(t, err)
	require.Equal(t, 15, n)
	require.Equal(t, "mem from a file", string(got))

	l = NewFilesystem(nil, nil)
	_, err = l.Read(c, "/x", p, 0, fi)
	require.Equal(t, syscall.ENOSYS, err)
	_, err = l.ReadBuf(c, "/x", 1, 0, fi)
	require.Equal(t, syscall.ENOSYS, err)
	_, err = l.Write(c, "/x", p, 0, fi)
	require.Equal(t, syscall.ENOSYS, err)
}

// TestPanic: a panic in an operation is an error for its caller, and leaves no lock behind.
func TestPanic(t *testing.T) {
	m := newMemFS()
	ops := m.ops()
	unlink := ops.Unlink
	angry := true
	ops.Unlink = func(c *Context, path string) error {
		if angry {
			panic("angry")
		}
		return unlink(c, path)
	}
	f, k := start(t, ops, nil)
	_, err := k.Mknod(root, "x", modeRegular, 0)
	require.NoError(t, err)
	require.Equal(t, syscall.EIO, k.Unlink(root, "x"))
	angry = false
	require.NoError(t, k.Unlink(root, "x"))
	k.ForgetAll()
	f.nodes(t, 1)
}

func TestContext(t *testing.T) {
	var kept *Context
	var seen error
	ops := &Operations{
		Init: func(conn *Conn, cfg *Config) (any, error) {
			if cfg.EntryTimeout != time.Second || cfg.ACAttrTimeout != 5*time.Second {
				return nil, errors.New("timeouts are not settled")
			}
			cfg.AttrTimeout = 7 * time.Second
			return "from init", nil
		},
		Getattr: func(c *Context, _ string, st *Stat, _ *FileInfo) error {
			kept, seen = c, c.Err()
			st.Mode = modeDir
			_, err := c.Groups()
			return err
		},
	}
	_, k := start(t, ops, &Config{Config: lowlevel.Config{}, AttrTimeout: 5 * time.Second})
	st, err := k.As(fusetest.Caller{UID: 11, GID: 12, PID: uint32(os.Getpid())}).Getattr(root)
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, st.Timeout)
	require.NoError(t, seen)
	require.Equal(t, "from init", kept.Private)
	require.Equal(t, []uint32{11, 12, uint32(os.Getpid())}, []uint32{kept.UID, kept.GID, kept.PID})
	<-kept.Done() // the request is over
	require.Error(t, kept.Err())
	require.False(t, kept.Interrupted())
	_, err = kept.Groups()
	require.Equal(t, syscall.EINVAL, err)
}

func TestInterrupts(t *testing.T) {
	inside := make(chan *Context)
	ops := &Operations{Getattr: func(c *Context, _ string, st *Stat, _ *FileInfo) error {
		inside <- c
		<-c.Done()
		return c.Err()
	}}
	for _, mode := range []InterruptMode{InterruptGrace, InterruptCancel} {
		cfg := &Config{Interrupts: mode}
		cfg.Grace = time.Millisecond
		_, k := start(t, ops, cfg)
		call := k.Start(wire.OpGetattr, root, make([]byte, 16), nil)
		c := <-inside
		require.True(t, call.Interrupt())
		_, err := call.Wait()
		require.Equal(t, syscall.EINTR, err)
		require.Error(t, c.Err())
	}
	// Without interrupts the kernel is told so by the answer to the first one, and the operation goes on.
	_, k := start(t, &Operations{Getattr: func(c *Context, _ string, st *Stat, _ *FileInfo) error {
		inside <- c
		inside <- c
		st.Mode = modeDir
		return nil
	}}, &Config{Interrupts: InterruptOff})
	call := k.Start(wire.OpGetattr, root, make([]byte, 16), nil)
	require.True(t, call.Interrupt())
	c := <-inside
	for !k.NoInterrupt() {
		runtime.Gosched()
	}
	<-inside
	_, err := call.Wait()
	require.NoError(t, err)
	require.False(t, c.Interrupted())
}

func TestInvalidatePath(t *testing.T) {
	m := newMemFS()
	f, k := start(t, m.ops(), nil)
	a, err := k.Mkdir(root, "a", 0o755)
	require.NoError(t, err)
	x, err := k.Mknod(a.NodeID, "x", modeRegular, 0)
	require.NoError(t, err)
	require.NoError(t, f.InvalidatePath("//a/x/"))
	n := <-k.Notifications()
	require.Equal(t, wire.NotifyInvalInode, n.Code)
	require.Equal(t, x.NodeID, n.NodeID)
	require.Equal(t, syscall.ENOENT, f.InvalidatePath("/a/y"))
	require.NoError(t, f.InvalidatePath("/"))
	require.Equal(t, root, (<-k.Notifications()).NodeID)
}

// TestReachable: without paths and without hiding, a removed file is reached through whoever has it open, and a release waits
// until that is over.
func TestReachable(t *testing.T) {
	m := newMemFS()
	ops := m.ops()
	inside, free := make(chan uint64), make(chan struct{})
	released := make(chan uint64, 2)
	fh := uint64(40)
	create := ops.Create
	ops.Create = func(c *Context, path string, mode uint32, fi *FileInfo) error {
		fh++
		fi.FH = fh
		return create(c, path, mode, fi)
	}
	getattr := ops.Getattr
	ops.Getattr = func(c *Context, path string, st *Stat, fi *FileInfo) error {
		if path != "" || c.req.Op() != wire.OpGetattr {
			return getattr(c, "/"+strings.TrimPrefix(path, "/"), st, nil)
		}
		inside <- fi.FH
		<-free
		st.Mode, st.Size = modeRegular, 77
		return nil
	}
	ops.Release = func(_ *Context, _ string, fi *FileInfo) error {
		released <- fi.FH
		return nil
	}
	_, k := start(t, ops, &Config{HardRemove: true, NullPathOK: true})
	e, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	require.NoError(t, k.Unlink(root, "x"))
	require.Empty(t, m.tree())
	got := make(chan fusetest.Attr, 1)
	go func() {
		st, _ := k.Getattr(e.NodeID)
		got <- st
	}()
	require.EqualValues(t, 41, <-inside)
	closed := make(chan error, 1)
	go func() { closed <- h.Close() }()
	require.Empty(t, released, "not while somebody uses it")
	close(free)
	require.EqualValues(t, 77, (<-got).Size)
	require.NoError(t, <-closed)
	require.EqualValues(t, 41, <-released)
	_, err = k.Getattr(e.NodeID)
	require.Equal(t, syscall.ESTALE, err)
}
