//go:build linux

package session

import "errors"

// DaemonOptions says how Daemonize goes into the background.
type DaemonOptions struct {
	NoChdir      bool // stay in the current directory
	NoBackground bool // stay in the foreground: only change the directory
}

// Daemon is the background process's line to the parent that waits for its outcome.
type Daemon struct{}

// Daemonize continues the program in a background process.
func Daemonize(o DaemonOptions) (*Daemon, error) { return nil, errors.ErrUnsupported }

// Ready lets the parent exit with status 0.
func (d *Daemon) Ready() error { return nil }

// Fail lets the parent exit with code.
func (d *Daemon) Fail(code int) {}

// Active reports whether the parent still waits.
func (d *Daemon) Active() bool { return false }
