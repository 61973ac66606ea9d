//go:build linux

package session

import "syscall"

// handleSignals calls exit for SIGHUP, SIGINT and SIGTERM until stop is called.
func handleSignals(exit func(sig syscall.Signal)) (stop func()) { return func() {} }
