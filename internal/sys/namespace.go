//go:build linux

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// OwnMounts makes a process that is started with it live in a mount and a PID namespace of its own; whatever it starts ends
// with it.
func OwnMounts() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Cloneflags: unix.CLONE_NEWPID}
}

// Detach is MNT_DETACH for Unmount.
const Detach = unix.MNT_DETACH
