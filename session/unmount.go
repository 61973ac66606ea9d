//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
)

// UnmountFlags says how hard Unmount tries; the zero value fails with EBUSY while the mount is in use.
type UnmountFlags int

const (
	// UnmountLazy takes the mount out of the tree at once; it ends when its last user is gone (MNT_DETACH).
	UnmountLazy UnmountFlags = 1 << iota
	// UnmountForce has the kernel abort the requests in flight first (MNT_FORCE). The connection is dead after that even
	// if the mount stays.
	UnmountForce
)

var (
	// ErrNotOurs is returned by Unmount when another mount covers ours; nothing was touched.
	ErrNotOurs = errors.New("the mount there is not ours")
	// ErrNotMounted is returned by Unmount when this process mounted nothing and cannot tell which mount belongs to its
	// connection (mount points /dev/fd/N). Closing the session is enough then.
	ErrNotMounted = errors.New("not mounted by this process")
)

// unmount ends the mount if it is still there and ours: one that is already gone is no error, one that was moved is
// found where it is now, one that is covered by another mount is left alone with ErrNotOurs. It returns when ctx ends at
// the latest; an umount2(2) that the kernel is still busy with then goes on.
func (m *mount) unmount(ctx context.Context, flags UnmountFlags) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- m.unmountNow(ctx, flags) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("fuse: unmount %s: %w", m.point, context.Cause(ctx))
	}
}

func (m *mount) unmountNow(ctx context.Context, flags UnmountFlags) error {
	wrap := func(path string, err error) error { return fmt.Errorf("fuse: failed to unmount %s: %w", path, err) }
	id, err := m.identity()
	if err != nil {
		return err
	}
	if id.ID == 0 {
		return nil
	}
	path := m.point // where it was, if the mount table cannot be read
	if in, err := findMount(id); err == nil && in == nil {
		return nil
	} else if err == nil {
		path = in.Mountpoint
	}
	top, err := sys.OpenPath(path, true)
	if err != nil {
		return wrap(path, err)
	}
	defer top.Close()
	topID, err := sys.IdentifyMount(top)
	if err != nil {
		return wrap(path, err)
	}
	switch {
	case topID.ID != id.ID || topID.Conn() != id.Conn():
		return wrap(path, ErrNotOurs)
	case topID.Unique != id.Unique && topID.Unique != 0 && id.Unique != 0:
		return nil // ours is gone, and its number serves again
	}

	how := sys.UMOUNT_NOFOLLOW
	if flags&UnmountForce != 0 {
		how |= sys.MNT_FORCE
	}
	if flags&UnmountLazy != 0 {
		// Through the descriptor: nothing can come in between.
		err = sys.Unmount(sys.FdPath(top), how&^sys.UMOUNT_NOFOLLOW|sys.MNT_DETACH)
		if err == syscall.ENOENT { // no /proc
			err = sys.Unmount(path, how|sys.MNT_DETACH)
		}
		top.Close()
	} else {
		top.Close() // which would keep the mount busy
		err = sys.Unmount(path, how)
	}
	if errors.Is(err, fs.ErrPermission) {
		if flags&UnmountForce != 0 {
			if e := m.abort(); e != nil {
				m.log.Info("fuse: forced unmount without abort", "dir", path, "err", e)
			}
		}
		if e := helperUnmount(ctx, path, flags&UnmountLazy != 0); e != errNoHelper {
			err = e
		}
	}
	if err == nil {
		return nil
	}
	if in, e := findMount(id); e == nil && in == nil {
		return nil // somebody else was faster
	}
	if errors.Is(err, syscall.EBUSY) {
		return wrap(path, fmt.Errorf("%w (open files or a working directory in it)", err))
	}
	return wrap(path, err)
}

// identity is which mount to end; a zero ID means that it has ended.
func (m *mount) identity() (sys.MountID, error) {
	if m.id.ID != 0 {
		return m.id, nil
	}
	if m.conn != 0 {
		if in, err := findConn(m.conn); err == nil && in != nil {
			return mountIDOf(in), nil
		}
	}
	if m.down() {
		return sys.MountID{}, nil
	}
	return sys.MountID{}, fmt.Errorf("fuse: %s: %w", m.point, ErrNotMounted)
}

// abort has the kernel end the connection: every request fails with ECONNABORTED, the device reports POLLERR, the mount
// stays until it is unmounted. An ended connection is no error.
func (m *mount) abort() error {
	open, down := m.look()
	if down {
		return nil
	}
	if m.conn == 0 {
		return fmt.Errorf("fuse: abort %s: the connection's number is not known", m.point)
	}
	if m.id.ID != 0 && !open {
		// The number serves again once the file system is gone, and with the device closed nothing else tells.
		if in, err := findMount(m.id); err == nil && in == nil {
			return nil
		}
	}
	if err := abortConn(m.conn); err != nil {
		return fmt.Errorf("fuse: abort %s: %w", m.point, err)
	}
	return nil
}

const fusectlDir = "/sys/fs/fuse/connections"

// abortConn writes to the abort file of a connection, nil if there is none of that number. Where fusectl is not mounted
// a process with the right to mount reaches it through a mount that is attached to no directory.
func abortConn(conn uint32) error {
	dir, err := sys.OpenPath(fusectlDir, false)
	if err == nil && !sys.IsFusectl(dir) {
		dir.Close()
		err = syscall.ENOENT
	}
	if err != nil {
		if dir, err = detachedFusectl(); err != nil {
			return fmt.Errorf("fusectl is not mounted on %s, and: %w", fusectlDir, err)
		}
	}
	defer dir.Close()
	f, err := sys.OpenAt(dir, strconv.FormatUint(uint64(conn), 10)+"/abort", os.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("1")
	return errors.Join(err, f.Close())
}

func detachedFusectl() (*os.File, error) {
	fsfd, err := sys.Fsopen("fusectl")
	if err != nil {
		return nil, fmt.Errorf("fsopen: %w", err)
	}
	defer fsfd.Close()
	if err := sys.FsconfigCreate(fsfd); err != nil {
		return nil, fmt.Errorf("fsconfig: %w", err)
	}
	return sys.Fsmount(fsfd, sys.MOUNT_ATTR_NOSUID|sys.MOUNT_ATTR_NODEV|sys.MOUNT_ATTR_NOEXEC)
}
