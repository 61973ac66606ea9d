//go:build linux

package highlevel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/fusetest"
)

func TestMain(m *testing.M) { fusetest.Main(m, map[string]func(){"serve": serve}) }

// serve mounts: a process must not use a mount that it serves itself. Its arguments are what, a directory, and the mount point.
func serve() {
	if err := serveMount(os.Args[1], os.Args[3], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveMount(what, dir, source string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := &Config{}
	cfg.Mount.FSName = "purefuse-test"
	cfg.Mount.AllowOther, cfg.Mount.DefaultPermissions = true, true
	switch what {
	case "fs":
		return Run(ctx, dir, FromFS(os.DirFS(source)), cfg)
	case "sample":
		return Run(ctx, dir, FromFS(sample), cfg)
	}
	r, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer r.Close()
	ops := FromRoot(r)
	if what == "subdir" {
		cfg.Modules, cfg.Options = []string{"subdir"}, []string{"subdir=/inner"}
	}
	return Run(ctx, dir, ops, cfg)
}

func mountChild(t *testing.T, what, source string) (dir string) {
	t.Helper()
	return fusetest.Mount(t, "serve", what, source)
}

func TestMountFromFS(t *testing.T) {
	dir := mountChild(t, "sample", "")
	require.NoError(t, fstest.TestFS(os.DirFS(dir), "hello", "dir/a", "dir/sub/empty", "dir/link", "naïve"))
	data, err := os.ReadFile(dir + "/dir/a")
	require.NoError(t, err)
	require.Equal(t, sample["dir/a"].Data, data)
	require.ErrorIs(t, os.Mkdir(dir+"/new", 0o755), syscall.EROFS)

	source := t.TempDir()
	for name, data := range map[string]string{"a": "one", "d/b": "two", "d/e/c": strings.Repeat("three", 100_000)} {
		require.NoError(t, os.MkdirAll(filepath.Dir(source+"/"+name), 0o755))
		require.NoError(t, os.WriteFile(source+"/"+name, []byte(data), 0o640))
	}
	dir = mountChild(t, "fs", source)
	require.NoError(t, fstest.TestFS(os.DirFS(dir), "a", "d/b", "d/e/c"))
}

func TestMountSubdir(t *testing.T) {
	source := t.TempDir()
	require.NoError(t, os.Mkdir(source+"/inner", 0o755))
	require.NoError(t, os.WriteFile(source+"/inner/x", []byte("below"), 0o644))
	dir := mountChild(t, "subdir", source)
	data, err := os.ReadFile(dir + "/x")
	require.NoError(t, err)
	require.Equal(t, "below", string(data))
}

func stat(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	require.NoError(t, unix.Lstat(path, &st))
	return st
}

// TestMountFromRoot checks what POSIX says of a file system.
func TestMountFromRoot(t *testing.T) {
	source := t.TempDir()
	require.NoError(t, os.Chmod(source, 0o777))
	dir := mountChild(t, "root", source)
	at := func(name string) string { return dir + "/" + name }
	old := unix.Umask(0o027)
	defer unix.Umask(old)

	t.Run("modes", func(t *testing.T) {
		fd, err := unix.Open(at("m"), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o6777)
		require.NoError(t, err)
		unix.Close(fd)
		require.EqualValues(t, unix.S_IFREG|0o6750, stat(t, at("m")).Mode)
		_, err = unix.Open(at("m"), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o777)
		require.Equal(t, unix.EEXIST, err)
		require.NoError(t, unix.Mkdir(at("md"), 0o1777))
		require.EqualValues(t, unix.S_IFDIR|0o1750, stat(t, at("md")).Mode)
		require.NoError(t, unix.Mknod(at("fifo"), unix.S_IFIFO|0o666, 0))
		require.EqualValues(t, unix.S_IFIFO|0o640, stat(t, at("fifo")).Mode)
		require.NoError(t, unix.Chmod(at("m"), 0o4711))
		require.EqualValues(t, unix.S_IFREG|0o4711, stat(t, at("m")).Mode)
		require.NoError(t, unix.Chown(at("m"), 12, -1))
		st := stat(t, at("m"))
		require.EqualValues(t, 12, st.Uid)
		require.EqualValues(t, 0, st.Gid)
		require.EqualValues(t, 0o711, st.Mode&0o7777, "chown drops suid")
	})

	t.Run("rename", func(t *testing.T) {
		require.NoError(t, os.MkdirAll(at("r/full/x"), 0o755))
		require.NoError(t, os.MkdirAll(at("r/empty"), 0o755))
		require.NoError(t, os.WriteFile(at("r/f"), []byte("f"), 0o644))
		require.NoError(t, os.WriteFile(at("r/g"), []byte("g"), 0o644))
		require.ErrorIs(t, unix.Rename(at("r/empty"), at("r/full")), unix.ENOTEMPTY)
		require.ErrorIs(t, unix.Rename(at("r/empty"), at("r/f")), unix.ENOTDIR)
		require.ErrorIs(t, unix.Rename(at("r/f"), at("r/empty")), unix.EISDIR)
		require.ErrorIs(t, unix.Rename(at("r"), at("r/full/r")), unix.EINVAL)
		require.ErrorIs(t, unix.Renameat2(unix.AT_FDCWD, at("r/f"), unix.AT_FDCWD, at("r/g"), unix.RENAME_NOREPLACE), unix.EEXIST)
		require.NoError(t, unix.Renameat2(unix.AT_FDCWD, at("r/f"), unix.AT_FDCWD, at("r/g"), unix.RENAME_EXCHANGE))
		data, err := os.ReadFile(at("r/f"))
		require.NoError(t, err)
		require.Equal(t, "g", string(data))
		require.NoError(t, unix.Rename(at("r/f"), at("r/g")))
		require.NoError(t, unix.Rename(at("r/full"), at("r/empty")))
		_, err = os.Stat(at("r/empty/x"))
		require.NoError(t, err)
	})

	t.Run("links", func(t *testing.T) {
		require.NoError(t, os.WriteFile(at("l1"), []byte("one"), 0o644))
		require.NoError(t, os.Link(at("l1"), at("l2")))
		a, b := stat(t, at("l1")), stat(t, at("l2"))
		require.Equal(t, a.Ino, b.Ino)
		require.EqualValues(t, 2, b.Nlink)
		require.NoError(t, os.WriteFile(at("l2"), []byte("second"), 0o644))
		require.EqualValues(t, 6, stat(t, at("l1")).Size)
		data, err := os.ReadFile(at("l1"))
		require.NoError(t, err)
		require.Equal(t, "second", string(data))
		require.NoError(t, os.Remove(at("l1")))
		require.EqualValues(t, 1, stat(t, at("l2")).Nlink)
		require.ErrorIs(t, os.Link(dir, at("dl")), unix.EPERM)
	})

	t.Run("symlinks", func(t *testing.T) {
		long := strings.Repeat("x/", 2000) + "y"
		require.NoError(t, os.Symlink(long, at("s")))
		got, err := os.Readlink(at("s"))
		require.NoError(t, err)
		require.Equal(t, long, got)
		require.EqualValues(t, len(long), stat(t, at("s")).Size)
		require.NoError(t, os.Symlink("loop2", at("loop1")))
		require.NoError(t, os.Symlink("loop1", at("loop2")))
		_, err = os.Open(at("loop1"))
		require.ErrorIs(t, err, unix.ELOOP)
		require.NoError(t, unix.Lchown(at("loop1"), 3, 4))
		require.EqualValues(t, 3, stat(t, at("loop1")).Uid)
		// Links that lead out of the directory are the client's to follow, not the server's.
		require.NoError(t, os.Symlink("/etc/passwd", at("out")))
		_, err = unix.Open(at("out"), unix.O_RDONLY|unix.O_NOFOLLOW, 0)
		require.Equal(t, unix.ELOOP, err)
	})

	t.Run("timestamps", func(t *testing.T) {
		require.NoError(t, os.WriteFile(at("t"), nil, 0o644))
		ts := []unix.Timespec{{Sec: 1, Nsec: 2}, {Sec: 1 << 30, Nsec: 999999999}}
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, at("t"), ts, 0))
		st := stat(t, at("t"))
		require.Equal(t, ts, []unix.Timespec{st.Atim, st.Mtim})
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, at("t"), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0))
		st = stat(t, at("t"))
		require.Equal(t, ts[0], st.Atim)
		require.WithinDuration(t, time.Now(), time.Unix(int64(st.Mtim.Sec), 0), time.Minute)
		require.NoError(t, os.Symlink("nowhere", at("ts")))
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, at("ts"), ts, unix.AT_SYMLINK_NOFOLLOW))
		require.Equal(t, ts[1], stat(t, at("ts")).Mtim)
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir, ts, 0))
		require.Equal(t, ts[1], stat(t, dir).Mtim, "the root's, too")
		var stx unix.Statx_t
		require.NoError(t, unix.Statx(unix.AT_FDCWD, at("t"), 0, unix.STATX_BTIME, &stx))
		require.NotZero(t, stx.Mask&unix.STATX_BTIME)
	})

	t.Run("content", func(t *testing.T) {
		f, err := os.OpenFile(at("c"), os.O_RDWR|os.O_CREATE, 0o644)
		require.NoError(t, err)
		defer f.Close()
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		_, err = f.Write(data)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(10))
		require.NoError(t, f.Truncate(1<<20))
		got, err := os.ReadFile(at("c"))
		require.NoError(t, err)
		require.Equal(t, append(slices.Clone(data[:10]), make([]byte, 1<<20-10)...), got)
		require.NoError(t, os.Truncate(at("c"), 1<<21))
		_, err = f.WriteAt([]byte("end"), 3<<20)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
		require.NoError(t, err)
		require.Positive(t, hole)
		require.Less(t, hole, int64(3<<20))
		pos, err := unix.Seek(int(f.Fd()), hole, unix.SEEK_DATA)
		require.NoError(t, err)
		require.Greater(t, pos, hole)
		require.NoError(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 8<<20))
		require.EqualValues(t, 3<<20+3, stat(t, at("c")).Size)
		to, err := os.Create(at("c2"))
		require.NoError(t, err)
		defer to.Close()
		off := int64(3 << 20)
		n, err := unix.CopyFileRange(int(f.Fd()), &off, int(to.Fd()), nil, 100, 0)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		got, err = os.ReadFile(at("c2"))
		require.NoError(t, err)
		require.Equal(t, "end", string(got))
		a, err := os.OpenFile(at("c2"), os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = a.Write([]byte("!"))
		require.NoError(t, err)
		require.NoError(t, a.Close())
		got, err = os.ReadFile(at("c2"))
		require.NoError(t, err)
		require.Equal(t, "end!", string(got))
	})

	t.Run("locks", func(t *testing.T) {
		f, err := os.Create(at("k"))
		require.NoError(t, err)
		defer f.Close()
		g, err := os.Open(at("k"))
		require.NoError(t, err)
		defer g.Close()
		require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
		require.Equal(t, unix.EWOULDBLOCK, unix.Flock(int(g.Fd()), unix.LOCK_SH|unix.LOCK_NB))
		lk := unix.Flock_t{Type: unix.F_WRLCK, Start: 5, Len: 5}
		require.NoError(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk))
		lk = unix.Flock_t{Type: unix.F_RDLCK, Start: 0, Len: 100}
		require.NoError(t, unix.FcntlFlock(g.Fd(), unix.F_OFD_GETLK, &lk))
		require.EqualValues(t, unix.F_WRLCK, lk.Type)
	})

	t.Run("xattr", func(t *testing.T) {
		require.NoError(t, os.WriteFile(at("x"), nil, 0o644))
		if err := unix.Setxattr(source+"/x", "user.probe", nil, 0); errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("the temporary directory has no user attributes")
		}
		require.NoError(t, unix.Removexattr(source+"/x", "user.probe"))
		for _, p := range []string{at("x"), dir} {
			require.NoError(t, unix.Setxattr(p, "user.a", []byte("value"), unix.XATTR_CREATE))
			require.Equal(t, unix.EEXIST, unix.Setxattr(p, "user.a", nil, unix.XATTR_CREATE))
			n, err := unix.Getxattr(p, "user.a", nil)
			require.NoError(t, err)
			require.Equal(t, 5, n)
			buf := make([]byte, 100)
			_, err = unix.Getxattr(p, "user.a", buf[:2])
			require.Equal(t, unix.ERANGE, err)
			n, err = unix.Listxattr(p, buf)
			require.NoError(t, err)
			require.Contains(t, string(buf[:n]), "user.a\x00")
			require.NoError(t, unix.Removexattr(p, "user.a"))
			_, err = unix.Getxattr(p, "user.a", buf)
			require.Equal(t, unix.ENODATA, err)
		}
	})

	t.Run("unlink while open", func(t *testing.T) {
		require.NoError(t, os.Mkdir(at("u"), 0o755))
		f, err := os.Create(at("u/x"))
		require.NoError(t, err)
		require.NoError(t, os.Remove(at("u/x")))
		_, err = f.WriteString("still here")
		require.NoError(t, err)
		st, err := f.Stat()
		require.NoError(t, err)
		require.EqualValues(t, 10, st.Size())
		require.Zero(t, st.Sys().(*syscall.Stat_t).Nlink)
		got := make([]byte, 10)
		_, err = f.ReadAt(got, 0)
		require.NoError(t, err)
		require.Equal(t, "still here", string(got))
		require.NoError(t, os.WriteFile(at("u/x"), []byte("another"), 0o644))
		require.NoError(t, f.Close())
		require.NoError(t, os.Remove(at("u/x")))
		// RELEASE comes some time after close(2), so the directory may not be empty at once.
		require.Eventually(t, func() bool { return os.Remove(at("u")) == nil }, 10*time.Second, time.Millisecond)
	})

	t.Run("limits", func(t *testing.T) {
		long := strings.Repeat("n", 255)
		require.NoError(t, os.WriteFile(at(long), nil, 0o644))
		_, err := os.Stat(at(long + "n"))
		require.ErrorIs(t, err, unix.ENAMETOOLONG)
		require.NoError(t, os.Mkdir(at("many"), 0o755))
		for i := range 2000 {
			require.NoError(t, os.WriteFile(at(fmt.Sprintf("many/file-%04d", i)), nil, 0o600))
		}
		list, err := os.ReadDir(at("many"))
		require.NoError(t, err)
		require.Len(t, list, 2000)
		require.NoError(t, os.RemoveAll(at("many")))
		var st unix.Statfs_t
		require.NoError(t, unix.Statfs(dir, &st))
		require.NotZero(t, st.Blocks)
		_, err = os.Stat(at("none"))
		require.ErrorIs(t, err, unix.ENOENT)
		require.ErrorIs(t, unix.Rmdir(at("m")), unix.ENOTDIR)
		require.ErrorIs(t, unix.Unlink(at("md")), unix.EISDIR)
	})

	t.Run("permissions", func(t *testing.T) {
		require.NoError(t, os.Chmod(dir, 0o777))
		require.NoError(t, os.Mkdir(at("sticky"), 0o777))
		require.NoError(t, unix.Chmod(at("sticky"), 0o1777))
		require.NoError(t, os.WriteFile(at("sticky/mine"), nil, 0o600))
		require.NoError(t, os.Mkdir(at("group"), 0o777))
		require.NoError(t, os.Chown(at("group"), 0, 55))
		require.NoError(t, unix.Chmod(at("group"), 0o2777))
		sh := exec.Command("/bin/sh", "-c", `umask 077
			rm -f sticky/mine 2>/dev/null && exit 1
			cat sticky/mine 2>/dev/null && exit 2
			echo x >sticky/theirs || exit 3
			mkdir group/d && echo x >group/f || exit 4
			chmod 644 m 2>/dev/null && exit 5
			exit 0`)
		sh.Dir = dir
		for p := dir; p != "/"; p = filepath.Dir(p) { // the way there
			if st := stat(t, p); st.Mode&0o001 == 0 {
				require.NoError(t, os.Chmod(p, os.FileMode(st.Mode&0o777|0o011)))
			}
		}
		sh.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := sh.CombinedOutput()
		require.NoError(t, err, "%s", out)
		st := stat(t, at("sticky/theirs"))
		require.EqualValues(t, 65534, st.Uid)
		require.EqualValues(t, unix.S_IFREG|0o600, st.Mode)
		st = stat(t, at("group/d"))
		require.EqualValues(t, 65534, st.Uid)
		require.EqualValues(t, 55, st.Gid)
		require.EqualValues(t, unix.S_IFDIR|0o2700, st.Mode)
		require.EqualValues(t, 55, stat(t, at("group/f")).Gid)
	})

	t.Run("conform", func(t *testing.T) { fusetest.Conform(t, dir) })

	// No file was left behind hidden.
	list, err := os.ReadDir(source)
	require.NoError(t, err)
	for _, e := range list {
		require.NotContains(t, e.Name(), ".fuse_hidden")
	}
}
