//go:build linux

package compat

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
)

// Daemonize continues in the background unless foreground is set; see session.Daemonize for what that means: the program
// starts again, so this comes right after the command line is read, and before the mount. The waiting parent exits when
// Ready or Fail is called on the result. It is fuse_daemonize_early_start, and also what takes the place of
// fuse_daemonize, which a C program calls after the mount.
func Daemonize(foreground bool) (*session.Daemon, error) {
	return session.Daemonize(session.DaemonOptions{NoBackground: foreground})
}

// LoopResult is what fuse_session_loop returns for the error of Session.Serve: 0 for none, the number of the signal that
// ended the session, else a negative errno.
func LoopResult(err error) int {
	if err == nil {
		return 0
	}
	if s, ok := errors.AsType[*session.SignalError](err); ok {
		return int(s.Signal)
	}
	return -int(lowlevel.ErrnoOf(err))
}

// mountError is an error from before the file system served.
type mountError struct{ error }

func (e *mountError) Unwrap() error { return e.error }

// server is a session that can be run: a *lowlevel.Session or a *highlevel.FS.
type server interface {
	Mount(ctx context.Context, dir string) error
	Serve(ctx context.Context) error
	Close() error
}

// minProcs is the least GOMAXPROCS of a server. Its workers sit in system calls, and where all of the runtime's processors are
// taken by such calls, its monitor takes one away during each longer call: on two CPUs that cost passthrough_ll three times the
// context switches for each request of 1 MiB.
const minProcs = 4

// run is the life of srv from the mount to the unmount; s is its session. d hears when it serves.
func run(srv server, s *lowlevel.Session, dir string, d *session.Daemon, log *slog.Logger) error {
	defer func() {
		if err := srv.Close(); err != nil { // it unmounts, too
			log.Error(err.Error())
		}
	}()
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < minProcs {
		runtime.GOMAXPROCS(minProcs)
	}
	ctx := context.Background()
	s.HandleSignals()
	if err := srv.Mount(ctx, dir); err != nil {
		return &mountError{err}
	}
	served, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		select {
		case <-s.Ready():
			d.Ready() // the parent exits
		case <-served:
		}
	}()
	err := srv.Serve(ctx)
	close(served)
	<-told
	return err
}

// report logs why a session ended, unless a signal ended it or the library has said it.
func report(c *lowlevel.Config, err error) {
	if _, ok := errors.AsType[*session.SignalError](err); ok {
		return
	}
	if _, ok := errors.AsType[*lowlevel.InitError](err); ok {
		return
	}
	logger(c).Error(err.Error())
}
