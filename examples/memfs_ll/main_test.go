//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// modes are the ways to mount in which contents must be right.
var modes = []string{"", "-o writeback_cache", "-o fuse_dio", "-o no_timeout", "-o no_timeout,writeback_cache,clone_fd", "-s"}

// eachMode runs test on a mount of its own in every mode.
func eachMode(e *exampletest.Env, test func(e *exampletest.Env, dir string)) {
	for _, mode := range modes {
		e.Each(mode, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			p := e.Serve(dir, strings.Fields(mode)...)
			test(e, dir)
			e.Unmount(dir, 0)
			require.Zero(e, p.Exit(), p.Output())
			require.Empty(e, p.Output())
		})
	}
}

func stat(t require.TestingT, path string) (st unix.Stat_t) {
	require.NoError(t, unix.Lstat(path, &st), path)
	return st
}

func names(t require.TestingT, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestNames(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	eachMode(e, func(e *exampletest.Env, dir string) {
		unix.Umask(0)
		p := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
		write := func(path, text string) { require.NoError(e, os.WriteFile(path, []byte(text), 0o640)) }
		require.Empty(e, names(e, dir))
		require.EqualValues(e, 2, stat(e, dir).Nlink)

		// Directories and their links.
		require.NoError(e, os.Mkdir(p("d"), 0o750))
		require.ErrorIs(e, os.Mkdir(p("d"), 0o750), syscall.EEXIST)
		require.EqualValues(e, syscall.S_IFDIR|0o750, stat(e, p("d")).Mode)
		require.EqualValues(e, 3, stat(e, dir).Nlink)
		require.NoError(e, os.Mkdir(p("d", "sub"), 0o755))
		require.EqualValues(e, 3, stat(e, p("d")).Nlink)
		require.ErrorIs(e, unix.Rmdir(p("d")), syscall.ENOTEMPTY)
		require.ErrorIs(e, unix.Unlink(p("d")), syscall.EISDIR)
		write(p("f"), "text")
		require.ErrorIs(e, unix.Rmdir(p("f")), syscall.ENOTDIR)
		require.ErrorIs(e, unix.Unlink(p("missing")), syscall.ENOENT)

		// Hard links are one file.
		require.NoError(e, os.Link(p("f"), p("d", "g")))
		a, b := stat(e, p("f")), stat(e, p("d", "g"))
		require.Equal(e, a.Ino, b.Ino)
		require.EqualValues(e, 2, b.Nlink)
		require.ErrorIs(e, os.Link(p("f"), p("d")), syscall.EEXIST)
		require.ErrorIs(e, os.Link(p("d"), p("x")), syscall.EPERM)
		write(p("d", "g"), "other")
		text, err := os.ReadFile(p("f"))
		require.NoError(e, err)
		require.Equal(e, "other", string(text))
		require.NoError(e, os.Rename(p("f"), p("d", "g"))) // two names of one file: nothing happens
		require.EqualValues(e, 2, stat(e, p("f")).Nlink)
		require.NoError(e, os.Remove(p("f")))
		require.EqualValues(e, 1, stat(e, p("d", "g")).Nlink)

		// Rename moves, replaces, exchanges.
		require.NoError(e, os.Rename(p("d", "g"), p("f")))
		require.ErrorIs(e, unix.Access(p("d", "g"), 0), syscall.ENOENT)
		write(p("victim"), "victim")
		open, err := os.Open(p("victim"))
		require.NoError(e, err)
		require.ErrorIs(e, unix.Renameat2(-1, p("f"), -1, p("victim"), unix.RENAME_NOREPLACE), syscall.EEXIST)
		require.NoError(e, os.Rename(p("f"), p("victim")))
		text, err = os.ReadFile(p("victim"))
		require.NoError(e, err)
		require.Equal(e, "other", string(text))
		text, err = io.ReadAll(open) // what was replaced lives on while it is open
		require.NoError(e, err)
		require.Equal(e, "victim", string(text))
		require.NoError(e, open.Close())
		require.NoError(e, unix.Rename(p("d", "sub"), p("sub")))
		require.EqualValues(e, 2, stat(e, p("d")).Nlink)
		require.EqualValues(e, 4, stat(e, dir).Nlink)
		require.EqualValues(e, stat(e, dir).Ino, stat(e, p("sub", "..")).Ino)
		require.ErrorIs(e, unix.Rename(p("sub"), p("victim")), syscall.ENOTDIR)
		require.ErrorIs(e, unix.Rename(p("victim"), p("sub")), syscall.EISDIR)
		write(p("d", "x"), "")
		require.ErrorIs(e, unix.Rename(p("sub"), p("d")), syscall.ENOTEMPTY)
		require.ErrorIs(e, unix.Rename(p("d"), p("d", "inside")), syscall.EINVAL)
		require.NoError(e, unix.Renameat2(-1, p("d"), -1, p("victim"), unix.RENAME_EXCHANGE))
		require.Equal(e, []string{"x"}, names(e, p("victim")))
		require.EqualValues(e, syscall.S_IFREG|0o640, stat(e, p("d")).Mode)
		require.EqualValues(e, 4, stat(e, dir).Nlink)
		require.ErrorIs(e, unix.Renameat2(-1, p("d"), -1, p("missing"), unix.RENAME_EXCHANGE), syscall.ENOENT)
		require.ErrorIs(e, unix.Renameat2(-1, p("d"), -1, p("missing"), unix.RENAME_WHITEOUT), syscall.EINVAL)
		require.NoError(e, unix.Rename(p("victim", "x"), p("x")))
		require.NoError(e, unix.Rename(p("sub"), p("victim"))) // over an empty directory
		require.Equal(e, []string{"d", "victim", "x"}, names(e, dir))
		require.EqualValues(e, 3, stat(e, dir).Nlink)

		// Other types.
		require.NoError(e, os.Symlink("a/target", p("s")))
		target, err := os.Readlink(p("s"))
		require.NoError(e, err)
		require.Equal(e, "a/target", target)
		require.EqualValues(e, 8, stat(e, p("s")).Size)
		require.NoError(e, unix.Mknod(p("fifo"), unix.S_IFIFO|0o600, 0))
		require.EqualValues(e, unix.S_IFIFO|0o600, stat(e, p("fifo")).Mode)
		require.NoError(e, unix.Mknod(p("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		require.EqualValues(e, unix.Mkdev(1, 3), stat(e, p("null")).Rdev)

		// Names of 255 bytes, and no longer ones.
		long := strings.Repeat("n", 255)
		write(p(long), "")
		require.Contains(e, names(e, dir), long)
		require.ErrorIs(e, os.WriteFile(p(long+"n"), nil, 0o600), syscall.ENAMETOOLONG)

		// A removed directory takes nothing any more.
		require.NoError(e, os.Mkdir(p("gone"), 0o755))
		fd, err := unix.Open(p("gone"), unix.O_PATH|unix.O_DIRECTORY, 0)
		require.NoError(e, err)
		defer unix.Close(fd)
		require.NoError(e, os.Remove(p("gone")))
		require.ErrorIs(e, unix.Mkdirat(fd, "x", 0o755), syscall.ENOENT)

		// Owner, mode, times.
		write(p("attr"), "")
		require.NoError(e, os.Chown(p("attr"), 7, 8))
		require.NoError(e, os.Chmod(p("attr"), 0o604))
		when := []unix.Timespec{{Sec: 1000, Nsec: 111}, {Sec: 2000, Nsec: 222}}
		require.NoError(e, unix.UtimesNanoAt(unix.AT_FDCWD, p("attr"), when, 0))
		st := stat(e, p("attr"))
		require.Equal(e, []uint32{7, 8, syscall.S_IFREG | 0o604}, []uint32{st.Uid, st.Gid, st.Mode})
		require.Equal(e, when, []unix.Timespec{st.Atim, st.Mtim})
		require.NoError(e, os.Mkdir(p("setgid"), 0o755))
		require.NoError(e, os.Chown(p("setgid"), 0, 9))
		require.NoError(e, unix.Chmod(p("setgid"), 0o2775))
		require.NoError(e, os.Mkdir(p("setgid", "in"), 0o755))
		st = stat(e, p("setgid", "in"))
		require.EqualValues(e, 9, st.Gid)
		require.EqualValues(e, syscall.S_IFDIR|0o2755, st.Mode)

		var fs unix.Statfs_t
		require.NoError(e, unix.Statfs(dir, &fs))
		require.EqualValues(e, 255, fs.Namelen)
	})
}

func TestManyNames(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	p := e.Serve(dir)
	const n = 10_000
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("file-%05d", i))
		require.NoError(t, os.WriteFile(filepath.Join(dir, want[i]), nil, 0o600))
	}
	require.Equal(t, want, names(t, dir))
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	for removed := 0; removed < n; { // deleting while reading loses nothing
		some, err := d.Readdirnames(100)
		require.NoError(t, err)
		for _, name := range some {
			require.NoError(t, os.Remove(filepath.Join(dir, name)))
			removed++
		}
	}
	_, err = d.Seek(0, io.SeekStart)
	require.NoError(t, err)
	_, err = d.Readdirnames(1)
	require.Equal(t, io.EOF, err)
	require.NoError(t, d.Close())
	e.Unmount(dir, 0)
	require.Zero(t, p.Exit())
}

// TestModel does random things to a file, through several descriptors and a shared mapping, and compares it with what they
// would do to a slice of bytes.
func TestModel(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	eachMode(e, func(e *exampletest.Env, dir string) {
		const most = 1 << 20
		rng := rand.New(rand.NewPCG(1, uint64(len(e.Name()))))
		path := filepath.Join(dir, "file")
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		require.NoError(e, err)
		defer file.Close()
		direct, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
		require.NoError(e, err)
		defer direct.Close()
		end, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(e, err)
		defer end.Close()
		aligned, err := unix.Mmap(-1, 0, most, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		require.NoError(e, err)
		defer unix.Munmap(aligned)

		var model []byte
		grow := func(n int) {
			if n > len(model) {
				model = append(model, make([]byte, n-len(model))...)
			}
		}
		fill := func(b []byte) {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}
		check := func(op string, got []byte, off int) {
			want := model[min(off, len(model)):min(off+len(got), len(model))]
			require.True(e, bytes.Equal(want, got), "%s: differs from the model: %d bytes at %d", op, len(got), off)
		}
		for i := range 1500 {
			off, n := rng.IntN(most), rng.IntN(1<<rng.IntN(18))
			n = min(n, most-off)
			op := fmt.Sprintf("step %d: ", i)
			switch rng.IntN(12) {
			case 0, 1:
				op += "write"
				b := make([]byte, n)
				fill(b)
				_, err = file.WriteAt(b, int64(off))
				if n > 0 {
					grow(off + n)
					copy(model[off:], b)
				}
			case 2, 3:
				op += "read"
				b := make([]byte, n)
				n, err = file.ReadAt(b, int64(off))
				if errors.Is(err, io.EOF) {
					err = nil
				}
				require.Equal(e, min(len(b), max(len(model)-off, 0)), n, op)
				check(op, b[:n], off)
			case 4:
				op += "direct write"
				off, n = off&^4095, max(n&^4095, 4096)
				n = min(n, most-off)
				fill(aligned[:n])
				_, err = direct.WriteAt(aligned[:n], int64(off))
				grow(off + n)
				copy(model[off:], aligned[:n])
			case 5:
				op += "direct read"
				off, n = off&^4095, max(n&^4095, 4096)
				n, err = unix.Pread(int(direct.Fd()), aligned[:n], int64(off))
				require.Equal(e, true, n <= max(len(model)-off, 0), op)
				check(op, aligned[:max(n, 0)], off)
			case 6:
				op += "truncate"
				err = file.Truncate(int64(off))
				grow(off)
				model = model[:off:off]
			case 7:
				op += "append"
				b := make([]byte, min(n, most-len(model)))
				fill(b)
				_, err = end.Write(b)
				model = append(model, b...)
			case 8:
				op += "mapped"
				if len(model) == 0 {
					continue
				}
				var m []byte
				m, err = unix.Mmap(int(file.Fd()), 0, len(model), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				require.NoError(e, err, op)
				check(op+" read", m, 0)
				off = min(off, len(model)-1)
				b := m[off:min(off+n, len(m))]
				fill(b)
				copy(model[off:], b)
				require.NoError(e, unix.Msync(m, unix.MS_SYNC), op)
				err = unix.Munmap(m)
			case 9:
				op += "truncating open"
				if rng.IntN(8) > 0 {
					continue
				}
				var f *os.File
				f, err = os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
				require.NoError(e, err, op)
				err = f.Close()
				model = nil
			case 10:
				op += "fsync"
				err = file.Sync()
			case 11:
				op += "stat"
				require.EqualValues(e, len(model), stat(e, path).Size, op)
			}
			require.NoError(e, err, op)
		}
		whole, err := os.ReadFile(path)
		require.NoError(e, err)
		require.True(e, bytes.Equal(model, whole))
		require.NoError(e, unix.Unlink(path))
		whole = make([]byte, len(model)+1)
		n, _ := file.ReadAt(whole, 0) // unlinked files live on while they are open
		require.True(e, bytes.Equal(model, whole[:n]))
	})
}

func TestSparse(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	eachMode(e, func(e *exampletest.Env, dir string) {
		f, err := os.Create(filepath.Join(dir, "sparse"))
		require.NoError(e, err)
		defer f.Close()
		const far = 5<<30 + 12345
		_, err = f.WriteAt([]byte("far"), far)
		require.NoError(e, err)
		_, err = f.WriteAt([]byte("near"), 100)
		require.NoError(e, err)
		require.NoError(e, f.Sync())
		st := stat(e, f.Name())
		require.Equal(e, int64(far+3), st.Size)
		require.LessOrEqual(e, st.Blocks, int64(2*chunkSize/512))
		b := make([]byte, 10)
		_, err = f.ReadAt(b, far-7)
		require.NoError(e, err)
		require.Equal(e, "\x00\x00\x00\x00\x00\x00\x00far", string(b))
		_, err = f.ReadAt(b, 3<<30)
		require.NoError(e, err)
		require.Equal(e, make([]byte, 10), b)
		require.NoError(e, f.Truncate(102))
		require.NoError(e, f.Truncate(1<<40))
		_, err = f.ReadAt(b, 98)
		require.NoError(e, err)
		require.Equal(e, "\x00\x00ne\x00\x00\x00\x00\x00\x00", string(b))
		require.EqualValues(e, int64(1<<40), stat(e, f.Name()).Size)
	})
}

func TestFio(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	eachMode(e, func(e *exampletest.Env, dir string) {
		for _, args := range []string{"--direct=0 --bs=4k", "--direct=1 --bs=4k", "--direct=0 --bs=128k", "--direct=1 --bs=256k"} {
			args += " --name=verify --rw=randrw --size=4m --numjobs=4 --ioengine=psync --verify=crc32c --verify_fatal=1 --do_verify=1 --fallocate=none"
			log := filepath.Join(e.Dir, "fio.log")
			fio := exec.Command("fio", append(strings.Fields(args), "--directory="+dir, "--output="+log)...)
			fio.Dir = e.Dir // where it leaves files of its own
			code, out := e.Finish(fio)
			text, err := os.ReadFile(log)
			require.NoError(e, err)
			require.Zero(e, code, "%s\n%s", out, text)
			require.Contains(e, string(text), "err= 0")
			for _, name := range names(e, dir) {
				require.NoError(e, os.Remove(filepath.Join(dir, name)))
			}
		}
	})
}

// Many clients make, link, move and remove the same names; the tree must stay sound.
func TestChurn(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	eachMode(e, func(e *exampletest.Env, dir string) {
		var wg sync.WaitGroup
		allowed := []error{syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.EISDIR, syscall.ENOTDIR, syscall.EINVAL, syscall.EPERM}
		fail := make(chan error, 8)
		for seed := range 8 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(2, uint64(seed)))
				name := func() string {
					p := dir
					for range rng.IntN(3) + 1 {
						p = filepath.Join(p, string(rune('a'+rng.IntN(4))))
					}
					return p
				}
				for range 300 {
					var err error
					switch rng.IntN(8) {
					case 0:
						err = os.Mkdir(name(), 0o755)
					case 1, 2:
						err = os.WriteFile(name(), []byte("text"), 0o644)
					case 3:
						err = os.Rename(name(), name())
					case 4:
						err = unix.Renameat2(-1, name(), -1, name(), unix.RENAME_EXCHANGE)
					case 5:
						err = os.Link(name(), name())
					case 6:
						err = os.Remove(name())
					case 7:
						_, err = os.ReadDir(name())
					}
					if err != nil && !slices.ContainsFunc(allowed, func(a error) bool { return errors.Is(err, a) }) {
						fail <- err
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case err := <-fail:
			require.NoError(e, err)
		default:
		}
		links := map[uint64]uint64{} // names of each file that is no directory
		require.NoError(e, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			require.NoError(e, err)
			if st := stat(e, path); d.IsDir() {
				dirs := uint64(2)
				list, err := os.ReadDir(path)
				require.NoError(e, err)
				for _, in := range list {
					if in.IsDir() {
						dirs++
					}
				}
				require.EqualValues(e, dirs, st.Nlink, path)
			} else {
				links[st.Ino]++
			}
			return nil
		}))
		require.NoError(e, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if !d.IsDir() {
				require.EqualValues(e, links[stat(e, path).Ino], stat(e, path).Nlink, path)
			}
			return err
		}))
		require.NoError(e, exec.Command("sh", "-c", "rm -rf \"$0\"/*", dir).Run())
		require.Empty(e, names(e, dir))
	})
}

func TestNullIO(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	p := e.Serve(dir, "-o", "null_io,fuse_dio")
	f, err := os.Create(filepath.Join(dir, "f"))
	require.NoError(t, err)
	n, err := f.WriteAt(make([]byte, 100_000), 1<<30)
	require.NoError(t, err)
	require.Equal(t, 100_000, n)
	b := make([]byte, 2<<20)
	n, err = f.ReadAt(b, 0) // of a file that is empty
	require.NoError(t, err)
	require.Equal(t, len(b), n)
	require.NotEqual(t, make([]byte, 100), b[:100])
	require.NoError(t, f.Close())
	require.Zero(t, stat(t, f.Name()).Size)
	e.Unmount(dir, 0)
	require.Zero(t, p.Exit(), p.Output())
}

func TestCommandLine(t *testing.T) {
	e := exampletest.Isolated(t, "memfs_ll")
	if e == nil {
		return
	}
	code, out := e.Finish(e.Command("-h"))
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(out, "usage: "+e.Program+" [options] <mountpoint>\n\nFile-system specific options:\n"), out)
	for _, o := range []string{"null_io", "fuse_dio", "writeback_cache", "no_timeout", "max_threads", "auto_unmount"} {
		require.Contains(t, out, "    -o "+o)
	}
	code, out = e.Finish(e.Command("-o", "null_io,bogus", e.Dir))
	require.Equal(t, 1, code)
	require.Equal(t, "fuse: unknown option(s): `-o bogus'\n", out)

	// A dead mount is told as such, and is no obstacle once it is gone. Nothing here is cached.
	dir := e.Mountpoint(0)
	p := e.Serve(dir)
	p.Signal(unix.SIGKILL)
	require.Equal(t, -1, p.Exit())
	code, out = e.Finish(e.Command(dir))
	require.Equal(t, 1, code)
	require.Equal(t, "fuse: failed to mount on "+dir+": failed to access mountpoint: transport endpoint is not connected\n", out)
	e.Unmount(dir, 0)
	code, out = e.Finish(e.Command(dir))
	require.Zero(t, code, out)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o600))
	pid := e.Daemon(dir)
	e.Unmount(dir, 0)
	require.Zero(t, e.DaemonExit(pid))

	cmd := e.Command("-f", "-o", "writeback_cache", dir)
	cmd.Env = append(cmd.Env, "FUSE_INIT_STATUS=1")
	p = e.Start(cmd)
	p.AwaitMount(dir)
	require.Contains(t, p.Output(), "FUSE_INIT: FUSE_CAP_WRITEBACK_CACHE\n")
	p.Signal(unix.SIGTERM)
	require.Equal(t, 1, p.Exit())
	require.Nil(t, e.Mounted(dir))
}
