//go:build linux

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestUnmountMatrix(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	openToAll(t, dir)
	withFusectl(t)
	for _, uid := range []int{0, nobody} {
		for _, state := range []string{"idle", "open", "cwd", "in flight", "aborted"} {
			for _, flags := range []string{"unmount", "unmount lazy", "unmount both"} {
				t.Run(fmt.Sprint(uid, " ", state, " ", flags), func(t *testing.T) {
					mnt := mountPoint(t, dir, strings.ReplaceAll(t.Name(), "/", "_"), uid)
					// Root may look into a user's mount only with allow_other, which needs a configuration file.
					s := startServer(t, uid, serverConfig{Dir: mnt, Hold: state == "in flight"})
					require.Empty(t, s.Err)
					client := startClient(t, uid, mnt, state)
					if state == "in flight" {
						require.Equal(t, "27", s.do("held"), "OPENDIR")
					}
					if state == "aborted" {
						require.NoError(t, abortConn(s.Conn))
						require.Empty(t, s.do("served"))
						require.Equal(t, "true", s.do("gone"))
						require.Len(t, mountsAt(t, mnt), 1)
					}
					busy := state != "idle" && state != "aborted" && flags == "unmount"
					got := s.do(flags)
					if busy {
						require.Equal(t, "EBUSY fuse: failed to unmount "+mnt+": "+map[bool]string{
							true:  "device or resource busy",
							false: "failed to unmount " + mnt + ": Device or resource busy",
						}[uid == 0]+" (open files or a working directory in it)", got)
						require.Len(t, mountsAt(t, mnt), 1)
						if state == "in flight" {
							require.Empty(t, s.do("abort"))
						}
						client.end()
						got = s.do(flags)
					}
					require.Empty(t, got)
					require.Empty(t, mountsAt(t, mnt))
					if state == "in flight" && flags == "unmount lazy" {
						require.Empty(t, s.do("abort")) // the request holds the connection; nothing else would end it
					}
					client.end()
					if state != "aborted" {
						require.Empty(t, s.do("served"))
					}
					require.Empty(t, s.do(flags))
				})
			}
		}
	}
}

var clientProgram = childProgram("unmount client", func() int {
	mnt, state := os.Args[1], os.Args[2]
	switch state {
	case "open", "in flight":
		fmt.Println("going")
		f, err := os.Open(mnt)
		if err == nil {
			defer f.Close()
		}
	case "cwd":
		if err := os.Chdir(mnt); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("there")
	os.Stdin.Read(make([]byte, 1)) // EOF: end
	return 0
})

// startClient starts a process that uses the mount in the given way.
func startClient(t *testing.T, uid int, mnt, state string) *program {
	p := startProgram(t, clientProgram, uid, nil, mnt, state)
	if state == "open" || state == "in flight" {
		require.Equal(t, "going", p.line())
	}
	if state != "in flight" {
		require.Equal(t, "there", p.line())
	}
	return p
}

func TestUnmountOnlyOurs(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	start := func(name string) (*server, string) {
		mnt := mountPoint(t, dir, name, 0)
		s := startServer(t, 0, serverConfig{Dir: mnt, Options: MountOptions{FSName: name}})
		require.Empty(t, s.Err)
		return s, mnt
	}
	s, mnt := start("covered")
	require.NoError(t, unix.Mount("cover", mnt, "tmpfs", 0, ""))
	for _, flags := range []string{"unmount", "unmount lazy", "unmount both"} {
		require.Equal(t, "ErrNotOurs fuse: failed to unmount "+mnt+": the mount there is not ours", s.do(flags))
		require.Len(t, mountsAt(t, mnt), 2)
	}
	require.NoError(t, unix.Unmount(mnt, 0))
	require.Empty(t, s.do("unmount"))
	require.Empty(t, mountsAt(t, mnt))

	s, mnt = start("covered-by-fuse")
	other := startServer(t, 0, serverConfig{Dir: mnt, Options: MountOptions{FSName: "other"}})
	require.Empty(t, other.Err)
	require.Contains(t, s.do("unmount lazy"), "ErrNotOurs")
	require.Len(t, mountsAt(t, mnt), 2)
	require.Empty(t, other.do("unmount"))
	require.Empty(t, s.do("unmount"))
	require.Empty(t, mountsAt(t, mnt))

	s, mnt = start("replaced")
	require.NoError(t, unix.Unmount(mnt, 0))
	other = startServer(t, 0, serverConfig{Dir: mnt, Options: MountOptions{FSName: "other"}})
	require.Empty(t, other.Err)
	require.Equal(t, s.ID, other.ID, "the kernel gives the number again, which is the point of this case")
	require.Equal(t, s.Conn, other.Conn)
	require.Empty(t, s.do("unmount"))
	require.Empty(t, s.do("unmount lazy"))
	require.Empty(t, s.do("abort"))
	require.Len(t, mountsAt(t, mnt), 1)
	require.Equal(t, "false", other.do("gone"))
	require.Empty(t, other.do("unmount"))

	s, mnt = start("moved")
	to := mountPoint(t, dir, `to a "strange" place\é`, 0)
	require.NoError(t, unix.Mount(mnt, to, "", unix.MS_MOVE, ""))
	require.NoError(t, unix.Mount("another", mnt, "tmpfs", 0, ""))
	require.Equal(t, "false", s.do("gone"))
	require.Empty(t, s.do("unmount"))
	require.Empty(t, s.do("served"))
	require.Len(t, mountsAt(t, mnt), 1)
	require.NoError(t, unix.Unmount(mnt, 0))

	require.NoError(t, os.Mkdir(filepath.Join(dir, "parent"), 0o755))
	s, _ = start("parent/renamed")
	require.NoError(t, os.Rename(filepath.Join(dir, "parent"), filepath.Join(dir, "a parent")))
	require.Empty(t, s.do("unmount lazy"))
	require.Empty(t, s.do("served"))

	s, mnt = start("dead")
	s.kill()
	require.Len(t, mountsAt(t, mnt), 1)
	require.NoError(t, unix.Unmount(mnt, 0))
}

// withFusectl mounts fusectl where it belongs.
func withFusectl(t *testing.T) {
	require.NoError(t, unix.Mount("fusectl", fusectlDir, "fusectl", 0, ""))
	t.Cleanup(func() { unix.Unmount(fusectlDir, unix.MNT_DETACH) })
}

func TestAbort(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	for unix.Unmount(fusectlDir, 0) == nil { // where it is mounted
	}
	for _, fusectl := range []string{"not mounted", "mounted"} {
		t.Run(fusectl, func(t *testing.T) {
			if fusectl == "mounted" {
				withFusectl(t)
			}
			mnt := mountPoint(t, dir, fusectl, 0)
			s := startServer(t, 0, serverConfig{Dir: mnt})
			require.Empty(t, s.Err)
			require.Empty(t, s.do("abort"))
			require.Empty(t, s.do("served"))
			require.Equal(t, "true", s.do("gone"))
			_, err := os.Open(mnt)
			require.ErrorIs(t, err, unix.ENOTCONN)
			require.Empty(t, s.do("abort"), "again")
			require.Empty(t, s.do("unmount"))
			require.Empty(t, mountsAt(t, mnt))
		})
	}
	openToAll(t, dir)
	mnt := mountPoint(t, dir, "users", nobody)
	s := startServer(t, nobody, serverConfig{Dir: mnt})
	require.Empty(t, s.Err)
	require.Equal(t, "error fuse: abort "+mnt+": fusectl is not mounted on /sys/fs/fuse/connections, and: fsopen: operation not permitted", s.do("abort"))
	withFusectl(t)
	require.Empty(t, s.do("abort"), "a user may abort what is his")
	require.Empty(t, s.do("served"))
	require.Empty(t, s.do("unmount"))
}

func TestNewerHelper(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := scratch(t)
	fakeHelper(t, dir)
	always := MountOptions{Helper: HelperAlways}

	for _, mode := range []string{"", "old kernel", "without fsopen", "unattached", "fails"} {
		t.Run("sync init "+mode, func(t *testing.T) {
			mnt := mountPoint(t, dir, "sync"+strings.ReplaceAll(mode, " ", ""), 0)
			s := startServer(t, 0, serverConfig{Dir: mnt, Options: always}, envHelper+"="+mode)
			switch mode {
			case "unattached":
				require.Contains(t, s.Err, ": fusermount3: mount: block device required")
				require.Empty(t, s.Fds)
				require.Empty(t, s.Mounts)
				return
			case "fails":
				require.Contains(t, s.Err, ": fusermount3: it says so; and so")
				require.Empty(t, s.Mounts)
				return
			}
			require.Empty(t, s.Err)
			require.Equal(t, wayHelper, s.How)
			require.Equal(t, mode == "" && hasSyncInit(t), s.Sync)
			require.Len(t, mountsAt(t, mnt), 1)
			require.True(t, strings.HasPrefix(mountsAt(t, mnt)[0], strconv.FormatUint(s.ID, 10)+" "))
			require.Empty(t, s.do("unmount"))
			require.Empty(t, s.do("served"))
			require.Empty(t, s.do("close"))
			require.Empty(t, s.do("fds"))
		})
	}
	t.Run("sync init refused", func(t *testing.T) {
		if !hasSyncInit(t) {
			t.Skip("needs FUSE_DEV_IOC_SYNC_INIT (Linux 6.18)")
		}
		mnt := mountPoint(t, dir, "refused", 0)
		s := startServer(t, 0, serverConfig{Dir: mnt, Options: always, Init: "refuse"})
		require.Equal(t, "fuse: failed to mount on "+mnt+": fusermount3: FUSE_INIT failed: refused by the test", s.Err)
		require.Empty(t, s.Fds)
		require.Empty(t, s.Mounts)
	})
	t.Run("auto unmount", func(t *testing.T) {
		mnt := mountPoint(t, dir, "auto", 0)
		s := startServer(t, 0, serverConfig{Dir: mnt, Options: MountOptions{AutoUnmount: true, Raw: []string{"dev", "suid"}}})
		require.Empty(t, s.Err)
		require.Equal(t, wayNew, s.How, "a helper that can watch lets root mount directly")
		require.Contains(t, mountsAt(t, mnt)[0], " rw,relatime ")
		s.kill()
		notMounted(t, mnt)
	})
}

// fakeHelper puts fakeHelperMain into $PATH.
func fakeHelper(t *testing.T, in string) {
	self, err := os.Executable()
	require.NoError(t, err)
	bin := filepath.Join(in, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "fusermount3")))
	t.Setenv("PATH", bin)
}

const envHelper = "PUREFUSE_TEST_HELPER"

// fakeHelperMain plays a fusermount3 of version 3.19, in its conversation if not in its checks.
func fakeHelperMain() int {
	sock := os.NewFile(3, "sock")
	dir := os.Args[len(os.Args)-1]
	mode := os.Getenv(envHelper)
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "fusermount3:", err)
		return 1
	}
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	send := func() error { return unix.Sendmsg(3, []byte{0}, unix.UnixRights(dev), nil, 0) }
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", dev)
	switch {
	case mode == "hangs" && os.Args[1] != "--version":
		time.Sleep(time.Hour)
	case mode == "fails":
		fmt.Fprint(os.Stderr, "fusermount3: it says so\nfusermount3: and so\n")
		return 1
	case os.Args[1] == "--version":
		fmt.Println("fusermount3 version: 3.19.0-rc0")
		return 0
	case os.Args[1] == "-u":
		if err := unix.Unmount(dir, 0); err != nil {
			return fail(err)
		}
		return 0
	case os.Args[1] == "--auto-unmount":
		sock.Read(make([]byte, 1))
		unix.Unmount(dir, unix.MNT_DETACH)
		return 0
	case os.Args[1] == "--sync-init" && mode == "without fsopen":
		return fail(fmt.Errorf("sync-init mode requires new mount API support"))
	case os.Args[1] == "--sync-init":
		if mode == "old kernel" { // where the ioctl fails: a device of another type does that too
			return fail(fmt.Errorf("unknown option --sync-init"))
		}
		if err := send(); err != nil {
			return fail(err)
		}
		if n, err := sock.Read(make([]byte, 1)); n != 1 {
			return fail(err)
		}
		if mode == "hangs after fd" {
			time.Sleep(time.Hour)
		}
		typ, source := "fuse", "src"
		if mode == "unattached" {
			typ, source = "fuseblk", "/dev/null"
		}
		err := unix.Mount(source, dir, typ, unix.MS_NOSUID|unix.MS_NODEV, data)
		errno, _ := err.(unix.Errno)
		status := int32(-int(errno))
		sock.Write([]byte{byte(status), byte(status >> 8), byte(status >> 16), byte(status >> 24)})
		if errno != 0 {
			return 1
		}
		return 0
	}
	if err := unix.Mount("src", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return fail(err)
	}
	if err := send(); err != nil {
		return fail(err)
	}
	return 0
}
