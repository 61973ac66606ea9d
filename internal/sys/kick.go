//go:build linux

package sys

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kickSignal ends a blocking read of another thread of this process. The Go runtime installs its handlers with SA_RESTART,
// under which a read of the device starts again by itself; a Kicker takes that flag off this one signal.
const kickSignal = syscall.Signal(61)

const saRestart = 0x10000000

// Kicker interrupts threads of this process that are blocked in read(2) on a descriptor.
type Kicker struct{ ch chan os.Signal }

// NewKicker takes the signal over; Close gives it back.
func NewKicker() (*Kicker, error) {
	k := &Kicker{make(chan os.Signal, 1)}
	signal.Notify(k.ch, kickSignal)
	// The kernel's struct sigaction begins with the handler and the flags, one word each, on every port; the rest stays as it is.
	var act [16]uintptr
	err := rtSigaction(nil, &act)
	if err == 0 {
		act[1] &^= saRestart
		err = rtSigaction(&act, nil)
	}
	if err != 0 {
		k.Close()
		return nil, err
	}
	return k, nil
}

func rtSigaction(set, old *[16]uintptr) syscall.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(kickSignal), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	return e
}

// Close stops listening to the signal.
func (k *Kicker) Close() { signal.Stop(k.ch) }

// Kick sends the signal once to every thread that is blocked in a read of fd. A thread that is just about to block can be
// missed, so the caller kicks until the reader has answered.
func (k *Kicker) Kick(fd int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	want := fmt.Sprintf("%d 0x%x ", unix.SYS_READ, fd)
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		// Kernels built without this file leave no choice but to interrupt every thread.
		b, err := os.ReadFile("/proc/self/task/" + t.Name() + "/syscall")
		if err != nil || strings.HasPrefix(string(b), want) {
			unix.Tgkill(unix.Getpid(), tid, kickSignal)
		}
	}
	return nil
}

// KickThread sends the signal once to one thread of this process.
func (k *Kicker) KickThread(tid int) error { return unix.Tgkill(unix.Getpid(), tid, kickSignal) }

// Wait runs f, a system call that may block, and interrupts it when ctx ends: it then returns EINTR.
func (k *Kicker) Wait(ctx context.Context, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := Thread()
	var mu sync.Mutex
	over := false
	stop := context.AfterFunc(ctx, func() {
		// A thread that is just about to wait misses the signal.
		for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
			mu.Lock()
			if over {
				mu.Unlock()
				return
			}
			k.KickThread(thread)
			mu.Unlock()
			time.Sleep(pause)
		}
	})
	defer func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
	}()
	for {
		if err := f(); err != syscall.EINTR || ctx.Err() != nil {
			return err
		}
	}
}
