//go:build linux

package fusetest_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

const root = lowlevel.RootID

// TestEveryOperation sends each operation through the typed helpers.
func TestEveryOperation(t *testing.T) {
	for _, minor := range []uint32{8, 11, 15, 22, 35, wire.KernelMinor} {
		t.Run(fmt.Sprint("minor ", minor), func(t *testing.T) {
			tr := newTree()
			k := fusetest.Options{Minor: minor}.New(t, &tr.ops, nil)
			everyOperation(t, k, minor)
			k.ForgetAll()
			require.Equal(t, []lowlevel.NodeID{root}, k.Nodes())
			require.Zero(t, tr.lookups())
		})
	}
}

func everyOperation(t *testing.T, k *fusetest.Kernel, minor uint32) {
	c := k.As(fusetest.Caller{UID: 1000, GID: 100, PID: 77, Umask: 0o27})
	d, err := c.Mkdir(root, "dir", 0o777)
	require.NoError(t, err)
	require.EqualValues(t, syscall.S_IFDIR|0o750, d.Attr.Mode)
	require.EqualValues(t, 1000, d.Attr.UID)
	e, f, err := c.Create(d.NodeID, "file", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	require.NoError(t, err)
	require.EqualValues(t, syscall.S_IFREG|0o640, e.Attr.Mode)
	_, _, err = c.Create(d.NodeID, "file", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	require.Equal(t, syscall.EEXIST, err)

	n, err := f.Write(5, []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, 5, n)
	n, err = f.WriteCache(10, []byte(" world"))
	require.NoError(t, err)
	require.Equal(t, 6, n)
	b, err := f.Read(3, 100)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00hello world", string(b))
	require.NoError(t, f.Fsync(true))
	a, err := f.Getattr()
	require.NoError(t, err)
	require.EqualValues(t, 16, a.Size)
	a, err = f.Truncate(10)
	require.NoError(t, err)
	require.EqualValues(t, 10, a.Size)
	a, err = c.Chmod(e.NodeID, 0o4711)
	require.NoError(t, err)
	require.EqualValues(t, syscall.S_IFREG|0o4711, a.Mode)

	require.NoError(t, f.Setlk(wire.FileLock{Type: syscall.F_WRLCK, Start: 1, End: 2}, false))
	require.NoError(t, f.Setlk(wire.FileLock{Type: syscall.F_RDLCK, End: lockEOF}, true))
	lk, err := f.Getlk(wire.FileLock{Type: syscall.F_WRLCK, End: lockEOF})
	require.NoError(t, err)
	require.EqualValues(t, syscall.F_UNLCK, lk.Type)
	if minor >= 17 {
		require.NoError(t, f.Flock(syscall.LOCK_EX|syscall.LOCK_NB))
	}
	require.NoError(t, f.Fallocate(0, 0, 12))
	off, err := f.Lseek(3, 4)
	require.NoError(t, err)
	require.EqualValues(t, 12, off)
	res, out, err := f.Ioctl(ioctlReverse, 0, []byte("abc"), 8)
	require.NoError(t, err)
	require.EqualValues(t, 7, res)
	require.Equal(t, "cba", string(out))
	_, _, err = f.Ioctl(1, 0, nil, 0)
	require.Equal(t, syscall.ENOTTY, err)
	mem := memory("0123456789abcdefXXXXXXXXXXXXXXXXYYYYYY")
	res, err = f.UnrestrictedIoctl(ioctlFetch, 2, mem)
	require.NoError(t, err)
	require.EqualValues(t, 4, res)
	require.Equal(t, "0123456789abcdefXX23XXXXXXXXXXXXYY45YY", string(mem))
	if minor >= 11 {
		ev, err := f.Poll(1, 9)
		require.NoError(t, err)
		require.EqualValues(t, 1, ev)
		note := <-k.Notifications()
		require.Equal(t, wire.NotifyPoll, note.Code)
		require.EqualValues(t, 9, note.KH)
	}
	_, g, err := c.Create(root, "copy", os.O_RDWR, 0o600)
	require.NoError(t, err)
	copied, err := f.CopyFileRange(5, g, 1, math.MaxInt32, 0)
	require.NoError(t, err)
	require.EqualValues(t, 7, copied)
	require.NoError(t, g.Close())
	require.NoError(t, f.Close())

	require.NoError(t, c.Setxattr(e.NodeID, "user.a", []byte("1"), 0))
	require.Equal(t, syscall.EEXIST, c.Setxattr(e.NodeID, "user.a", []byte("1"), 1))
	require.NoError(t, c.Setxattr(e.NodeID, "user.bb", []byte("22"), 0))
	v, size, err := c.Getxattr(e.NodeID, "user.bb", 0)
	require.NoError(t, err)
	require.Nil(t, v)
	require.Equal(t, 2, size)
	v, _, err = c.Getxattr(e.NodeID, "user.bb", 10)
	require.NoError(t, err)
	require.Equal(t, "22", string(v))
	_, _, err = c.Getxattr(e.NodeID, "user.bb", 1)
	require.Equal(t, syscall.ERANGE, err)
	list, _, err := c.Listxattr(e.NodeID, 100)
	require.NoError(t, err)
	require.Equal(t, []string{"user.a", "user.bb"}, list)
	require.NoError(t, c.Removexattr(e.NodeID, "user.a"))

	require.NoError(t, c.Access(e.NodeID, 4))
	st, err := c.Statfs(root)
	require.NoError(t, err)
	require.EqualValues(t, 255, st.NameLen)
	_, err = c.Symlink(root, "sym", "dir/file")
	require.NoError(t, err)
	s, err := c.Lookup(root, "sym")
	require.NoError(t, err)
	target, err := c.Readlink(s.NodeID)
	require.NoError(t, err)
	require.Equal(t, "dir/file", target)
	_, err = c.Mknod(root, "fifo", syscall.S_IFIFO|0o600, 0)
	require.NoError(t, err)
	l, err := c.Link(e.NodeID, root, "hard")
	require.NoError(t, err)
	require.Equal(t, e.NodeID, l.NodeID)
	require.EqualValues(t, 2, l.Attr.Nlink)
	require.NoError(t, c.Rename(root, "hard", d.NodeID, "hard2", 0))
	if minor >= 23 {
		require.Equal(t, syscall.EEXIST, c.Rename(root, "sym", root, "fifo", wire.RenameNoreplace))
		require.NoError(t, c.Rename(root, "sym", root, "fifo", wire.RenameExchange))
	} else {
		require.Equal(t, syscall.EINVAL, c.Rename(root, "sym", root, "fifo", wire.RenameNoreplace))
	}

	dir, err := c.Opendir(root)
	require.NoError(t, err)
	all, err := dir.ReadAll(400)
	require.NoError(t, err)
	var got []string
	for _, d := range all {
		got = append(got, d.Name)
		require.Equal(t, minor >= 21 && !strings.HasPrefix(d.Name, "."), d.Plus != nil, d.Name)
	}
	require.ElementsMatch(t, []string{".", "..", "dir", "copy", "sym", "fifo"}, got)
	require.NoError(t, dir.Fsync(false))
	require.NoError(t, dir.Close())

	require.NoError(t, c.Unlink(d.NodeID, "hard2"))
	require.Equal(t, syscall.ENOTEMPTY, c.Rmdir(root, "dir"))
	require.NoError(t, c.Unlink(d.NodeID, "file"))
	require.NoError(t, c.Rmdir(root, "dir"))
	_, tmp, err := c.Tmpfile(root, os.O_RDWR, 0o600)
	require.NoError(t, err)
	require.NoError(t, tmp.Close())
	sx, err := c.Statx(root, wire.StatxIn{SxMask: 0xfff})
	require.NoError(t, err)
	require.EqualValues(t, 0xfff, sx.Stat.Mask)
	block, err := c.Bmap(root, 512, 3)
	require.NoError(t, err)
	require.EqualValues(t, 103, block)
	require.NoError(t, c.Syncfs(root))
	_, err = c.Lookup(root, "dir")
	require.Equal(t, syscall.ENOENT, err)
}

// memory is an address space for unrestricted ioctls.
type memory []byte

func (m memory) Load(base uint64, n int) ([]byte, error) { return m[base : base+uint64(n)], nil }

func (m memory) Store(base uint64, data []byte) error {
	copy(m[base:], data)
	return nil
}

// TestFS runs the standard library's test of file systems over the tree.
func TestFS(t *testing.T) {
	for _, minor := range []uint32{8, wire.KernelMinor} {
		tr := newTree()
		k := fusetest.Options{Minor: minor}.New(t, &tr.ops, nil)
		want := []string{"a", "d/deep/c", "d/b"}
		d, err := k.Mkdir(root, "d", 0o755)
		require.NoError(t, err)
		deep, err := k.Mkdir(d.NodeID, "deep", 0o755)
		require.NoError(t, err)
		for name, dir := range map[string]lowlevel.NodeID{"a": root, "b": d.NodeID, "c": deep.NodeID} {
			_, f, err := k.Create(dir, name, os.O_WRONLY, 0o644)
			require.NoError(t, err)
			_, err = f.Write(0, bytes.Repeat([]byte(name), 3*4096))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		for i := range 200 {
			_, err := k.Mknod(deep.NodeID, strings.Repeat("n", 1+i), syscall.S_IFREG|0o600, 0)
			require.NoError(t, err)
		}
		_, err = k.Symlink(d.NodeID, "up", "../a")
		require.NoError(t, err)
		_, err = k.Symlink(root, "loop", "loop")
		require.NoError(t, err)
		k.ForgetAll()
		require.Zero(t, tr.lookups())

		_, err = fs.ReadFile(k.FS(), "loop")
		require.ErrorIs(t, err, syscall.ELOOP)
		require.NoError(t, k.Unlink(root, "loop"))
		data, err := fs.ReadFile(k.FS(), "d/up")
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("a", 3*4096), string(data))
		require.NoError(t, fstest.TestFS(k.FS(), want...))
		require.Equal(t, []lowlevel.NodeID{root}, k.Nodes())
		require.Zero(t, tr.lookups())
	}
}

// TestBubble runs a session in a testing/synctest bubble: time passes only when all of it waits.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &lowlevel.Operations{Getattr: func(r lowlevel.AttrReq, _ lowlevel.NodeID, _ *lowlevel.FileInfo) {
			go func() {
				time.Sleep(time.Hour)
				r.ReplyAttr(&lowlevel.Stat{Mode: syscall.S_IFDIR}, time.Minute)
			}()
		}}
		k := fusetest.New(t, ops, nil)
		start := time.Now()
		c := k.Start(wire.OpGetattr, root, make([]byte, 16), nil)
		synctest.Wait()
		require.Len(t, k.Unanswered(), 1)
		body, err := c.Wait()
		require.NoError(t, err)
		require.Len(t, body, 104)
		require.Equal(t, time.Hour, time.Since(start))
	})
}
