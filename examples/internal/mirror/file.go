//go:build linux

package mirror

import (
	"syscall"

	hl "github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/internal/sys"
)

func open(c *hl.Context, path string, fi *hl.FileInfo) (err error) {
	fi.FH, err = handleOf(syscall.Open(path, int(fi.Flags)|syscall.O_CLOEXEC, 0))
	if err == nil && fi.Flags&syscall.O_TRUNC != 0 && c.UID != 0 {
		dropPrivileges(int(fi.FH))
	}
	return err
}

// dropPrivileges takes suid and, where it means anything, sgid off a file that a user has truncated by opening it. The kernel
// does so in all other cases, and the file system below would do it here if this server had not the right to keep them.
func dropPrivileges(fd int) {
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil {
		return
	}
	mode := st.Mode &^ syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 {
		mode &^= syscall.S_ISGID
	}
	if mode != st.Mode {
		syscall.Fchmod(fd, uint32(mode&0o7777))
	}
}

func create(_ *hl.Context, path string, mode uint32, fi *hl.FileInfo) (err error) {
	fi.FH, err = handleOf(syscall.Open(path, int(fi.Flags)|syscall.O_CREAT|syscall.O_CLOEXEC, mode))
	return err
}

func handleOf(fd int, err error) (uint64, error) { return uint64(fd), err }

func release(_ *hl.Context, _ string, fi *hl.FileInfo) error { return syscall.Close(int(fi.FH)) }

// Pwrite writes to an open file.
func Pwrite(fi *hl.FileInfo, p []byte, off int64) (int, error) {
	n, err := sys.Pwrite(int(fi.FH), p, off)
	if err != syscall.EINVAL || !fi.WritePage {
		return n, err
	}
	// A page of a shared mapping: the kernel may have chosen a handle opened with O_DIRECT, through which the end of a file
	// cannot be written.
	fd, err := syscall.Open(fdPath(int(fi.FH)), syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd)
	return sys.Pwrite(fd, p, off)
}

// Fsync is fsync(2), or fdatasync(2).
func Fsync(fd int, datasync bool) error {
	if datasync {
		return sys.Fdatasync(fd)
	}
	return sys.Fsync(fd)
}

func fallocate(_ *hl.Context, _ string, mode uint32, off, length int64, fi *hl.FileInfo) error {
	return sys.Fallocate(int(fi.FH), mode, off, length)
}

func copyFileRange(_ *hl.Context, _ string, fi *hl.FileInfo, off int64, _ string, fo *hl.FileInfo, offo int64, n, flags int) (int, error) {
	const limit = 1 << 30 // the caller goes on from there
	return sys.CopyFileRange(int(fi.FH), off, int(fo.FH), offo, min(n, limit), flags)
}

func lseek(_ *hl.Context, _ string, off int64, whence int, fi *hl.FileInfo) (int64, error) {
	return sys.Seek(int(fi.FH), off, whence)
}
