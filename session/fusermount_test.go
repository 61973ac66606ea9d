//go:build linux

package session

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/internal/sys"
)

func TestMountStatus(t *testing.T) {
	require.NoError(t, mountStatus([4]byte{}))
	n := int32(-int32(syscall.EBUSY))
	require.ErrorIs(t, mountStatus([4]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}), syscall.EBUSY) // little endian, as all that we build for
	require.ErrorContains(t, mountStatus([4]byte{1}), "impossible status 1")
	require.ErrorContains(t, mountStatus([4]byte{0, 0, 0, 0x80}), "impossible status -2147483648")
}

func TestErrnoInHelperText(t *testing.T) {
	for text, want := range map[string]syscall.Errno{
		"failed to unmount /x: Device or resource busy":                                  syscall.EBUSY,
		"mount failed: Operation not permitted":                                          syscall.EPERM,
		"failed to access mountpoint /x: Transport endpoint is not connected":            syscall.ENOTCONN,
		"user has no write access to mountpoint /x":                                      syscall.EACCES,
		"option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf": syscall.EPERM,
		"unknown option 'context=x'":                                                     syscall.EINVAL,
		"entry for /x not found in /etc/mtab":                                            0,
		"":                                                                               0,
	} {
		require.Equal(t, want, errnoIn(text), text)
	}
	require.Equal(t, []string{"A=1", "FUSE=2"}, withoutCommFd([]string{"A=1", "_FUSE_COMMFD=3", "_FUSE_COMMFD2=4", "FUSE=2"}))
}

// FuzzHelperPackets plays a helper that sends any bytes, in any number of messages, with any number of descriptors.
func FuzzHelperPackets(f *testing.F) {
	f.Add([]byte{0}, uint8(1))
	f.Add([]byte{0, 0, 0, 0, 0}, uint8(1))
	f.Add([]byte{0, 0xf0, 0xff, 0xff, 0xff}, uint8(1))
	f.Add([]byte{}, uint8(0))
	f.Add([]byte{7}, uint8(0))
	f.Add([]byte{0}, uint8(3))
	f.Fuzz(func(t *testing.T, text []byte, fds uint8) {
		fds %= 8
		if len(text) > 4096 {
			text = text[:4096]
		}
		ours, theirs, err := sys.SocketPair()
		require.NoError(t, err)
		defer ours.Close()
		sent := theirs.Fd()
		if len(text) > 0 {
			list := make([]int, fds)
			for i := range list {
				list[i] = int(sent)
			}
			var rights []byte
			if fds > 0 {
				rights = unix.UnixRights(list...)
			}
			require.NoError(t, unix.Sendmsg(int(sent), text, rights, nil, 0))
		}
		require.NoError(t, theirs.Close())
		before := openFiles()
		_, dev, err := sys.RecvFile(ours, make([]byte, 1))
		if len(text) == 0 || fds != 1 {
			require.Error(t, err)
			require.Nil(t, dev)
			require.Equal(t, before, openFiles(), "what else came is closed")
			return
		}
		require.NoError(t, err)
		flags, err := unix.FcntlInt(dev.Fd(), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
		require.NoError(t, dev.Close())
		var status [4]byte
		if copy(status[:], text[1:]) == 4 {
			err := mountStatus(status)
			_, isErrno := errors.AsType[syscall.Errno](err)
			require.True(t, err == nil || isErrno || strings.Contains(err.Error(), "impossible"))
		}
		_ = errnoIn(string(text))
	})
}

func TestHelperNotInstalled(t *testing.T) {
	if _, err := os.Stat("/usr/bin/fusermount3"); err == nil {
		t.Setenv("PATH", "/nowhere")
		path, err := helperPath()
		require.NoError(t, err)
		require.Equal(t, "/usr/bin/fusermount3", path)
		return
	}
	_, err := helperPath()
	require.ErrorIs(t, err, errNoHelper)
}
