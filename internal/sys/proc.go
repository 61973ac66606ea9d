//go:build linux

package sys

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// IsCharDevice reports whether fd is open and a character device, as /dev/fuse is; the runtime's own descriptors are not.
func IsCharDevice(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR
}

// SetCloexec sets whether a descriptor is closed on exec.
func SetCloexec(fd int, on bool) error {
	flags := 0
	if on {
		flags = unix.FD_CLOEXEC
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags)
	return err
}

// SetBlocking clears O_NONBLOCK.
func SetBlocking(fd int) error { return unix.SetNonblock(fd, false) }

// Memfd is an anonymous file in memory, closed on exec.
func Memfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReplaceWithNull makes each of fds refer to /dev/null, also those that are closed.
func ReplaceWithNull(fds ...int) error {
	null, err := retry(func() (int, error) { return unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0) })
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/null", Err: err}
	}
	keep := false
	for _, fd := range fds {
		if fd == null {
			keep = true
			err = SetCloexec(fd, false)
		} else {
			err = unix.Dup3(null, fd, 0)
		}
		if err != nil {
			return fmt.Errorf("replace descriptor %d: %w", fd, err)
		}
	}
	if !keep {
		unix.Close(null)
	}
	return nil
}

// Thread is the id of the calling thread.
func Thread() int { return unix.Gettid() }

// Nudge interrupts a blocking system call of one thread of this process with SIGURG, which the runtime takes for its own
// and which has no other effect.
func Nudge(tid int) error { return unix.Tgkill(unix.Getpid(), tid, unix.SIGURG) }

// Event is an eventfd that stays signalled once it was signalled. It is a bare descriptor, so that the runtime's poller
// never learns of it.
type Event int

// NewEvent makes an Event; Close gives it back.
func NewEvent() (Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	return Event(fd), nil
}

// Signal makes POLLIN true for ever.
func (e Event) Signal() error {
	_, err := retry(func() (int, error) {
		return unix.Write(int(e), binary.NativeEndian.AppendUint64(nil, 1))
	})
	return err
}

// Close closes the descriptor.
func (e Event) Close() error { return unix.Close(int(e)) }

// CurrentIDs are the real user and group of the process.
func CurrentIDs() (uid, gid int) { return unix.Getuid(), unix.Getgid() }
