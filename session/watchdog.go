//go:build linux

package session

import (
	"errors"
	"os"
	"time"
)

// Watchdog ends a process that outlives its connection.
type Watchdog struct{}

// startWatchdog watches dev: when the connection is lost it calls exit, and expired (nil: os.Exit(1)) unless stopped within timeout.
func startWatchdog(dev *os.File, timeout time.Duration, exit, expired func()) (*Watchdog, error) {
	return nil, errors.ErrUnsupported
}

// Stop ends the watchdog; nil and a second call are fine.
func (w *Watchdog) Stop() {}

// lost tells the watchdog that the device is about to be closed, which counts as the loss of the connection.
func (w *Watchdog) lost() {}
