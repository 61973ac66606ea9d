//go:build linux

package realtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// work is a little of everything.
func work(t *testing.T, s *server, source string) {
	t.Helper()
	dir := s.path("dir")
	require.NoError(t, os.Mkdir(dir, 0o755))
	text := []byte(strings.Repeat("0123456789", 50000))
	for i := range 20 {
		require.NoError(t, os.WriteFile(fmt.Sprint(dir, "/f", i), text, 0o644))
	}
	for i := range 20 {
		got, err := os.ReadFile(fmt.Sprint(dir, "/f", i))
		require.NoError(t, err)
		require.True(t, string(text) == string(got))
		require.NoError(t, os.Rename(fmt.Sprint(dir, "/f", i), fmt.Sprint(dir, "/g", i)))
	}
	require.NoError(t, os.Link(dir+"/g1", dir+"/link"))
	require.NoError(t, os.Symlink("g1", dir+"/sym"))
	sameTree(t, source, s.mnt)
	require.NoError(t, os.RemoveAll(dir))
	left, err := os.ReadDir(source)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestOptions(t *testing.T) {
	if !isolated(t) {
		return
	}
	source := tmpfs(t)
	for _, args := range [][]string{
		{"-s"}, {"-o", "clone_fd"}, {"-o", "clone_fd,max_threads=4"}, {"-o", "max_threads=1"}, {"-o", "max_idle_threads=1"},
		{"-o", "cache=never"}, {"-o", "cache=auto"}, {"-o", "cache=always"}, {"-o", "timeout=0"}, {"-o", "timeout=1e9"}, {"-o", "timeout=0.5x"},
		{"-o", "writeback"}, {"-o", "writeback", "-s"}, {"-o", "writeback,no_writeback,flock,no_flock,xattr,no_xattr"},
		{"-o", "default_permissions,allow_other"}, {"-o", "fsname=name,subtype=sub,ro,rw"}, {"-d"}, {"-o", "debug,cache=never", "-s"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			s := mount(t, source, args...)
			work(t, s, source)
			s.unmount()
			log := s.log.String()
			if strings.Contains(strings.Join(args, " "), "d") && (args[0] == "-d" || strings.HasPrefix(args[1], "debug")) {
				require.Regexp(t, `unique: \d+, opcode: LOOKUP \(1\), nodeid: 1, insize: \d+, pid: \d+`, log)
				require.Regexp(t, `   unique: \d+, error: -2 \(No such file or directory\), outsize: 16`, log)
				require.Regexp(t, `   unique: \d+, success, outsize: \d+`, log)
			} else {
				require.Empty(t, log)
			}
		})
	}
	t.Run("many files with few descriptors", func(t *testing.T) { // the soft limit is not the one that counts
		var old unix.Rlimit
		require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
		low := old
		low.Cur = 256
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: low.Cur, Max: low.Max}))
		s := mount(t, source)
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: old.Cur, Max: old.Max}))
		for i := range 1000 {
			require.NoError(t, os.WriteFile(s.path(strconv.Itoa(i)), nil, 0o644))
		}
		require.NoError(t, exec.Command("sh", "-c", "rm "+s.mnt+"/*").Run())
	})
}

func TestInitStatus(t *testing.T) {
	if !isolated(t) {
		return
	}
	t.Setenv("FUSE_INIT_STATUS", "1")
	s := mount(t, tmpfs(t), "-o", "writeback")
	_, err := os.Lstat(s.mnt)
	require.NoError(t, err)
	for _, want := range []string{"FUSE_CAP_WRITEBACK_CACHE", "FUSE_CAP_FLOCK_LOCKS", "FUSE_CAP_READDIRPLUS", `io_uring=\S+`, "proto_major=7", `proto_minor=\d+`, `max_write=1048576`} {
		require.Regexp(t, `(?m)^FUSE_INIT: `+want+`$`, s.log.String())
	}
}

// TestLife is about how the server starts and ends.
func TestLife(t *testing.T) {
	if !isolated(t) {
		return
	}
	source := tmpfs(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			s := start(t, "-f", "-o", "source="+source)
			f := create(t, s.path("f"), 0)
			require.NoError(t, s.cmd.Process.Signal(sig))
			require.Equal(t, 1, s.wait(), "%s", s.log)
			require.Nil(t, mounted(t, s.mnt))
			_, err := f.WriteString("x")
			require.Error(t, err)
			require.NotRegexp(t, suspicious, s.log.String())
		})
	}
	t.Run("abort", func(t *testing.T) {
		s := start(t, "-f", "-o", "source="+source)
		require.NoError(t, s.abort())
		require.Zero(t, s.wait(), "%s", s.log)
		require.Nil(t, mounted(t, s.mnt))
	})
	t.Run("background", func(t *testing.T) {
		require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(source), "mnt"), 0o755))
		mnt := filepath.Join(filepath.Dir(source), "mnt")
		// Relative paths are those of the directory in which the command was given.
		cmd := exec.Command(os.Getenv(envServer), "-o", "source=tmpfs", "mnt")
		cmd.Dir = filepath.Dir(source)
		require.Empty(t, result(t, cmd)) // returns when the mount works
		require.NotNil(t, mounted(t, mnt))
		require.NoError(t, os.WriteFile(mnt+"/file", []byte("x"), 0o644))
		text, err := os.ReadFile(source + "/file")
		require.NoError(t, err)
		require.Equal(t, "x", string(text))
		pid := 0
		servers, err := filepath.Glob("/proc/[0-9]*/exe")
		require.NoError(t, err)
		for _, exe := range servers {
			if to, _ := os.Readlink(exe); to == os.Getenv(envServer) {
				pid, _ = strconv.Atoi(strings.Split(exe, "/")[2])
			}
		}
		require.NotZero(t, pid)
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		require.NoError(t, err)
		require.Equal(t, "/", cwd)
		for fd := range 3 {
			to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
			require.NoError(t, err)
			require.Equal(t, "/dev/null", to)
		}
		command(t, "/", "fuse3", "fusermount3", "-u", mnt)
		require.Eventually(t, func() bool { // in this PID namespace the test is everybody's parent
			var ws unix.WaitStatus
			unix.Wait4(pid, &ws, unix.WNOHANG, nil)
			return unix.Kill(pid, 0) == unix.ESRCH
		}, patient, glance)
	})
	t.Run("fails", func(t *testing.T) {
		dir := tempDir(t)
		file := filepath.Join(dir, "file")
		require.NoError(t, os.WriteFile(file, nil, 0o644))
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"-o", "source=/nonexistent", dir}, `failed to stat source ("/nonexistent"): No such file or directory`},
			{[]string{"-o", "source=" + file, dir}, "source is not a directory"},
			{[]string{"-o", "timeout=-1", dir}, "timeout is negative (-1.000000)"},
			{[]string{"-o", "timeout=x", dir}, "fuse: invalid parameter in option `timeout=x'"},
			{[]string{"-o", "cache=sometimes", dir}, "fuse: unknown option(s): `-o cache=sometimes'"},
			{[]string{"-o", "source=/", dir + "/none"}, "fuse: bad mount point `" + dir + "/none': No such file or directory"},
			{[]string{}, "usage: "},
		} {
			out, err := exec.Command(os.Getenv(envServer), c.args...).CombinedOutput()
			require.Error(t, err)
			require.Equal(t, 1, err.(*exec.ExitError).ExitCode(), "%s", out)
			require.Contains(t, string(out), c.want)
			require.Nil(t, mounted(t, dir))
		}
		for _, arg := range []string{"-h", "--help", "-V", "--version"} {
			out := result(t, exec.Command(os.Getenv(envServer), arg))
			require.Regexp(t, "^(usage: .*passthrough_ll \\[options\\] <mountpoint>\n|FUSE library version )", out)
		}
	})
}

// TestAllocations has the server collect garbage whenever a few kilobytes have come together, and sees that it need not.
func TestAllocations(t *testing.T) {
	if !isolated(t) {
		return
	}
	t.Setenv("GOGC", "1")
	t.Setenv("GODEBUG", "gctrace=1")
	source := tmpfs(t)
	require.NoError(t, os.Mkdir(filepath.Join(source, "dir"), 0o755))
	for i := range 500 {
		require.NoError(t, os.WriteFile(filepath.Join(source, "dir", strconv.Itoa(i)), nil, 0o644))
	}
	s := start(t, "-f", "-o", "timeout=0,source="+source)
	f := create(t, s.path("file"), unix.O_DIRECT)
	require.NoError(t, f.Truncate(4096))
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	require.NoError(t, err)
	dir := list(t, s.path("dir"))
	path, err := unix.BytePtrFromString(s.path("file"))
	require.NoError(t, err)
	none, err := unix.BytePtrFromString(s.path("none"))
	require.NoError(t, err)
	const ops = 4000
	here := unix.AT_FDCWD
	cwd := uintptr(here)
	for name, op := range map[string]func(){
		"LOOKUP and GETATTR": func() { unix.Syscall(unix.SYS_FACCESSAT, cwd, uintptr(unsafe.Pointer(path)), 0) },
		"LOOKUP of nothing":  func() { unix.Syscall(unix.SYS_FACCESSAT, cwd, uintptr(unsafe.Pointer(none)), 0) },
		"READ":               func() { unix.Pread(int(f.Fd()), page, 0) },
		"WRITE":              func() { unix.Pwrite(int(f.Fd()), page, 0) },
		"entries": func() { // of a listing, some hundred at a time
			if n, _ := unix.Getdents(dir.fd, page); n == 0 {
				dir.seek(0)
			}
		},
	} {
		for range 200 { // the first ones make what is kept
			op()
		}
		before := strings.Count(s.log.String(), "gc ")
		for range ops {
			op()
		}
		// The server's heap of some hundred kilobytes lets it collect at least once in 100 kB.
		require.LessOrEqual(t, strings.Count(s.log.String(), "gc ")-before, 1, "%s: %s", name, s.log)
	}
	require.NoError(t, f.Close())
	unix.Close(dir.fd)
	command(t, "/", "fuse3", "fusermount3", "-u", s.mnt)
	require.Zero(t, s.wait())
}
