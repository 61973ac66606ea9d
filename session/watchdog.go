//go:build linux

package session

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
)

// Watchdog ends a process that outlives its connection: a server whose threads hang in something else than FUSE does not
// notice that its mount is gone.
type Watchdog struct {
	dev     uintptr
	timeout time.Duration
	exit    func()
	expired func()

	mu      sync.Mutex
	wake    sys.Event
	woken   bool          // wake is signalled or closed
	stopped bool          // no function may be called any more
	stop    chan struct{} // closed with stopped
}

// startWatchdog watches dev. When its connection is lost (unmounted, aborted, or lost is called) it calls exit, and, if
// Stop does not come within timeout after that, expired; nil stands for os.Exit(1). Both run on the watchdog's goroutine.
func startWatchdog(dev *os.File, timeout time.Duration, exit, expired func()) (*Watchdog, error) {
	if timeout <= 0 {
		return nil, errors.New("fuse: watchdog: the timeout must be positive")
	}
	wake, err := sys.NewEvent()
	if err != nil {
		return nil, err
	}
	if expired == nil {
		expired = func() { os.Exit(1) }
	}
	w := &Watchdog{dev: dev.Fd(), timeout: timeout, exit: exit, expired: expired, wake: wake, stop: make(chan struct{})}
	go w.run()
	return w, nil
}

func (w *Watchdog) run() {
	for {
		// No event is asked for: errors are always reported.
		ev, err := sys.Poll(-1, sys.PollFd{Fd: w.dev}, sys.PollFd{Fd: uintptr(w.wake), Events: sys.POLLIN})
		if err == syscall.EINTR {
			continue
		}
		if err != nil || ev[0]&(sys.POLLERR|sys.POLLNVAL) != 0 || ev[1] != 0 {
			break
		}
	}
	w.mu.Lock()
	w.woken = true // nobody writes to it from now on
	w.wake.Close()
	stopped := w.stopped
	w.mu.Unlock()
	if stopped {
		return
	}
	w.exit()
	t := time.NewTimer(w.timeout)
	defer t.Stop()
	select {
	case <-w.stop:
		return
	case <-t.C:
	}
	w.mu.Lock()
	stopped, w.stopped = w.stopped, true
	w.mu.Unlock()
	if !stopped {
		w.expired()
	}
}

// lost tells the watchdog that the device is about to be closed, which counts as the loss of the connection. The device
// is to be closed after it: the kernel keeps open what is polled.
func (w *Watchdog) lost() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awake()
}

func (w *Watchdog) awake() {
	if !w.woken {
		w.woken = true
		w.wake.Signal()
	}
}

// Stop ends the watchdog: none of its functions is called after it. It waits for nothing and may be called from anywhere,
// again, on a nil Watchdog, and after the session was closed.
func (w *Watchdog) Stop() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		close(w.stop)
	}
	w.awake()
}
