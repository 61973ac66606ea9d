//go:build linux

package sys

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// SocketPair is a connected pair of stream sockets, both closed on exec and in blocking mode.
func SocketPair() (a, b *os.File, err error) {
	fd, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fd[0]), "socketpair"), os.NewFile(uintptr(fd[1]), "socketpair"), nil
}

// ErrNoDescriptor is returned by RecvFile for a message that carries no descriptor.
var ErrNoDescriptor = errors.New("message without a file descriptor")

// RecvFile receives one message of at most len(p) bytes and the one descriptor with it, closed on exec. Anything else
// that came along is closed. io.EOF: the other side is gone.
func RecvFile(sock *os.File, p []byte) (n int, f *os.File, err error) {
	oob := make([]byte, unix.CmsgSpace(4*16))
	var oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(int(sock.Fd()), p, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, fmt.Errorf("recvmsg: %w", err)
	}
	fd, err := oneDescriptor(oob[:oobn])
	if err != nil {
		if n == 0 && oobn == 0 {
			err = io.EOF
		}
		return n, nil, err
	}
	return n, os.NewFile(uintptr(fd), "received"), nil
}

// oneDescriptor takes the descriptor out of a message's control data, and closes every descriptor when there is not
// exactly one.
func oneDescriptor(oob []byte) (int, error) {
	fds, err := descriptors(oob)
	if err == nil && len(fds) == 1 {
		return fds[0], nil
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	switch {
	case err != nil:
		return -1, err
	case len(fds) > 1:
		return -1, fmt.Errorf("message with %d file descriptors", len(fds))
	}
	return -1, ErrNoDescriptor
}

// descriptors lists the descriptors in control data, also when an error ends the walk.
func descriptors(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	for i := range msgs {
		if msgs[i].Header.Level != unix.SOL_SOCKET || msgs[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		r, e := unix.ParseUnixRights(&msgs[i])
		if e != nil {
			return fds, fmt.Errorf("control message: %w", e)
		}
		fds = append(fds, r...)
	}
	return fds, nil
}

// Shutdown ends both directions of a socket, which wakes whoever waits on either side.
func Shutdown(sock *os.File) error { return unix.Shutdown(int(sock.Fd()), unix.SHUT_RDWR) }

// IsSocket reports whether fd is an open socket.
func IsSocket(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}
