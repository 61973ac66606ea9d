//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMountWays(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	for _, c := range []struct {
		name, way string
		async     bool
		how       string
	}{
		{"automatic", "", false, wayNew},
		{"async", "", true, wayNew},
		{"mount", wayMount, false, wayMount},
		{"helper", wayHelper, false, wayHelper},
	} {
		t.Run(c.name, func(t *testing.T) {
			mnt := mountPoint(t, dir, c.name, 0)
			s := startServer(t, 0, serverConfig{Dir: mnt, Way: c.way, Options: MountOptions{Async: c.async, FSName: "my src", Subtype: "sub"}})
			require.Empty(t, s.Err)
			require.Equal(t, c.how, s.How)
			require.Equal(t, c.way == "" && !c.async && hasSyncInit(t), s.Sync)
			lines := mountsAt(t, mnt)
			require.Len(t, lines, 1)
			require.Contains(t, lines[0], "rw,nosuid,nodev")
			require.Contains(t, lines[0], ` - fuse.sub my\040src `)
			f := strings.Fields(lines[0])
			require.Equal(t, f[0], strconv.FormatUint(s.ID, 10))
			require.Equal(t, f[2], fmt.Sprintf("0:%d", s.Conn))
			st, err := os.Stat(mnt)
			require.NoError(t, err)
			require.True(t, st.IsDir())
			require.Equal(t, "false", s.do("gone"))
			require.Empty(t, s.do("inherited"))
			require.Empty(t, s.do("unmount"))
			require.Empty(t, mountsAt(t, mnt))
			require.Empty(t, s.do("served"))
			require.Equal(t, "true", s.do("gone"))
			require.Empty(t, s.do("unmount"), "already unmounted is no error")
			require.Empty(t, s.do("close"))
			require.Empty(t, s.do("fds"))
		})
	}
}

// hasSyncInit asks the kernel itself.
func hasSyncInit(t *testing.T) bool {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), 0xe503, 0)
	require.Contains(t, []syscall.Errno{0, unix.ENOTTY}, e)
	return e == 0
}

func TestMountFlagsReachTheKernel(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	for i, c := range []struct {
		raw          []string
		mount, super string
	}{
		{nil, "rw,nosuid,nodev,relatime", "rw,user_id=0,group_id=0"},
		{[]string{"suid", "dev"}, "rw,relatime", "rw,user_id=0,group_id=0"},
		{[]string{"ro"}, "ro,nosuid,nodev,relatime", "ro,user_id=0,group_id=0"},
		{[]string{"noexec", "noatime", "nodiratime"}, "rw,nosuid,nodev,noexec,noatime,nodiratime", "rw,user_id=0,group_id=0"},
		{[]string{"nosymfollow", "sync", "dirsync"}, "rw,nosuid,nodev,relatime,nosymfollow", "rw,sync,dirsync,user_id=0,group_id=0"},
		{[]string{"sync", "async", "ro", "rw", "nosymfollow", "symfollow"}, "rw,nosuid,nodev,relatime", "rw,user_id=0,group_id=0"},
		{[]string{"allow_other", "default_permissions", "max_read=8192", "x-gvfs-hide", "user=joe", "-n"},
			"rw,nosuid,nodev,relatime", "rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=8192"},
		{[]string{"allow_root"}, "rw,nosuid,nodev,relatime", "rw,user_id=0,group_id=0,allow_other"},
		{[]string{`fsname=a,b\c d`, "subtype=x,y"}, "rw,nosuid,nodev,relatime", "rw,user_id=0,group_id=0"},
	} {
		for _, way := range []string{wayNew, wayMount, wayHelper} {
			if way == wayHelper && (strings.Contains(strings.Join(c.raw, ","), "nosymfollow") || slices.Contains(c.raw, "nodiratime")) {
				continue // fusermount3 3.14 does not know it
			}
			t.Run(way+" "+strings.Join(c.raw, ","), func(t *testing.T) {
				mnt := mountPoint(t, dir, fmt.Sprint(i, way), 0)
				s := startServer(t, 0, serverConfig{Dir: mnt, Way: way, Options: MountOptions{Raw: c.raw}})
				require.Empty(t, s.Err)
				lines := mountsAt(t, mnt)
				require.Len(t, lines, 1)
				f := strings.Fields(lines[0])
				require.Equal(t, c.mount, f[5])
				require.Equal(t, c.super, f[len(f)-1])
				if c.raw != nil && strings.HasPrefix(c.raw[0], "fsname") {
					require.Equal(t, []string{"fuse.x,y", `a,b\134c\040d`}, f[len(f)-3:len(f)-1])
				} else {
					require.Equal(t, []string{"fuse", "/dev/fuse"}, f[len(f)-3:len(f)-1])
				}
				require.Empty(t, s.do("unmount"))
			})
		}
	}
}

func TestMountOnFile(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	// The responder's root is a directory, which the kernel notices only when asked for attributes; the mount holds.
	s := startServer(t, 0, serverConfig{Dir: file})
	require.Empty(t, s.Err)
	require.Len(t, mountsAt(t, file), 1)
	f, err := os.OpenFile(file, unix.O_PATH, 0)
	require.NoError(t, err)
	var st unix.Statx_t
	require.NoError(t, unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st))
	require.EqualValues(t, unix.S_IFREG, st.Mode&unix.S_IFMT)
	require.NoError(t, f.Close())
	require.Empty(t, s.do("unmount"))
	require.Empty(t, mountsAt(t, file))
}

func TestMountErrors(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	mnt := mountPoint(t, dir, "mnt", 0)
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o644))
	dead := mountPoint(t, dir, "dead", 0)
	s := startServer(t, 0, serverConfig{Dir: dead})
	require.Empty(t, s.Err)
	s.kill()
	users := mountPoint(t, dir, "users", nobody)
	dev := device(t, dir)
	t.Setenv("PATH", "/nowhere")

	for _, c := range []struct {
		name string
		uid  int
		c    serverConfig
		want string
		is   syscall.Errno
	}{
		{"empty", 0, serverConfig{}, "fuse: failed to mount on : missing mountpoint: no such file or directory", unix.ENOENT},
		{"missing", 0, serverConfig{Dir: dir + "/none"},
			"fuse: failed to mount on DIR/none: failed to access mountpoint: no such file or directory", unix.ENOENT},
		{"fifo", 0, serverConfig{Dir: fifo},
			"fuse: failed to mount on DIR/fifo: mountpoint is neither a directory nor a regular file: not a directory", unix.ENOTDIR},
		{"dead", 0, serverConfig{Dir: dead},
			"fuse: failed to mount on DIR/dead: failed to access mountpoint: transport endpoint is not connected", unix.ENOTCONN},
		{"device", 0, serverConfig{Dir: mnt, Options: MountOptions{Device: dir + "/nofuse"}},
			"fuse: failed to mount on DIR/mnt: fsmount: device not found: DIR/nofuse: no such file or directory (kernel module not loaded?)", unix.ENOENT},
		{"not a device", 0, serverConfig{Dir: mnt, Options: MountOptions{Device: "/dev/null"}},
			"fuse: failed to mount on DIR/mnt: fsmount: ...invalid argument...; mount: invalid argument", unix.EINVAL},
		{"unknown option", 0, serverConfig{Dir: mnt, Options: MountOptions{Raw: []string{"nonempty"}}},
			"fuse: failed to mount on DIR/mnt: unknown option(s): `nonempty'", 0},
		{"bad option", 0, serverConfig{Dir: mnt, Options: MountOptions{Raw: []string{"blksize=512"}, Async: true}},
			"fuse: failed to mount on DIR/mnt: fsmount: ...invalid argument (fuse: blksize only supported for fuseblk); mount: invalid argument", unix.EINVAL},
		{"block device", 0, serverConfig{Dir: mnt, Options: MountOptions{BlockDevice: true, FSName: "/dev/null"}},
			"fuse: failed to mount on DIR/mnt: fsmount: create: block device required...; mount: block device required", unix.ENOTBLK},
		{"block device unnamed", 0, serverConfig{Dir: mnt, Options: MountOptions{BlockDevice: true}},
			"fuse: failed to mount on DIR/mnt: option blkdev needs fsname=DEVICE", 0},
		{"no right, no helper", nobody, serverConfig{Dir: users, Options: MountOptions{Helper: HelperNever, Device: dev}},
			"fuse: failed to mount on DIR/users: fsmount: fsopen: operation not permitted; mount: operation not permitted", unix.EPERM},
		{"no right to the device", nobody, serverConfig{Dir: users, Options: MountOptions{Helper: HelperNever}},
			"fuse: failed to mount on DIR/users: fsmount: failed to open /dev/fuse: permission denied; mount: failed to open /dev/fuse: permission denied", unix.EACCES},
		{"descriptor", 0, serverConfig{Dir: "/dev/fd/77"},
			"fuse: failed to mount on /dev/fd/77: Invalid file descriptor /dev/fd/77: bad file descriptor", unix.EBADF},
		{"helper ruled out", 0, serverConfig{Dir: mnt, Options: MountOptions{Helper: HelperNever, AutoUnmount: true}},
			"fuse: failed to mount on DIR/mnt: option auto_unmount needs fusermount3, which the mount options rule out", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, c.uid, c.c)
			got := strings.ReplaceAll(s.Err, dir, "DIR")
			// An ellipsis stands for what only some kernels say.
			require.Regexp(t, "^"+strings.ReplaceAll(regexp.QuoteMeta(c.want), `\.\.\.`, ".*")+"$", got)
			require.NotContains(t, s.Err, "\n")
			if c.is != 0 {
				require.Contains(t, s.Errnos, c.is)
			}
			require.Empty(t, s.Fds)
			require.Empty(t, mountsAt(t, mnt))
			require.Empty(t, mountsAt(t, users))
		})
	}
	require.Len(t, mountsAt(t, dead), 1)
	require.NoError(t, unix.Unmount(dead, 0))
}

func TestMountHelperErrors(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	roots := mountPoint(t, dir, "roots", 0)
	users := mountPoint(t, dir, "users", nobody)
	openToAll(t, dir)
	for _, c := range []struct {
		name string
		dir  string
		o    MountOptions
		want []string
		is   syscall.Errno
	}{
		{"foreign directory", roots, MountOptions{}, []string{"fusermount3: user has no write access to mountpoint"}, unix.EACCES},
		{"allow_other", users, MountOptions{AllowOther: true}, []string{"fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf"}, unix.EPERM},
		{"option", users, MountOptions{Raw: []string{"context=x"}}, []string{"fusermount3: unknown option 'context=x'"}, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, nobody, serverConfig{Dir: c.dir, Options: c.o})
			require.Contains(t, s.Err, "fuse: failed to mount on "+c.dir+": fsmount: fsopen: operation not permitted; mount: operation not permitted; fusermount3: ")
			for _, w := range c.want {
				require.Contains(t, s.Err, w)
			}
			require.NotContains(t, s.Err, "\n")
			require.Contains(t, s.Errnos, c.is)
			require.Empty(t, s.Fds)
			require.Empty(t, s.Mounts)
		})
	}
}

func TestSyncInitFailureLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	if !hasSyncInit(t) {
		t.Skip("needs FUSE_DEV_IOC_SYNC_INIT (Linux 6.18)")
	}
	mnt := mountPoint(t, dir, "mnt", 0)

	s := startServer(t, 0, serverConfig{Dir: mnt, Init: "refuse"})
	require.Equal(t, "fuse: failed to mount on "+mnt+": fsmount: FUSE_INIT failed: refused by the test", s.Err)
	require.Empty(t, s.Fds)
	require.Empty(t, s.Mounts)

	s = startServer(t, 0, serverConfig{Dir: mnt, Init: "ignore", Timeout: 100 * time.Millisecond})
	require.Equal(t, "fuse: failed to mount on "+mnt+": context deadline exceeded", s.Err)
	require.Empty(t, s.Fds)
	require.Empty(t, s.Mounts)
}

func TestBlockDevice(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	image := filepath.Join(dir, "image")
	require.NoError(t, os.WriteFile(image, make([]byte, 1<<20), 0o600))
	out, err := exec.Command("losetup", "--find", "--show", image).Output()
	require.NoError(t, err)
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { require.NoError(t, exec.Command("losetup", "--detach", loop).Run()) })
	withFusectl(t)

	for _, way := range []string{"", wayMount, wayHelper} {
		mnt := mountPoint(t, dir, "blk"+way, 0)
		c := serverConfig{Dir: mnt, Way: way, Options: MountOptions{Raw: []string{"blkdev", "fsname=" + loop, "subtype=mysub", "blksize=1024"}}}
		s := startServer(t, 0, c)
		require.Empty(t, s.Err)
		require.Len(t, mountsAt(t, mnt), 1)
		require.Contains(t, mountsAt(t, mnt)[0], " - fuseblk.mysub "+loop+" ")
		require.Empty(t, s.do("unmount"))
		require.Empty(t, s.do("served"))

		// Unmounting waits for the answer to FUSE_DESTROY; nobody needs to wait for that.
		c.Hold = true
		s = startServer(t, 0, c)
		require.Empty(t, s.Err)
		_, err := os.Stat(mnt) // FUSE_DESTROY comes only after FUSE_INIT
		require.NoError(t, err)
		require.Equal(t, "error fuse: unmount "+mnt+": context deadline exceeded", s.do("briefly"))
		require.Equal(t, "38", s.do("held"), "DESTROY")
		require.NoError(t, abortConn(s.Conn))
		notMounted(t, mnt)
		require.Empty(t, s.do("served"))
	}
}

func TestUserMount(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	openToAll(t, dir)
	for _, flags := range []string{"unmount", "unmount lazy", "unmount force"} {
		mnt := mountPoint(t, dir, strings.ReplaceAll(flags, " ", ""), nobody)
		s := startServer(t, nobody, serverConfig{Dir: mnt, Options: MountOptions{FSName: `a,b\`, Subtype: "s,t", Raw: []string{"dev"}}})
		require.Empty(t, s.Err)
		require.Equal(t, wayHelper, s.How)
		require.False(t, s.Sync)
		lines := mountsAt(t, mnt)
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], ` - fuse.s,t a,b\134 rw,user_id=65534,group_id=65534`)
		require.Contains(t, lines[0], "nosuid,nodev")
		require.True(t, strings.HasPrefix(lines[0], fmt.Sprint(s.ID, " ")))
		require.Contains(t, s.Log, "unsafe option dev ignored")
		require.Empty(t, s.do(flags))
		require.Empty(t, mountsAt(t, mnt))
		require.Empty(t, s.do("served"))
		require.Empty(t, s.do("close"))
		require.Empty(t, s.do("fds"))
	}
}

func TestAutoUnmount(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	openToAll(t, dir)
	for _, uid := range []int{0, nobody} {
		t.Run(fmt.Sprint("killed ", uid), func(t *testing.T) {
			mnt := mountPoint(t, dir, fmt.Sprint("killed", uid), uid)
			s := startServer(t, uid, serverConfig{Dir: mnt, Options: MountOptions{AutoUnmount: true}})
			require.Empty(t, s.Err)
			require.Len(t, mountsAt(t, mnt), 1)
			s.kill()
			notMounted(t, mnt)
		})
		t.Run(fmt.Sprint("unmounted ", uid), func(t *testing.T) {
			mnt := mountPoint(t, dir, fmt.Sprint("unmounted", uid), uid)
			s := startServer(t, uid, serverConfig{Dir: mnt, Options: MountOptions{AutoUnmount: true}})
			require.Empty(t, s.Err)
			require.Empty(t, s.do("unmount"))
			require.Empty(t, mountsAt(t, mnt))
			require.Empty(t, s.do("served"))
			require.Empty(t, s.do("close"))
			require.Empty(t, s.do("fds"))
		})
	}
}

func TestUserNamespaceMount(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	dev := device(t, dir)
	mnt := mountPoint(t, dir, "mnt", nobody)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	s := startServerAs(t, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{NoSetGroups: true},
	}, serverConfig{Dir: mnt, Options: MountOptions{Device: dev, Helper: HelperNever}})
	require.Empty(t, s.Err)
	require.Equal(t, wayNew, s.How)
	require.Empty(t, mountsAt(t, mnt), "it is the other namespace's")
	require.Equal(t, "false", s.do("gone"))
	require.Empty(t, s.do("unmount"))
	require.Equal(t, "true", s.do("gone"))

	if !hasSyncInit(t) {
		return
	}
	// Without the right to abort, a FUSE_INIT that nobody answers must still not hold the mount call for ever.
	mnt = mountPoint(t, dir, "ignored", nobody)
	for _, c := range []serverConfig{{Init: "ignore", Timeout: 100 * time.Millisecond}, {Init: "leave"}} {
		c.Dir, c.Options = mnt, MountOptions{Device: dev, Helper: HelperNever}
		s = startServerAs(t, &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
			Credential: &syscall.Credential{NoSetGroups: true},
		}, c)
		require.Contains(t, s.Err, map[string]string{"ignore": "context deadline exceeded", "leave": "FUSE_INIT failed"}[c.Init])
		require.Empty(t, s.Fds)
		require.Empty(t, s.Mounts)
	}
}

func TestDeviceEnvironment(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	require.NoError(t, unix.Mount("dev", "/dev/shm", "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount("/dev/shm", unix.MNT_DETACH) })
	node := device(t, "/dev/shm")
	require.NoError(t, os.WriteFile("/dev/shm/file", nil, 0o600))
	outside := device(t, dir)
	for _, c := range []struct{ env, source, err string }{
		{node, node, ""},
		{outside, "/dev/fuse", ""}, // not below /dev/
		{"/dev/shm/file", "/dev/fuse", ""},
		{"/dev/shm/none", "", "device not found: /dev/shm/none"},
		{"", "/dev/fuse", ""},
	} {
		mnt := mountPoint(t, t.TempDir(), "mnt", 0)
		s := startServer(t, 0, serverConfig{Dir: mnt}, "FUSE_KERN_DEVICE="+c.env)
		if c.err != "" {
			require.Contains(t, s.Err, c.err)
			continue
		}
		require.Empty(t, s.Err)
		require.Contains(t, mountsAt(t, mnt)[0], " - fuse "+c.source+" ")
		require.Empty(t, s.do("unmount"))
	}
}

func TestMountFd(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	mnt := mountPoint(t, dir, "mnt", 0)
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	dev := os.NewFile(uintptr(fd), "/dev/fuse")
	require.NoError(t, unix.Mount("src", mnt, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)))

	js := `{"Dir": "/dev/fd/3"}`
	s := &server{t: t, cmd: exec.Command("/proc/self/exe")}
	s.cmd.Env = append(os.Environ(), envServer+"="+js)
	s.cmd.ExtraFiles = []*os.File{dev}
	s.start()
	require.NoError(t, dev.Close())
	require.Empty(t, s.Err)
	require.Equal(t, wayFd, s.How)
	st, err := os.Stat(mnt)
	require.NoError(t, err)
	require.True(t, st.IsDir())
	require.Empty(t, s.do("inherited"))
	if s.Conn != 0 {
		require.Empty(t, s.do("unmount"), "the kernel tells the connection's number, so its mount is found")
		require.Empty(t, s.do("served"))
	} else {
		require.Contains(t, s.do("unmount"), "ErrNotMounted fuse: /dev/fd/3: not mounted by this process")
		require.NoError(t, unix.Unmount(mnt, 0))
		require.Empty(t, s.do("served"))
	}
	require.Empty(t, s.do("unmount"))
	require.Empty(t, mountsAt(t, mnt))

	for _, name := range []string{"/dev/fd/+3", "/dev/fd/ 3", "/dev/fd/3x", "/dev/fd/", "/dev/fd"} {
		_, ok, _ := attachFd(name)
		require.False(t, ok, name)
	}
	var pipe [2]int
	require.NoError(t, unix.Pipe(pipe[:]))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	for _, n := range []string{"99999999999", "1000", strconv.Itoa(pipe[0])} {
		_, ok, err := attachFd("/dev/fd/" + n)
		require.True(t, ok)
		require.ErrorIs(t, err, syscall.EBADF)
	}
}

func TestMountCancelledInHelper(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	fakeHelper(t, dir)
	mnt := mountPoint(t, dir, "mnt", 0)
	for _, mode := range []string{"hangs", "hangs after fd"} {
		c := serverConfig{Dir: mnt, Timeout: 100 * time.Millisecond, Options: MountOptions{Helper: HelperAlways, Async: mode != "hangs after fd"}}
		s := startServer(t, 0, c, envHelper+"="+mode)
		require.Equal(t, "fuse: failed to mount on "+mnt+": context deadline exceeded", s.Err, mode)
		require.Empty(t, s.Fds)
		require.Empty(t, s.Mounts)
	}
}

func TestWithinLateResult(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	late := make(chan int, 1)
	_, err := within(ctx, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 7, nil
	}, func(n int) { late <- n })
	require.ErrorIs(t, err, why)
	require.Equal(t, 7, <-late)
}

// Somebody may unmount between our mount call and our look at the result.
func TestMountGoneBeforeIdentified(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := mountPoint(t, scratch(t), "mnt", 0)
	dev, err := sys.OpenDevice("/dev/fuse")
	require.NoError(t, err)
	a := &attempt{dir: dir, o: &MountOptions{}, log: slog.New(slog.DiscardHandler)}
	data := mountData(a.o.kernelOptions(dev.Fd(), unix.S_IFDIR, 0, 0))
	require.NoError(t, unix.Mount("gone", dir, "fuse.gone", 0, data))
	require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))
	m, err := a.identified(a.newMount(dev))
	require.NoError(t, err)
	require.True(t, m.down())
	require.NoError(t, m.unmount(t.Context(), 0)) // touches nothing: the directory is no mount point
	m.close()
}
