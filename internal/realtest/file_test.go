//go:build linux

package realtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func isErr(err, target error) bool { return errors.Is(err, target) }

// create opens a new file.
func create(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flags, 0o644)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func stat(t *testing.T, path string) *unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st), path)
	return &st
}

// TestFiles goes through the system calls on files. Each case has a new directory: m in the mount, b below.
func TestFiles(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) {
		for _, o := range []string{"timeout=0", "timeout=1", "writeback", "cache=always"} {
			t.Run(o, func(t *testing.T) { files(mount(t, source, "-o", o, "-o", "xattr,dev"), source, o) })
		}
	})
}

// files goes through the cases but those that are not for a server.
func files(s *server, source, prefix string, not ...string) {
	cases := map[string]func(t *testing.T, m, b string){
		"sparse": sparse, "rename flags": renameFlags, "tmpfile": tmpfile, "open unlinked": openUnlinked, "statfs": statfs,
		"sockets": sockets, "special files": specialFiles, "times": times, "owner and mode": ownerAndMode, "holes": holes,
		"copy": copyRange, "append": appendRaces, "shared mapping": sharedMapping, "links": links, "open flags": openFlags,
		"both sides": bothSides, "birth time": birthTime, "direct beside": directBeside,
	}
	for name, f := range cases {
		if slices.Contains(not, name) {
			continue
		}
		s.t.Run(name, func(t *testing.T) {
			dir := strings.ReplaceAll(prefix+"-"+name, " ", "_")
			require.NoError(t, os.Mkdir(s.path(dir), 0o755))
			f(t, s.path(dir), filepath.Join(source, dir))
		})
	}
}

func sparse(t *testing.T, m, b string) {
	f := create(t, m+"/f", 0)
	const far = int64(5<<30 + 12345)
	_, err := f.WriteAt([]byte("far"), far)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("edge"), 1<<32-2)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	st := stat(t, b+"/f")
	require.EqualValues(t, far+3, st.Size)
	require.Less(t, st.Blocks*512, int64(1<<20))
	require.Equal(t, st.Size, stat(t, m+"/f").Size)
	buf := make([]byte, 8)
	_, err = f.ReadAt(buf, 1<<32-4)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00edge\x00\x00", string(buf))
	n, err := f.ReadAt(buf, far)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "far", string(buf[:n]))
	require.NoError(t, f.Truncate(1<<33))
	require.EqualValues(t, int64(1<<33), stat(t, b+"/f").Size)
	require.NoError(t, os.Truncate(m+"/f", 10))
	require.EqualValues(t, 10, stat(t, b+"/f").Size)
}

func renameFlags(t *testing.T, m, b string) {
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, m+"/"+from, unix.AT_FDCWD, m+"/"+to, flags)
	}
	require.NoError(t, os.WriteFile(m+"/a", []byte("a"), 0o644))
	require.NoError(t, os.WriteFile(m+"/b", []byte("b"), 0o644))
	require.ErrorIs(t, rename("a", "b", unix.RENAME_NOREPLACE), syscall.EEXIST)
	require.NoError(t, rename("a", "c", unix.RENAME_NOREPLACE))
	require.NoError(t, rename("c", "b", unix.RENAME_EXCHANGE))
	for name, want := range map[string]string{"b": "a", "c": "b"} {
		for _, dir := range []string{m, b} {
			got, err := os.ReadFile(dir + "/" + name)
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
	}
	require.ErrorIs(t, rename("c", "nothing", unix.RENAME_EXCHANGE), syscall.ENOENT)
	require.NoError(t, rename("b", "w", unix.RENAME_WHITEOUT))
	st := stat(t, b+"/b")
	require.EqualValues(t, unix.S_IFCHR, st.Mode&unix.S_IFMT)
	require.Zero(t, st.Rdev)
	require.ErrorIs(t, rename("c", "w", 1<<10), syscall.EINVAL)
	require.NoError(t, rename("c", "w", 0))
	require.NoError(t, os.Mkdir(m+"/dir", 0o755))
	require.ErrorIs(t, rename("w", "dir", 0), syscall.EISDIR)
	require.ErrorIs(t, rename("dir", "dir/sub", 0), syscall.EINVAL)
}

func tmpfile(t *testing.T, m, b string) {
	fd, err := unix.Open(m, unix.O_TMPFILE|unix.O_RDWR, 0o640)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), "tmpfile")
	defer f.Close()
	_, err = f.WriteString("hello")
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	require.Zero(t, info.Sys().(*syscall.Stat_t).Nlink)
	left, err := os.ReadDir(b)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, m+"/named", unix.AT_SYMLINK_FOLLOW))
	require.NoError(t, f.Sync())
	text, err := os.ReadFile(b + "/named")
	require.NoError(t, err)
	require.Equal(t, "hello", string(text))
	require.EqualValues(t, 0o640, stat(t, b+"/named").Mode&0o777)
	require.EqualValues(t, 1, stat(t, m+"/named").Nlink)
}

func openUnlinked(t *testing.T, m, b string) {
	f := create(t, m+"/f", 0)
	_, err := f.WriteString("before ")
	require.NoError(t, err)
	require.NoError(t, os.Remove(m+"/f"))
	require.NoFileExists(t, b+"/f")
	_, err = f.WriteString("after")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(11))
	require.NoError(t, f.Chmod(0o600))
	now := time.Now()
	tv := unix.NsecToTimeval(now.UnixNano())
	require.NoError(t, unix.Futimes(int(f.Fd()), []unix.Timeval{tv, tv}))
	text := make([]byte, 20)
	n, err := f.ReadAt(text, 0)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "before afte", string(text[:n]))
	info, err := f.Stat()
	require.NoError(t, err)
	require.EqualValues(t, 11, info.Size())
	require.Zero(t, info.Sys().(*syscall.Stat_t).Nlink)
	// A file with the same name is another one.
	require.NoError(t, os.WriteFile(m+"/f", []byte("new"), 0o644))
	n, err = f.ReadAt(text, 0)
	require.Equal(t, io.EOF, err)
	require.Equal(t, 11, n)
	dir := m + "/dir"
	require.NoError(t, os.Mkdir(dir, 0o755))
	l := list(t, dir)
	require.NoError(t, os.Remove(dir))
	_, err = unix.Getdents(l.fd, make([]byte, 4096))
	require.Equal(t, unix.ENOENT, err) // as everywhere on Linux
}

func statfs(t *testing.T, m, b string) {
	var x, y unix.Statfs_t
	require.NoError(t, unix.Statfs(m, &x))
	require.NoError(t, unix.Statfs(b, &y))
	require.EqualValues(t, unix.FUSE_SUPER_MAGIC, x.Type)
	require.Equal(t, []any{y.Bsize, y.Frsize, y.Blocks, y.Files, y.Namelen}, []any{x.Bsize, x.Frsize, x.Blocks, x.Files, x.Namelen})
	require.Positive(t, x.Bfree)
}

func sockets(t *testing.T, m, b string) {
	// The path of a socket must be short.
	require.NoError(t, os.Chdir(m))
	defer os.Chdir("/")
	l, err := net.Listen("unix", "s")
	require.NoError(t, err)
	defer l.Close()
	require.EqualValues(t, unix.S_IFSOCK, stat(t, b+"/s").Mode&unix.S_IFMT)
	go func() {
		if c, err := net.Dial("unix", "s"); err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	c, err := l.Accept()
	require.NoError(t, err)
	defer c.Close()
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "hello", string(text))
}

func specialFiles(t *testing.T, m, b string) {
	require.NoError(t, unix.Mkfifo(m+"/fifo", 0o644))
	require.EqualValues(t, unix.S_IFIFO|0o644, stat(t, b+"/fifo").Mode)
	go func() { os.WriteFile(m+"/fifo", []byte("through"), 0) }()
	text, err := os.ReadFile(m + "/fifo")
	require.NoError(t, err)
	require.Equal(t, "through", string(text))
	for name, dev := range map[string]uint64{"null": unix.Mkdev(1, 3), "far": unix.Mkdev(0xabc, 0x12345)} {
		require.NoError(t, unix.Mknod(m+"/"+name, unix.S_IFCHR|0o600, int(dev)))
		require.Equal(t, dev, uint64(stat(t, b+"/"+name).Rdev))
		require.Equal(t, dev, uint64(stat(t, m+"/"+name).Rdev))
	}
	require.NoError(t, os.WriteFile(m+"/null", []byte("gone"), 0)) // the mount has -o dev
	require.NoError(t, unix.Mknod(m+"/file", unix.S_IFREG|0o604, 0))
	require.EqualValues(t, unix.S_IFREG|0o604, stat(t, b+"/file").Mode)
}

func times(t *testing.T, m, b string) {
	require.NoError(t, os.WriteFile(m+"/f", nil, 0o644))
	require.NoError(t, os.Symlink("f", m+"/l"))
	set := func(name string, flags int, ts ...unix.Timespec) {
		t.Helper()
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, m+"/"+name, ts, flags))
	}
	check := func(name string, atime, mtime int64) {
		t.Helper()
		for _, dir := range []string{m, b} {
			st := stat(t, dir+"/"+name)
			if atime != 0 {
				require.Equal(t, atime, st.Atim.Nano(), dir)
			}
			if mtime != 0 {
				require.Equal(t, mtime, st.Mtim.Nano(), dir)
			}
		}
	}
	omit, now := unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_NOW}
	set("f", 0, unix.Timespec{Sec: 1000000000, Nsec: 123456789}, unix.Timespec{Sec: 1100000000, Nsec: 987654321})
	check("f", 1000000000123456789, 1100000000987654321)
	set("f", 0, omit, unix.Timespec{Sec: 5, Nsec: 7})
	check("f", 1000000000123456789, 5000000007)
	far := unix.NsecToTimespec(3e18 + 1) // beyond 2038, where the machine can say so
	set("f", 0, far, omit)
	check("f", far.Nano(), 5000000007)
	before := time.Now().Add(-time.Minute).UnixNano()
	set("f", 0, now, now)
	st := stat(t, b+"/f")
	require.Greater(t, st.Atim.Nano(), before)
	require.Greater(t, st.Mtim.Nano(), before)
	set("l", unix.AT_SYMLINK_NOFOLLOW, unix.Timespec{Sec: 11}, unix.Timespec{Sec: 12})
	check("l", 0, 12e9) // reading a link may change its access time
	require.Greater(t, stat(t, b+"/f").Mtim.Nano(), before)
	set("", 0, unix.Timespec{Sec: 21}, unix.Timespec{Sec: 22})
	require.EqualValues(t, 22e9, stat(t, b).Mtim.Nano())
	// Writing moves the modification time.
	set("f", 0, omit, unix.Timespec{Sec: 5})
	require.NoError(t, os.WriteFile(m+"/f", []byte("x"), 0))
	f := create(t, m+"/f", 0)
	require.NoError(t, f.Sync())
	require.Greater(t, stat(t, b+"/f").Mtim.Nano(), before)
	require.Greater(t, stat(t, m+"/f").Mtim.Nano(), before)
}

func ownerAndMode(t *testing.T, m, b string) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	require.NoError(t, os.WriteFile(m+"/f", nil, 0o666))
	require.NoError(t, os.Mkdir(m+"/d", 0o777))
	require.NoError(t, os.Symlink("f", m+"/l"))
	both := func(name string, mode uint32, uid, gid int) {
		t.Helper()
		for _, dir := range []string{m, b} {
			st := stat(t, dir+"/"+name)
			require.Equal(t, []any{mode, uint32(uid), uint32(gid)}, []any{uint32(st.Mode & 0o7777), st.Uid, st.Gid}, dir)
		}
	}
	both("f", 0o666, 0, 0)
	both("d", 0o777, 0, 0)
	require.NoError(t, unix.Chmod(m+"/f", 0o4751))
	both("f", 0o4751, 0, 0)
	require.NoError(t, os.Chown(m+"/f", 12, -1)) // takes suid away
	both("f", 0o751, 12, 0)
	require.NoError(t, os.Chown(m+"/f", -1, 34))
	both("f", 0o751, 12, 34)
	require.NoError(t, os.Lchown(m+"/l", 56, 78))
	both("l", 0o777, 56, 78)
	both("f", 0o751, 12, 34)
	require.NoError(t, unix.Chmod(m+"/d", 0o1700))
	both("d", 0o1700, 0, 0)
	f := create(t, m+"/f", 0)
	require.NoError(t, f.Chmod(0o640))
	require.NoError(t, f.Chown(1, 2))
	both("f", 0o640, 1, 2)
	unix.Umask(0o027)
	require.NoError(t, os.WriteFile(m+"/masked", nil, 0o666))
	both("masked", 0o640, 0, 0)
}

func holes(t *testing.T, m, b string) {
	f := create(t, m+"/f", 0)
	fd := int(f.Fd())
	const k = 64 << 10
	require.NoError(t, f.Truncate(16*k))
	_, err := f.WriteAt(bytes.Repeat([]byte("x"), k), 4*k)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	seek := func(whence int, from int64) int64 {
		t.Helper()
		at, err := unix.Seek(fd, from, whence)
		require.NoError(t, err)
		return at
	}
	require.EqualValues(t, 4*k, seek(unix.SEEK_DATA, 0))
	require.EqualValues(t, 5*k, seek(unix.SEEK_HOLE, 4*k))
	require.EqualValues(t, 0, seek(unix.SEEK_HOLE, 0))
	_, err = unix.Seek(fd, 6*k, unix.SEEK_DATA)
	require.Equal(t, unix.ENXIO, err)
	require.NoError(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4*k, k/2))
	require.EqualValues(t, 4*k+k/2, seek(unix.SEEK_DATA, 0))
	one := make([]byte, 1)
	_, err = f.ReadAt(one, 4*k)
	require.NoError(t, err)
	require.Zero(t, one[0])
	_, err = f.ReadAt(one, 5*k-1)
	require.NoError(t, err)
	require.EqualValues(t, 'x', one[0])
	require.NoError(t, unix.Fallocate(fd, 0, 16*k, 4*k))
	require.EqualValues(t, 20*k, stat(t, b+"/f").Size)
	require.NoError(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 20*k, 4*k))
	require.EqualValues(t, 20*k, stat(t, m+"/f").Size)
	require.Greater(t, stat(t, b+"/f").Blocks*512, int64(4*k))
	err = unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 4*k, k)
	if !errors.Is(err, unix.EOPNOTSUPP) { // not on tmpfs
		require.NoError(t, err)
		_, err = f.ReadAt(one, 5*k-1)
		require.NoError(t, err)
		require.Zero(t, one[0])
	}
}

func copyRange(t *testing.T, m, b string) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	in, out := create(t, m+"/in", 0), create(t, m+"/out", 0)
	_, err := in.Write(text)
	require.NoError(t, err)
	offIn, offOut := int64(100), int64(5)
	n, err := unix.CopyFileRange(int(in.Fd()), &offIn, int(out.Fd()), &offOut, 100000, 0)
	require.NoError(t, err)
	require.Equal(t, 100000, n)
	require.EqualValues(t, 100005, offOut)
	require.NoError(t, out.Sync())
	got, err := os.ReadFile(m + "/out")
	require.NoError(t, err)
	require.Equal(t, append(make([]byte, 5), text[100:100100]...), got)
	require.NoError(t, out.Truncate(0))
	pos := int64(7)
	_, err = out.Seek(0, io.SeekStart)
	require.NoError(t, err)
	for left := len(text) - 7; left > 0; left -= n {
		n, err = unix.Sendfile(int(out.Fd()), int(in.Fd()), &pos, left)
		require.NoError(t, err)
		require.Positive(t, n)
	}
	require.NoError(t, out.Sync())
	got, err = os.ReadFile(b + "/out")
	require.NoError(t, err)
	require.Equal(t, text[7:], got)
}

// appendRaces appends records through descriptors that know nothing of each other.
func appendRaces(t *testing.T, m, b string) {
	const writers, size = 8, 61
	records := scale(100)
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		f, err := os.OpenFile(m+"/log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		require.NoError(t, err)
		defer f.Close()
		wg.Go(func() {
			for i := range records {
				if _, err := fmt.Fprintf(f, "%-*s\n", size-1, fmt.Sprint(w, " ", i)); err != nil {
					errs[w] = err
				}
			}
			errs[w] = errors.Join(errs[w], f.Sync())
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	for _, dir := range []string{m, b} {
		text, err := os.ReadFile(dir + "/log")
		require.NoError(t, err)
		require.Len(t, text, writers*records*size)
		next := make([]int, writers)
		for line := range strings.Lines(string(text)) {
			var w, i int
			_, err := fmt.Sscan(line, &w, &i)
			require.NoError(t, err, "%q", line)
			require.Equal(t, next[w], i, "writer %d", w)
			next[w]++
		}
	}
}

func sharedMapping(t *testing.T, m, b string) {
	f := create(t, m+"/f", 0)
	require.NoError(t, f.Truncate(10000)) // the last page is not full
	mem, err := unix.Mmap(int(f.Fd()), 0, 10000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	again, err := unix.Mmap(int(create(t, m+"/f", 0).Fd()), 0, 10000, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	copy(mem, "first")
	copy(mem[9995:], "tail!")
	require.Equal(t, "first", string(again[:5]))
	_, err = f.WriteAt([]byte("written"), 5000)
	require.NoError(t, err)
	require.Equal(t, "written", string(again[5000:5007]))
	require.NoError(t, unix.Msync(mem, unix.MS_SYNC))
	require.NoError(t, f.Sync())
	text, err := os.ReadFile(b + "/f")
	require.NoError(t, err)
	require.Len(t, text, 10000)
	require.Equal(t, mem, text)
	copy(mem[4096:], "unsynced")
	require.NoError(t, unix.Munmap(mem))
	require.NoError(t, unix.Munmap(again))
	require.NoError(t, f.Close())
	f = create(t, m+"/f", 0)
	require.NoError(t, f.Sync())
	text, err = os.ReadFile(b + "/f")
	require.NoError(t, err)
	require.Equal(t, "unsynced", string(text[4096:4104]))
}

// directBeside has the page cache written back through a handle opened with O_DIRECT, for which the last page is too short.
func directBeside(t *testing.T, m, b string) {
	f := create(t, m+"/f", 0)
	_, err := f.Write(bytes.Repeat([]byte("x"), 5000))
	require.NoError(t, err)
	d := create(t, m+"/f", unix.O_DIRECT) // with the writeback cache the kernel prefers the newest handle
	_, err = f.WriteAt([]byte("the end"), 4993)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, d.Sync())
	text, err := os.ReadFile(b + "/f")
	require.NoError(t, err)
	require.Len(t, text, 5000)
	require.Equal(t, "xthe end", string(text[4992:]))
}

func links(t *testing.T, m, b string) {
	require.NoError(t, os.WriteFile(m+"/f", []byte("x"), 0o644))
	require.NoError(t, os.Link(m+"/f", m+"/g"))
	x, y := stat(t, m+"/f"), stat(t, m+"/g")
	require.EqualValues(t, 2, y.Nlink)
	require.Equal(t, x.Ino, y.Ino)
	require.Equal(t, x.Ino, stat(t, b+"/g").Ino)
	require.NoError(t, os.Remove(m+"/f"))
	require.Eventually(t, func() bool { return stat(t, m+"/g").Nlink == 1 }, patient, glance)
	require.ErrorIs(t, os.Link(m, m+"/dir"), syscall.EPERM)
	require.ErrorIs(t, os.Link(m+"/g", m+"/g"), syscall.EEXIST)
	require.NoError(t, os.Symlink("nowhere", m+"/s"))
	require.NoError(t, unix.Linkat(unix.AT_FDCWD, m+"/s", unix.AT_FDCWD, m+"/s2", 0)) // of the link itself
	to, err := os.Readlink(b + "/s2")
	require.NoError(t, err)
	require.Equal(t, "nowhere", to)
}

func openFlags(t *testing.T, m, b string) {
	require.NoError(t, os.WriteFile(m+"/f", []byte("text"), 0o644))
	_, err := os.OpenFile(m+"/f", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	require.ErrorIs(t, err, syscall.EEXIST)
	_, err = os.OpenFile(m+"/none", os.O_RDWR, 0)
	require.ErrorIs(t, err, syscall.ENOENT)
	_, err = os.OpenFile(m, os.O_WRONLY, 0)
	require.ErrorIs(t, err, syscall.EISDIR)
	_, err = os.Open(m + "/f/x")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.NoError(t, os.Symlink("f", m+"/l"))
	_, err = unix.Open(m+"/l", unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	require.ErrorIs(t, err, syscall.ELOOP)
	w, err := os.OpenFile(m+"/f", os.O_WRONLY, 0) // in writeback mode the kernel must read to write part of a page
	require.NoError(t, err)
	_, err = w.WriteAt([]byte("E"), 1)
	require.NoError(t, err)
	_, err = w.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.EBADF)
	require.NoError(t, w.Close())
	text, err := os.ReadFile(m + "/f")
	require.NoError(t, err)
	require.Equal(t, "tExt", string(text))
	only, err := os.OpenFile(m+"/new", os.O_WRONLY|os.O_CREATE, 0o200)
	require.NoError(t, err)
	_, err = only.WriteAt([]byte("abc"), 4094)
	require.NoError(t, err)
	_, err = only.WriteAt([]byte("z"), 10)
	require.NoError(t, err)
	require.NoError(t, only.Close())
	text, err = os.ReadFile(b + "/new")
	require.NoError(t, err)
	require.Len(t, text, 4097)
	tr, err := os.OpenFile(m+"/f", os.O_RDWR|os.O_TRUNC, 0)
	require.NoError(t, err)
	require.NoError(t, tr.Close())
	require.Zero(t, stat(t, b+"/f").Size)
	require.ErrorIs(t, os.Remove(m+"/none"), syscall.ENOENT)
	require.NoError(t, os.Mkdir(m+"/d", 0o755))
	require.ErrorIs(t, unix.Unlink(m+"/d"), syscall.EISDIR)
	require.ErrorIs(t, unix.Rmdir(m+"/f"), syscall.ENOTDIR)
	require.NoError(t, os.WriteFile(m+"/d/x", nil, 0o644))
	require.ErrorIs(t, unix.Rmdir(m+"/d"), syscall.ENOTEMPTY)
	dir, err := os.Open(m)
	require.NoError(t, err)
	require.NoError(t, dir.Sync())
	require.NoError(t, dir.Close())
}

// bothSides changes files below and sees them in the mount when the kernel's time is up, and the other way round.
func bothSides(t *testing.T, m, b string) {
	require.NoError(t, os.WriteFile(m+"/f", []byte("mount"), 0o644))
	text, err := os.ReadFile(b + "/f")
	require.NoError(t, err)
	require.Equal(t, "mount", string(text))
	require.NoError(t, os.WriteFile(b+"/g", []byte("below"), 0o644))
	text, err = os.ReadFile(m + "/g")
	require.NoError(t, err)
	require.Equal(t, "below", string(text))
	require.Equal(t, stat(t, b+"/g").Ino, stat(t, m+"/g").Ino)
	if strings.Contains(m, "cache=always") || strings.Contains(m, "writeback") {
		return // the kernel keeps to what it knows
	}
	require.NoError(t, os.WriteFile(b+"/g", []byte("below, longer"), 0o644))
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(m + "/g")
		return err == nil && string(text) == "below, longer"
	}, patient, 20*glance)
	require.NoError(t, os.Remove(b+"/g"))
	require.Eventually(t, func() bool { _, err := os.Lstat(m + "/g"); return errors.Is(err, os.ErrNotExist) }, patient, 20*glance)
}

func birthTime(t *testing.T, m, b string) {
	require.NoError(t, os.WriteFile(m+"/f", nil, 0o644))
	var x, y unix.Statx_t
	require.NoError(t, unix.Statx(unix.AT_FDCWD, m+"/f", 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &x))
	require.NoError(t, unix.Statx(unix.AT_FDCWD, b+"/f", 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &y))
	require.Equal(t, []any{y.Ino, y.Mode, y.Size, y.Nlink, y.Uid}, []any{x.Ino, x.Mode, x.Size, x.Nlink, x.Uid})
	if x.Mask&unix.STATX_BTIME != 0 { // kernels before 6.6 do not ask
		require.Equal(t, y.Btime, x.Btime)
	}
}
