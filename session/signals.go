//go:build linux

package session

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// handleSignals calls exit, on one goroutine of its own, for each SIGHUP, SIGINT and SIGTERM until stop is called. A
// signal that is ignored, as under nohup(1), stays ignored. SIGPIPE no longer ends the process meanwhile. Every session
// that handles signals gets each of them. stop may be called from anywhere, also from exit, and again.
func handleSignals(exit func(sig syscall.Signal)) (stop func()) {
	var want []os.Signal
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			want = append(want, s)
		}
	}
	ch := make(chan os.Signal, 3)
	pipe := make(chan os.Signal, 1) // never read: asking for SIGPIPE is what disarms it
	done := make(chan struct{})
	if len(want) > 0 { // Notify without signals means all
		signal.Notify(ch, want...)
	}
	if !signal.Ignored(syscall.SIGPIPE) {
		signal.Notify(pipe, syscall.SIGPIPE)
	}
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-ch:
				exit(s.(syscall.Signal))
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(ch)
		signal.Stop(pipe)
		close(done)
	})
}
