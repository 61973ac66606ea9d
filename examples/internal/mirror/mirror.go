//go:build linux

// Package mirror is what the examples passthrough and passthrough_fh share: operations of the path API that do with the file
// of the same path what was asked for.
//
// The paths are those of the mount, so that the mount mirrors the root directory. With -o modules=subdir,subdir=DIR they
// come with DIR in front.
package mirror

import (
	"strconv"
	"syscall"

	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
)

// Mirror is the file system without its reading and writing of files and directories. The handle of an open file is the
// number of the descriptor below.
type Mirror struct {
	ByHandle bool // use the descriptors of open files also where a path would do
}

// Operations is the part of the table that does not depend on how files and directories are read.
func (m *Mirror) Operations() hl.Operations {
	return hl.Operations{
		Getattr: m.getattr, Statx: m.statx, Access: access, Readlink: readlink, Statfs: statfs,
		Mknod: mknod, Mkdir: mkdir, Symlink: symlink, Link: link, Unlink: unlink, Rmdir: rmdir, Rename: rename,
		Chmod: m.chmod, Chown: m.chown, Truncate: m.truncate, Utimens: m.utimens,
		Setxattr: setxattr, Getxattr: getxattr, Listxattr: listxattr, Removexattr: removexattr,
		Open: open, Create: create, Release: release, Fallocate: fallocate, CopyFileRange: copyFileRange, Lseek: lseek,
	}
}

// NoCache has the kernel ask each time. Changes from below show at once; and when one of several names of a file goes, the
// kernel hears of it only by the name, and would believe the old number of links. With auto_cache the user's timeouts stay.
func NoCache(cfg *hl.Config) {
	if !cfg.AutoCache {
		cfg.EntryTimeout, cfg.AttrTimeout, cfg.NegativeTimeout = 0, 0, 0
	}
}

// handle is the descriptor to use for a path, if it is one: without a path there is no choice.
func (m *Mirror) handle(path string, fi *hl.FileInfo) (fd int, ok bool) {
	if fi == nil || !m.ByHandle && path != "" {
		return -1, false
	}
	return int(fi.FH), true
}

// fdPath is a path to what is open as fd.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (m *Mirror) getattr(_ *hl.Context, path string, st *hl.Stat, fi *hl.FileInfo) (err error) {
	var s syscall.Stat_t
	if fd, ok := m.handle(path, fi); ok {
		err = syscall.Fstat(fd, &s)
	} else {
		err = syscall.Lstat(path, &s)
	}
	*st = lowlevel.StatOf(&s)
	return err
}

func (m *Mirror) statx(_ *hl.Context, path string, _, mask uint32, stx *hl.Statx, fi *hl.FileInfo) error {
	dir := sys.AtFDCWD
	if fd, ok := m.handle(path, fi); ok {
		dir, path = fd, ""
	}
	var s sys.Statx
	if err := sys.Lstatx(dir, path, mask, &s); err != nil {
		return err
	}
	at := func(sec int64, nsec uint32) hl.Time { return hl.Time{Sec: sec, Nsec: nsec} }
	*stx = hl.Statx{
		Stat: hl.Stat{
			Ino: s.Ino, Size: s.Size, Blocks: s.Blocks, Blksize: s.Blksize, Mode: uint32(s.Mode), Nlink: s.Nlink, UID: s.Uid, GID: s.Gid,
			Atime: at(s.Atime.Sec, s.Atime.Nsec), Mtime: at(s.Mtime.Sec, s.Mtime.Nsec), Ctime: at(s.Ctime.Sec, s.Ctime.Nsec),
		},
		Mask: s.Mask, Attributes: s.Attributes, AttributesMask: s.Attributes_mask, Btime: at(s.Btime.Sec, s.Btime.Nsec),
		RdevMajor: s.Rdev_major, RdevMinor: s.Rdev_minor, DevMajor: s.Dev_major, DevMinor: s.Dev_minor,
	}
	return nil
}

func access(_ *hl.Context, path string, mask uint32) error { return syscall.Access(path, mask) }

func readlink(_ *hl.Context, path string) (string, error) {
	buf := make([]byte, syscall.PathMax)
	n, err := syscall.Readlink(path, buf)
	return string(buf[:max(n, 0)]), err
}

func statfs(_ *hl.Context, path string, st *hl.Statfs) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return err
	}
	*st = hl.Statfs{
		Blocks: uint64(s.Blocks), Bfree: uint64(s.Bfree), Bavail: uint64(s.Bavail), Files: uint64(s.Files), Ffree: uint64(s.Ffree),
		Bsize: uint32(s.Bsize), Frsize: uint32(s.Frsize), NameMax: uint32(s.Namelen),
	}
	return nil
}

func mknod(_ *hl.Context, path string, mode, rdev uint32) error {
	return syscall.Mknod(path, mode, int(rdev))
}

func mkdir(_ *hl.Context, path string, mode uint32) error       { return syscall.Mkdir(path, mode) }
func symlink(_ *hl.Context, target, path string) error          { return syscall.Symlink(target, path) }
func link(_ *hl.Context, from, to string) error                 { return syscall.Link(from, to) }
func unlink(_ *hl.Context, path string) error                   { return syscall.Unlink(path) }
func rmdir(_ *hl.Context, path string) error                    { return syscall.Rmdir(path) }
func rename(_ *hl.Context, from, to string, flags uint32) error { return sys.Rename2(from, to, flags) }

func (m *Mirror) chmod(_ *hl.Context, path string, mode uint32, fi *hl.FileInfo) error {
	if fd, ok := m.handle(path, fi); ok {
		return syscall.Fchmod(fd, mode)
	}
	return syscall.Chmod(path, mode)
}

func (m *Mirror) chown(_ *hl.Context, path string, uid, gid uint32, fi *hl.FileInfo) error {
	u, g := int(int32(uid)), int(int32(gid)) // hl.KeepID is -1
	if fd, ok := m.handle(path, fi); ok {
		return syscall.Fchown(fd, u, g)
	}
	return syscall.Lchown(path, u, g)
}

func (m *Mirror) truncate(_ *hl.Context, path string, size int64, fi *hl.FileInfo) error {
	if fi != nil {
		return syscall.Ftruncate(int(fi.FH), size)
	}
	return syscall.Truncate(path, size)
}

func (m *Mirror) utimens(_ *hl.Context, path string, atime, mtime hl.Time, fi *hl.FileInfo) error {
	if fd, ok := m.handle(path, fi); ok {
		return sys.Futimens(fd, atime.Sec, atime.Nsec, mtime.Sec, mtime.Nsec)
	}
	return sys.Lutimens(path, atime.Sec, atime.Nsec, mtime.Sec, mtime.Nsec)
}

func setxattr(_ *hl.Context, path, name string, value []byte, flags int) error {
	return sys.Lsetxattr(path, name, value, flags)
}

func getxattr(_ *hl.Context, path, name string, dst []byte) (int, error) {
	return sys.Lgetxattr(path, name, dst)
}

func listxattr(_ *hl.Context, path string, dst []byte) (int, error) {
	return sys.Llistxattr(path, dst)
}

func removexattr(_ *hl.Context, path, name string) error { return sys.Lremovexattr(path, name) }
