//go:build linux

package session

import (
	"context"
	"errors"
	"log/slog"
	"os"
)

// mount is one mount as this process made it: what is needed to serve it, to recognise it later and to end it.
type mount struct {
	dev   *os.File // the connection, blocking, never in the netpoller
	point string   // absolute mount point, or /dev/fd/N
	how   string   // the way that worked
}

// mountHooks is what mountDir needs from the session.
type mountHooks struct {
	// ServeInit serves the open, attached device while the mount call waits for FUSE_INIT. It must answer every
	// request it reads until stop is closed, and returns INIT's error, which fails the mount.
	// nil means that FUSE_INIT is not to be synchronous.
	ServeInit func(dev *os.File, stop <-chan struct{}) error
	Logger    *slog.Logger // nil is silent
}

// mountDir mounts a FUSE connection on dir by the first way that works.
func mountDir(ctx context.Context, dir string, o *MountOptions, hooks mountHooks) (*mount, error) {
	return nil, errors.ErrUnsupported
}

// unmount ends the mount if it is still there and ours.
func (m *mount) unmount(ctx context.Context, flags UnmountFlags) error { return errors.ErrUnsupported }

// abort ends the connection through fusectl.
func (m *mount) abort() error { return errors.ErrUnsupported }

// gone reports whether the connection has ended or the mount has left this mount namespace.
func (m *mount) gone() bool { return false }

// close gives up the device (idempotent); the kernel aborts the connection when its last descriptor is closed.
func (m *mount) close() error { return m.dev.Close() }

// UnmountFlags says how hard Unmount tries; the zero value fails with EBUSY while the mount is in use.
type UnmountFlags int

const (
	UnmountLazy  UnmountFlags = 1 << iota // detach now, end when the last user is gone (MNT_DETACH)
	UnmountForce                          // abort what is in flight first (MNT_FORCE)
)

var (
	// ErrNotOurs is returned by Unmount when another mount covers ours; nothing was touched.
	ErrNotOurs = errors.New("fuse: the mount there is not ours")
	// ErrNotMounted is returned by Unmount when this process mounted nothing and cannot tell which mount belongs to its connection.
	ErrNotMounted = errors.New("fuse: not mounted by this process")
)
