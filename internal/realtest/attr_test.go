//go:build linux

package realtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestXattr(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) { xattrs(t, mount(t, source, "-o", "xattr"), source) })
	t.Run("off", func(t *testing.T) {
		s := mount(t, tmpfs(t))
		require.NoError(t, os.WriteFile(s.path("f"), nil, 0o644))
		require.ErrorIs(t, unix.Setxattr(s.path("f"), "user.a", []byte("x"), 0), syscall.EOPNOTSUPP)
	})
}

func xattrs(t *testing.T, s *server, source string) {
	f := s.path("f")
	require.NoError(t, os.WriteFile(f, nil, 0o644))
	get := func(name string, size int) (string, error) {
		buf := make([]byte, size)
		n, err := unix.Lgetxattr(f, name, buf)
		return string(buf[:min(max(n, 0), size)]), err
	}
	value := strings.Repeat("v\x00", 1000)
	require.NoError(t, unix.Setxattr(f, "user.a", []byte(value), unix.XATTR_CREATE))
	require.ErrorIs(t, unix.Setxattr(f, "user.a", []byte("x"), unix.XATTR_CREATE), syscall.EEXIST)
	require.ErrorIs(t, unix.Setxattr(f, "user.b", []byte("x"), unix.XATTR_REPLACE), syscall.ENODATA)
	require.NoError(t, unix.Setxattr(f, "user.empty", nil, 0))
	n, err := unix.Lgetxattr(f, "user.a", nil)
	require.NoError(t, err)
	require.Equal(t, len(value), n)
	got, err := get("user.a", len(value))
	require.NoError(t, err)
	require.Equal(t, value, got)
	_, err = get("user.a", len(value)-1)
	require.ErrorIs(t, err, syscall.ERANGE)
	got, err = get("user.empty", 10)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = get("user.none", 10)
	require.ErrorIs(t, err, syscall.ENODATA)
	buf := make([]byte, len(value))
	n, err = unix.Lgetxattr(filepath.Join(source, "f"), "user.a", buf)
	require.NoError(t, err)
	require.Equal(t, value, string(buf[:n]))

	n, err = unix.Llistxattr(f, nil)
	require.NoError(t, err)
	list := make([]byte, n)
	n, err = unix.Llistxattr(f, list)
	require.NoError(t, err)
	names := strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00")
	require.Contains(t, names, "user.a")
	require.Contains(t, names, "user.empty")
	_, err = unix.Llistxattr(f, make([]byte, n-1))
	require.ErrorIs(t, err, syscall.ERANGE)
	require.NoError(t, unix.Removexattr(f, "user.a"))
	require.ErrorIs(t, unix.Removexattr(f, "user.a"), syscall.ENODATA)
	// The largest value goes through, if the file system below takes it.
	huge := slices.Repeat([]byte("h"), 64<<10) // XATTR_SIZE_MAX
	if below := unix.Setxattr(filepath.Join(source, "f"), "user.huge", huge, 0); below == nil {
		buf := make([]byte, len(huge))
		n, err := unix.Lgetxattr(f, "user.huge", buf)
		require.NoError(t, err)
		require.Equal(t, huge, buf[:n])
	} else {
		require.Equal(t, below, unix.Setxattr(f, "user.huge", huge, 0))
	}
	require.NoError(t, os.Symlink("f", s.path("l"))) // symlinks have trusted ones only
	require.NoError(t, unix.Lsetxattr(s.path("l"), "trusted.t", []byte("link"), 0))
	n, err = unix.Lgetxattr(s.path("l"), "trusted.t", buf)
	require.NoError(t, err)
	require.Equal(t, "link", string(buf[:n]))
	_, err = get("trusted.t", 10)
	require.ErrorIs(t, err, syscall.ENODATA)
}

func init() {
	// change FILE HOW changes a file in one way.
	programs["change"] = func(args []string) error {
		path, how := args[0], args[1]
		flags := unix.O_RDWR
		if how == "open-truncate" {
			flags |= unix.O_TRUNC
		}
		if how == "direct" {
			flags |= unix.O_DIRECT
		}
		if how == "truncate" {
			return os.Truncate(path, 5)
		}
		fd, err := unix.Open(path, flags, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		switch how {
		case "write", "direct":
			buf, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return err
			}
			_, err = unix.Pwrite(fd, buf, 0)
			return err
		case "ftruncate":
			return unix.Ftruncate(fd, 7)
		case "fallocate":
			return unix.Fallocate(fd, 0, 0, 10000)
		case "mmap":
			mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			mem[0]++
			return unix.Munmap(mem)
		}
		return nil
	}
}

// fileCapability is a security.capability with CAP_NET_RAW, as setcap(8) makes it.
func fileCapability() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x02000001) // revision 2, effective
	b = binary.LittleEndian.AppendUint32(b, 1<<13)
	return append(b, make([]byte, 12)...)
}

// TestPrivileges changes files that have suid, sgid and capabilities: what users change loses them, as on the file system below.
func TestPrivileges(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) {
		for _, o := range []string{"timeout=0", "timeout=100", "writeback", "cache=never", "no_xattr"} {
			t.Run(o, func(t *testing.T) { privileges(t, mount(t, source, "-o", "xattr,suid,allow_other,"+o), source, o) })
		}
	})
}

func privileges(t *testing.T, s *server, source, o string) {
	file := 0
	for _, how := range []string{"write", "direct", "truncate", "ftruncate", "open-truncate", "fallocate", "nothing"} {
		for _, uid := range []uint32{0, nobody} {
			for _, mode := range []uint32{0o6777, 0o2767, 0o4777} {
				name := fmt.Sprint(o, file)
				file++
				plain := filepath.Join(source, "plain"+name)
				for _, path := range []string{plain, filepath.Join(source, name)} {
					require.NoError(t, os.WriteFile(path, make([]byte, 8192), 0o644))
					require.NoError(t, unix.Chmod(path, mode))
					require.NoError(t, unix.Setxattr(path, "security.capability", fileCapability(), 0))
				}
				require.Equal(t, mode, stat(t, s.path(name)).Mode&0o7777)
				result(t, as(uid, self(t, "change", plain, how)))
				result(t, as(uid, self(t, "change", s.path(name), how)))
				what := how + " by " + strconv.Itoa(int(uid)) + " of a file with " + strconv.FormatUint(uint64(mode), 8)
				want := stat(t, plain).Mode & 0o7777
				if mode == 0o2767 && uid != 0 && how != "nothing" {
					want = mode // without execution by the group it is not sgid: FUSE leaves it
				}
				require.Equal(t, strconv.FormatUint(uint64(want), 8), strconv.FormatUint(uint64(stat(t, filepath.Join(source, name)).Mode&0o7777), 8), what)
				require.Equal(t, strconv.FormatUint(uint64(want), 8), strconv.FormatUint(uint64(stat(t, s.path(name)).Mode&0o7777), 8), what+", as the kernel knows it")
				_, errPlain := unix.Lgetxattr(plain, "security.capability", nil)
				_, err := unix.Lgetxattr(filepath.Join(source, name), "security.capability", nil)
				require.Equal(t, errPlain, err, what)
			}
		}
	}
}
