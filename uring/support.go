//go:build linux

package uring

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/internal/iouring"
)

const (
	parameter   = "/sys/module/fuse/parameters/enable_uring"
	possible    = "/sys/devices/system/cpu/possible"
	disabled    = "/proc/sys/kernel/io_uring_disabled"
	maxPossible = 1 << 16 // qid has 16 bits
)

// ring is what a queue needs of an io_uring.
type ring interface {
	Push(iouring.Command)
	PushPoll(fd int, user uint64)
	Pending() int
	Enter(wait int) error
	Pop() (iouring.Completion, bool)
	Ready() bool
	Close() error
}

func newRing(entries, file int) (ring, error) {
	r, err := iouring.New(entries, file)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// NotOffered says why a kernel did not offer FUSE over io_uring in FUSE_INIT.
func NotOffered() string {
	b, err := os.ReadFile(parameter)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "this kernel does not have it (Linux 6.14 does, with CONFIG_FUSE_IO_URING)"
	case err != nil:
		return "the kernel does not offer it"
	case strings.TrimSpace(string(b)) == "N":
		return "it is switched off in the kernel: " + parameter + " is N"
	}
	return "the kernel does not offer it to this mount"
}

// explain adds to an error of setting a ring up what usually is behind it.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSYS):
		return fmt.Errorf("%w: this kernel has no io_uring", err)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		if b, e := os.ReadFile(disabled); e == nil && strings.TrimSpace(string(b)) != "0" {
			return fmt.Errorf("%w: sysctl kernel.io_uring_disabled is %s", err, strings.TrimSpace(string(b)))
		}
		return fmt.Errorf("%w: a seccomp filter or a security module, such as a container's, forbids io_uring", err)
	case errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("%w: not enough memory, or RLIMIT_MEMLOCK is too low", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w: RLIMIT_NOFILE is too low for one ring a CPU", err)
	}
	return err
}

// possibleCPUs is how many CPUs the kernel has queues for: those that may ever be there, not those that are online.
func possibleCPUs() (int, error) {
	b, err := os.ReadFile(possible)
	if err != nil {
		return 0, err
	}
	return parseCPUs(strings.TrimSpace(string(b)))
}

// parseCPUs counts the CPUs of a list like 0-3,8.
func parseCPUs(list string) (n int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(last)
		}
		if err != nil || a < 0 || b < a || b >= maxPossible {
			return 0, fmt.Errorf("%s: cannot read %q", possible, list)
		}
		n += b - a + 1
	}
	return n, nil
}
