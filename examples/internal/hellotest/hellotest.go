//go:build linux

// Package hellotest is what libfuse's tests do with the hello servers of both APIs, and some more: all ways to mount and to
// end, through their real main functions on real mounts. Both have one file, hello.
package hellotest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/examples/internal/exampletest"
)

// Text is what the file contains.
const Text = "Hello World!\n"

// Server is one of the programs.
type Server struct {
	Name    string
	More    func(t require.TestingT, dir string) // looks at what there is beside the file; may be nil
	Stopped int                                  // exit code after a signal
	Failed  int                                  // exit code in the foreground when the mount fails
	Wrong   int                                  // exit code for an option with a wrong value
	Unasked string                               // a capability that it does not want
	Lines   []string                             // lines that -d prints, as regular expressions
}

// Check is what everybody expects of a mounted hello.
func (s *Server) Check(t require.TestingT, dir string) {
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "hello", list[0].Name())
	file := filepath.Join(dir, "hello")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, Text, string(text))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(file, &st))
	require.EqualValues(t, unix.S_IFREG|0o444, st.Mode)
	require.EqualValues(t, 13, st.Size)
	_, err = os.OpenFile(file, os.O_RDWR, 0)
	require.ErrorIs(t, err, syscall.EACCES)
	for _, flags := range []int{os.O_RDONLY, os.O_RDWR} {
		_, err = os.OpenFile(filepath.Join(dir, "missing"), flags, 0)
		require.ErrorIs(t, err, syscall.ENOENT)
	}
	if s.More != nil {
		s.More(t, dir)
	}
}

// suspicious is what no server may print when nothing is wrong.
var suspicious = regexp.MustCompile(`(?i)exception|error|warning|fatal|traceback|fault|crash|abort|uninitiali[zs]ed`)

// end unmounts and expects a clean exit.
func end(e *exampletest.Env, p *exampletest.Proc, dir string, uid uint32) {
	e.Unmount(dir, uid)
	require.Zero(e, p.Exit(), p.Output())
	require.NotRegexp(e, suspicious, p.Output())
	require.Nil(e, e.Mounted(dir))
}

// Foreground serves without going into the background.
func (s *Server) Foreground(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for _, args := range []string{"", "-s", "-s -o clone_fd", "-o clone_fd", "-o max_threads=2,max_idle_threads=1 -oclone_fd", "-o io_uring,io_uring_q_depth=4"} {
		e.Each(args, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			p := e.Serve(dir, strings.Fields(args)...)
			s.Check(e, dir)
			end(e, p, dir, 0)
			if strings.Contains(args, "io_uring") && !ringOffered() {
				require.Regexp(e, `^fuse: requests come through the device: no io_uring why=.+\n$`, p.Output())
				return
			}
			require.Empty(e, p.Output())
		})
	}
}

// ringOffered reports whether the kernel lets requests through io_uring.
func ringOffered() bool {
	b, _ := os.ReadFile("/sys/module/fuse/parameters/enable_uring")
	return string(b) == "Y\n"
}

// PlainUser mounts without rights, through fusermount3.
func (s *Server) PlainUser(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	e.Each("foreground", func(e *exampletest.Env) {
		dir := e.Mountpoint(exampletest.Nobody)
		p := e.Start(exampletest.As(exampletest.Nobody, e.Command("-f", dir)))
		p.AwaitMount(dir)
		in := e.Mounted(dir)
		require.Equal(e, "fuse."+s.Name, in.FSType)
		require.Contains(e, strings.Split(in.VFSOptions, ","), "user_id=65534")
		code, out := e.Finish(exampletest.As(exampletest.Nobody, exec.Command("cat", filepath.Join(dir, "hello"))))
		require.Zero(e, code)
		require.Equal(e, Text, out)
		_, err := os.ReadDir(dir) // not even root, without allow_root
		require.ErrorIs(e, err, syscall.EACCES)
		end(e, p, dir, exampletest.Nobody)
	})
	e.Each("background", func(e *exampletest.Env) {
		dir := e.Mountpoint(exampletest.Nobody)
		code, out := e.Finish(exampletest.As(exampletest.Nobody, e.Command(dir)))
		require.Zero(e, code, out)
		daemon := e.Daemon(dir)
		code, out = e.Finish(exampletest.As(exampletest.Nobody, exec.Command("cat", filepath.Join(dir, "hello"))))
		require.Zero(e, code)
		require.Equal(e, Text, out)
		e.Unmount(dir, exampletest.Nobody)
		require.Zero(e, e.DaemonExit(daemon))
	})
	e.Each("allow_other", func(e *exampletest.Env) { // which /etc/fuse.conf does not allow
		dir := e.Mountpoint(exampletest.Nobody)
		code, out := e.Finish(exampletest.As(exampletest.Nobody, e.Command("-f", "-o", "allow_other", dir)))
		require.Equal(e, s.Failed, code)
		require.Contains(e, out, "user_allow_other")
		require.Nil(e, e.Mounted(dir))
	})
}

// Background looks at the parent process and at what stays behind.
func (s *Server) Background(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for _, args := range []string{"", "-o clone_fd", "-s", "-o dev,suid"} {
		e.Each(args, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			cmd := e.Command(append(strings.Fields(args), filepath.Base(dir))...)
			cmd.Dir = e.Dir // the mount point is relative to here
			code, out := e.Finish(cmd)
			require.Zero(e, code, out)
			require.Empty(e, out)
			require.NotNil(e, e.Mounted(dir), "the parent has left before the mount")
			s.Check(e, dir)

			pid := e.Daemon(filepath.Base(dir))
			proc := "/proc/" + strconv.Itoa(pid) + "/"
			comm, err := os.ReadFile(proc + "comm")
			require.NoError(e, err)
			require.Equal(e, s.Name+"\n", string(comm))
			cwd, err := os.Readlink(proc + "cwd")
			require.NoError(e, err)
			require.Equal(e, "/", cwd)
			for _, fd := range []string{"0", "1", "2"} {
				to, err := os.Readlink(proc + "fd/" + fd)
				require.NoError(e, err)
				require.Equal(e, "/dev/null", to)
			}
			e.Unmount(dir, 0)
			require.Zero(e, e.DaemonExit(pid))
		})
	}
	e.Each("failure", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		cmd := e.Command(dir)
		cmd.Env = append(cmd.Env, "FUSE_KERN_DEVICE=/dev/missing")
		code, out := e.Finish(cmd)
		require.Equal(e, 1, code)
		require.Contains(e, out, "/dev/missing")
		require.Nil(e, e.Mounted(dir))
	})
	e.Each("signal", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		code, out := e.Finish(e.Command(dir))
		require.Zero(e, code, out)
		pid := e.Daemon(dir)
		require.NoError(e, unix.Kill(pid, unix.SIGTERM))
		require.Equal(e, s.Stopped, e.DaemonExit(pid))
		require.Nil(e, e.Mounted(dir))
	})
}

// MountHelper has mount.fuse3 start the program, through the shell; with drop_privileges that mounts by itself, and leaves the
// program no capability and no way to gain one.
func (s *Server) MountHelper(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for _, options := range []string{"", "clone_fd", "drop_privileges", "clone_fd,drop_privileges"} {
		e.Each(options, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			args := []string{s.Name, dir}
			if options != "" {
				args = append(args, "-o", options)
			}
			code, out := e.Finish(e.Prepare(exec.Command("/sbin/mount.fuse3", args...)))
			require.Zero(e, code, out)
			s.Check(e, dir)
			in := e.Mounted(dir)
			require.NotContains(e, in.Options, "nosuid")
			require.NotContains(e, in.Options, "nodev")
			arg := dir
			if strings.Contains(options, "drop_privileges") {
				arg = "/dev/fd/3"
			}
			pid := e.Daemon(arg)
			if strings.Contains(options, "drop_privileges") {
				status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
				require.NoError(e, err)
				require.Contains(e, string(status), "CapEff:\t0000000000000000")
				require.Contains(e, string(status), "NoNewPrivs:\t1")
			}
			e.Unmount(dir, 0)
			require.Zero(e, e.DaemonExit(pid))
		})
	}
}

// Descriptor has a device that is mounted already for a mount point.
func (s *Server) Descriptor(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	mounted := func(e *exampletest.Env) (dir string, dev *os.File) {
		dir = e.Mountpoint(0)
		dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
		require.NoError(e, err)
		data := "rootmode=40000,user_id=0,group_id=0,fd=" + strconv.Itoa(int(dev.Fd()))
		require.NoError(e, unix.Mount("hello", dir, "fuse.hello", unix.MS_NOSUID|unix.MS_NODEV, data))
		return dir, dev
	}
	e.Each("root", func(e *exampletest.Env) {
		dir, dev := mounted(e)
		cmd := e.Command("-f", "/dev/fd/3")
		cmd.ExtraFiles = []*os.File{dev}
		p := e.Start(cmd)
		dev.Close()
		s.Check(e, dir)
		end(e, p, dir, 0)
	})
	e.Each("no capabilities", func(e *exampletest.Env) {
		dir, dev := mounted(e)
		cmd := e.Prepare(exec.Command("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", e.Program, "/dev/fd/3", "-o", "clone_fd,dev,suid"))
		cmd.ExtraFiles = []*os.File{dev}
		code, out := e.Finish(cmd)
		dev.Close()
		require.Zero(e, code, out)
		s.Check(e, dir)
		pid := e.Daemon("/dev/fd/3")
		e.Unmount(dir, 0)
		require.Zero(e, e.DaemonExit(pid))
	})
	e.Each("not open", func(e *exampletest.Env) {
		for _, args := range [][]string{{"/dev/fd/7"}, {"-f", "/dev/fd/7"}} {
			code, out := e.Finish(e.Command(args...))
			if args[0] == "-f" {
				require.Equal(e, s.Failed, code)
			} else {
				require.Equal(e, 1, code)
			}
			require.Contains(e, out, "/dev/fd/7")
		}
	})
}

// MountAttributes looks at the mount's options.
func (s *Server) MountAttributes(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for option, c := range map[string]struct{ has, hasNot, super string }{
		"":      {"rw,nosuid,nodev", "noexec", "rw"},
		"nodev": {"rw,nosuid,nodev", "", "rw"}, "nosuid": {"rw,nosuid,nodev", "", "rw"},
		"ro": {"ro,nosuid,nodev", "rw", "ro"}, "dev": {"rw,nosuid", "nodev", "rw"}, "suid": {"rw,nodev", "nosuid", "rw"},
		"dev,suid": {"rw", "nodev,nosuid", "rw"}, "noexec,noatime": {"rw,nosuid,nodev,noexec,noatime", "", "rw"},
		"allow_other,default_permissions,max_read=8192": {"rw", "", "rw,allow_other,default_permissions,max_read=8192"},
	} {
		e.Each(option, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			args := []string{"-s"}
			if option != "" {
				args = append(args, "-o", option)
			}
			if strings.Contains(option, "max_read") {
				args = append(args, "-o", "subtype=x")
			}
			p := e.Serve(dir, args...)
			in := e.Mounted(dir)
			require.Subset(e, strings.Split(in.Options, ","), strings.Split(c.has, ","))
			for w := range strings.SplitSeq(c.hasNot, ",") {
				require.NotContains(e, strings.Split(in.Options, ","), w)
			}
			require.Subset(e, strings.Split(in.VFSOptions, ","), strings.Split(c.super+",user_id=0,group_id=0", ","))
			text, err := os.ReadFile(filepath.Join(dir, "hello"))
			require.NoError(e, err)
			require.Equal(e, Text, string(text))
			end(e, p, dir, 0)
		})
	}
}

// MountInfo looks at type and source of the mount.
func (s *Server) MountInfo(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for option, c := range map[string]struct{ fstype, source string }{
		"":                               {"fuse." + s.Name, s.Name},
		"fsname=myfsname":                {"fuse", "myfsname"},
		"subtype=mysub":                  {"fuse.mysub", "mysub"},
		"subtype=mysub,fsname=myfsname":  {"fuse.mysub", "myfsname"},
		`fsname=a\,b c\\d,subtype=mysub`: {"fuse.mysub", `a,b c\d`},
	} {
		e.Each(option, func(e *exampletest.Env) {
			for _, uid := range []uint32{0, exampletest.Nobody} {
				dir := e.Mountpoint(int(uid))
				args := []string{"-f", "-s", dir}
				if option != "" {
					args = append(args, "-o", option)
				}
				p := e.Start(exampletest.As(uid, e.Command(args...)))
				p.AwaitMount(dir)
				in := e.Mounted(dir)
				require.Equal(e, c.fstype, in.FSType)
				require.Equal(e, c.source, in.Source)
				end(e, p, dir, uid)
			}
		})
	}
}

// BlockDevice mounts with -o blkdev.
func (s *Server) BlockDevice(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	device := loopDevice(e)
	for option, fstype := range map[string]string{
		"blkdev,fsname=" + device:                    "fuseblk",
		"blkdev,fsname=" + device + ",subtype=mysub": "fuseblk.mysub",
	} {
		e.Each(fstype, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			p := e.Serve(dir, "-s", "-o", option)
			in := e.Mounted(dir)
			require.Equal(e, fstype, in.FSType)
			require.Equal(e, device, in.Source)
			s.Check(e, dir)
			end(e, p, dir, 0)
		})
	}
	e.Each("without device", func(e *exampletest.Env) {
		code, out := e.Finish(e.Command("-f", "-o", "blkdev", e.Mountpoint(0)))
		require.Equal(e, s.Failed, code)
		require.Contains(e, out, "blkdev")
	})
}

// loopDevice makes a block device that goes away with this process.
func loopDevice(e *exampletest.Env) string {
	image, err := os.Create(filepath.Join(e.Dir, "image"))
	require.NoError(e, err)
	defer image.Close()
	require.NoError(e, image.Truncate(1<<20))
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	require.NoError(e, err)
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		require.NoError(e, err)
		path := "/dev/loop" + strconv.Itoa(n)
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(e, err)
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}})
		if err == unix.EBUSY { // somebody else was faster
			dev.Close()
			continue
		}
		require.NoError(e, err)
		e.Cleanup(func() { dev.Close() })
		return path
	}
}

// AutoUnmount kills the server, which a helper watches that then unmounts.
func (s *Server) AutoUnmount(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	e.Each("root", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Serve(dir, "-o", "auto_unmount,dev,suid")
		s.Check(e, dir)
		options := strings.Split(e.Mounted(dir).Options, ",")
		require.False(e, slices.Contains(options, "nodev") || slices.Contains(options, "nosuid"))
		p.Signal(unix.SIGKILL)
		require.Equal(e, -1, p.Exit())
		e.AwaitUnmount(dir)
	})
	e.Each("user", func(e *exampletest.Env) {
		dir := e.Mountpoint(exampletest.Nobody)
		p := e.Start(exampletest.As(exampletest.Nobody, e.Command("-f", "-o", "auto_unmount", dir)))
		p.AwaitMount(dir)
		p.Signal(unix.SIGKILL)
		require.Equal(e, -1, p.Exit())
		e.AwaitUnmount(dir)
	})
	e.Each("ordinary end", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Serve(dir, "-o", "auto_unmount")
		end(e, p, dir, 0)
	})
	e.Each("killed without it", func(e *exampletest.Env) { // the dead mount stays
		dir := e.Mountpoint(0)
		p := e.Serve(dir)
		p.Signal(unix.SIGKILL)
		require.Equal(e, -1, p.Exit())
		_, err := os.ReadDir(dir)
		require.ErrorIs(e, err, syscall.ENOTCONN)
		e.Unmount(dir, 0)
	})
}

// InitStatus has FUSE_INIT_STATUS print what was negotiated.
func (s *Server) InitStatus(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	dir := e.Mountpoint(0)
	cmd := e.Command("-f", "-s", dir)
	cmd.Env = append(cmd.Env, "FUSE_INIT_STATUS=1")
	p := e.Start(cmd)
	p.AwaitMount(dir)
	s.Check(e, dir)
	end(e, p, dir, 0)
	lines := strings.Split(strings.TrimSuffix(p.Output(), "\n"), "\n")
	i := slices.Index(lines, "FUSE_INIT: io_uring=off:disabled")
	require.Positive(e, i, p.Output())
	for _, l := range lines[:i] {
		require.Regexp(e, `^FUSE_INIT: FUSE_CAP_[A-Z_0-9]+$`, l)
	}
	require.NotContains(e, lines, "FUSE_INIT: "+s.Unasked)
	require.Contains(e, lines, "FUSE_INIT: FUSE_CAP_IOCTL_DIR")
	var keys []string
	for _, l := range lines[i+1:] {
		require.Regexp(e, `^FUSE_INIT: [a-z_]+=[0-9]+$`, l)
		key, _, _ := strings.Cut(strings.TrimPrefix(l, "FUSE_INIT: "), "=")
		keys = append(keys, key)
	}
	require.Equal(e, []string{"proto_major", "proto_minor", "max_readahead", "max_write", "max_background", "congestion_threshold",
		"time_gran", "request_timeout", "max_stack_depth"}, keys)
	require.Contains(e, lines, "FUSE_INIT: proto_major=7")
}

// Debugging looks at what -d prints.
func (s *Server) Debugging(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for _, args := range []string{"-d", "-o debug"} {
		e.Each(args, func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			p := e.Start(e.Command(append(strings.Fields(args), dir)...)) // in the foreground by itself
			p.AwaitMount(dir)
			s.Check(e, dir)
			e.Unmount(dir, 0)
			require.Zero(e, p.Exit())
			out := p.Output()
			require.Regexp(e, `^FUSE library version: 3\.`, out)
			for _, form := range append([]string{
				`dev unique: \d+, opcode: INIT \(26\), nodeid: 0, insize: \d+, pid: 0`,
				`INIT: 7\.\d+`, `flags=0x[0-9a-f]{8}`, `max_readahead=0x[0-9a-f]{8}`, `   INIT: 7\.\d+`, `   max_write=0x00100000`,
				`dev unique: \d+, opcode: LOOKUP \(1\), nodeid: 1, insize: \d+, pid: \d+`,
				`   unique: \d+, success, outsize: 144`,
				`   unique: \d+, error: -2 \(No such file or directory\), outsize: 16`,
				`   unique: \d+, error: -13 \(Permission denied\), outsize: 16`,
			}, s.Lines...) {
				require.Regexp(e, `(?m)^`+form+`$`, out)
			}
			quiet := regexp.MustCompile(`unique: \d+, error: -\d+ \(.*\), outsize: \d+`).ReplaceAllString(out, "")
			require.NotRegexp(e, suspicious, quiet)
		})
	}
}

// Signals end the program, but for those that are harmless.
func (s *Server) Signals(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		e.Each(sig.String(), func(e *exampletest.Env) {
			dir := e.Mountpoint(0)
			p := e.Serve(dir)
			s.Check(e, dir)
			p.Signal(sig)
			require.Equal(e, s.Stopped, p.Exit())
			require.Empty(e, p.Output())
			require.Nil(e, e.Mounted(dir))
		})
	}
	e.Each("harmless", func(e *exampletest.Env) {
		dir := e.Mountpoint(0)
		p := e.Start(e.Prepare(exec.Command("sh", "-c", `trap "" INT; exec "$0" -f "$1"`, e.Program, dir)))
		p.AwaitMount(dir)
		p.Signal(unix.SIGINT) // was ignored at the start
		p.Signal(unix.SIGPIPE)
		s.Check(e, dir)
		end(e, p, dir, 0)
	})
}

// MountFailures are told.
func (s *Server) MountFailures(t *testing.T) {
	e := exampletest.Isolated(t, s.Name)
	if e == nil {
		return
	}
	for name, c := range map[string]struct {
		cmd  *exec.Cmd
		code int
		says string
	}{
		"no right":   {exampletest.As(exampletest.Nobody, e.Command("-f", e.Mountpoint(0))), s.Failed, "no write access to mountpoint"},
		"no device":  {withEnv(e.Command("-f", e.Mountpoint(0)), "FUSE_KERN_DEVICE=/dev/missing"), s.Failed, "/dev/missing"},
		"bad number": {e.Command("-f", "-o", "max_read=x", e.Mountpoint(0)), s.Wrong, "max_read=x"},
	} {
		e.Each(name, func(e *exampletest.Env) {
			code, out := e.Finish(c.cmd)
			require.Equal(e, c.code, code)
			require.Contains(e, out, c.says)
		})
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(table), s.Name)
}

func withEnv(cmd *exec.Cmd, v string) *exec.Cmd {
	cmd.Env = append(cmd.Env, v)
	return cmd
}
