//go:build linux

package hloracle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/purefuse/purefuse/highlevel"
)

// op is an operation by its place in libfuse's struct fuse_operations.
type op uint32

const (
	opGetattr op = iota
	opReadlink
	opMknod
	opMkdir
	opUnlink
	opRmdir
	opSymlink
	opRename
	opLink
	opChmod
	opChown
	opTruncate
	opOpen
	opRead
	opWrite
	opStatfs
	opFlush
	opRelease
	opFsync
	opSetxattr
	opGetxattr
	opListxattr
	opRemovexattr
	opOpendir
	opReaddir
	opReleasedir
	opFsyncdir
	opInit
	opDestroy
	opAccess
	opCreate
	opLock
	opUtimens
	opBmap
	opIoctl
	opPoll
	opWriteBuf
	opReadBuf
	opFlock
	opFallocate
	opCopyFileRange
	opLseek
	opCount
)

var opNames = [opCount]string{"getattr", "readlink", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "chmod", "chown",
	"truncate", "open", "read", "write", "statfs", "flush", "release", "fsync", "setxattr", "getxattr", "listxattr", "removexattr",
	"opendir", "readdir", "releasedir", "fsyncdir", "init", "destroy", "access", "create", "lock", "utimens", "bmap", "ioctl", "poll",
	"write_buf", "read_buf", "flock", "fallocate", "copy_file_range", "lseek"}

// Bits of a file.
const (
	bWritePage = 1 << iota
	bFlush
	bFlockRelease
	bDirectIO
	bKeepCache
	bNonSeekable
	bCacheReaddir
	bNoFlush
	bOther // what 3.14 does not know
)

// file is a FileInfo: struct file of highlevel.h.
type file struct {
	Flags  int32
	Bits   uint32
	FH     uint64
	Owner  uint64
	Events uint32
	There  uint32 // 0: NULL
}

func (f *file) String() string {
	if f.There == 0 {
		return "nil"
	}
	return fmt.Sprintf("{flags=%#o bits=%#x fh=%d owner=%x events=%x}", f.Flags, f.Bits, f.FH, f.Owner, f.Events)
}

// call is what reached an operation.
type call struct {
	op                   op
	uid, gid, pid, umask uint32
	path, path2, name    string // "": NULL
	data                 []byte
	arg                  [5]uint64
	fi, fi2              file
}

// String is the call as the test compares it.
func (c *call) String() string {
	b := fmt.Appendf(nil, "%s %q", opNames[c.op], c.path)
	switch c.op {
	case opRename, opLink, opSymlink, opCopyFileRange:
		b = fmt.Appendf(b, " %q", c.path2)
	case opSetxattr, opGetxattr, opRemovexattr:
		b = fmt.Appendf(b, " name=%q", c.name)
	}
	b = fmt.Appendf(b, " args=%x fi=%v", c.arg, &c.fi)
	if c.fi2.There != 0 {
		b = fmt.Appendf(b, " fi2=%v", &c.fi2)
	}
	if c.data != nil {
		b = fmt.Appendf(b, " data=%d:%016x", len(c.data), hash(c.data))
	}
	return string(fmt.Appendf(b, " by %d/%d/%d umask %#o", c.uid, c.gid, c.pid, c.umask))
}

func hash[T string | []byte](b T) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 0x100000001b3
	}
	return h
}

// answer is what an operation returns.
type answer struct {
	err     syscall.Errno
	n       int64 // if err is 0
	value   [8]uint64
	fh      uint64
	bits    uint32
	attr    highlevel.Stat
	data    []byte
	entries []entry
}

// entry is an entry of a directory that goes to the library's filler.
type entry struct {
	name string
	off  uint64
	st   *highlevel.Stat
	plus bool
}

// callHead, answerHead and entryHead are the structs of highlevel.h.
type callHead struct {
	Op                                  uint32
	UID, GID, PID, Umask                uint32
	PathLen, Path2Len, NameLen, DataLen uint32
	Pad                                 uint32
	Arg                                 [5]uint64
	FI, FI2                             file
}

type attrBody struct {
	Ino, Size, Blocks                    uint64
	Atime, Mtime, Ctime                  int64
	AtimeNsec, MtimeNsec, CtimeNsec      uint32
	Mode, Nlink, UID, GID, Rdev, Blksize uint32
	Pad                                  uint32
}

type answerHead struct {
	Result  int64
	Value   [8]uint64
	FH      uint64
	Bits    uint32
	DataLen uint32
	Attr    attrBody
}

type entryHead struct {
	Off     uint64
	Flags   uint32
	NameLen uint32
	Attr    attrBody
}

const noString = 1<<32 - 1

// decodeCall reads the body of a 'C' frame.
func decodeCall(b []byte) (*call, error) {
	var h callHead
	n, err := binary.Decode(b, binary.NativeEndian, &h)
	if err != nil {
		return nil, err
	}
	b = b[n:]
	take := func(n uint32) []byte {
		if n == noString {
			return nil
		}
		p := b[:n:n]
		b = b[n:]
		return p
	}
	c := &call{op: op(h.Op), uid: h.UID, gid: h.GID, pid: h.PID, umask: h.Umask, arg: h.Arg, fi: h.FI, fi2: h.FI2}
	c.path, c.path2, c.name = string(take(h.PathLen)), string(take(h.Path2Len)), string(take(h.NameLen))
	if data := take(h.DataLen); len(data) > 0 {
		c.data = data
	}
	return c, nil
}

func attrOf(st *highlevel.Stat) attrBody {
	return attrBody{Ino: st.Ino, Size: st.Size, Blocks: st.Blocks, Atime: st.Atime.Sec, Mtime: st.Mtime.Sec, Ctime: st.Ctime.Sec,
		AtimeNsec: st.Atime.Nsec, MtimeNsec: st.Mtime.Nsec, CtimeNsec: st.Ctime.Nsec, Mode: st.Mode, Nlink: st.Nlink,
		UID: st.UID, GID: st.GID, Rdev: st.Rdev, Blksize: st.Blksize}
}

// encode is the body of an 'A' frame.
func (a *answer) encode() []byte {
	data := a.data
	for i := range a.entries {
		e := &a.entries[i]
		h := entryHead{Off: e.off, NameLen: uint32(len(e.name))}
		if e.st != nil {
			h.Flags, h.Attr = 1, attrOf(e.st)
		}
		if e.plus {
			h.Flags |= 2
		}
		data = append(pack(data, &h), e.name...)
	}
	h := answerHead{Result: a.n, Value: a.value, FH: a.fh, Bits: a.bits, DataLen: uint32(len(data)), Attr: attrOf(&a.attr)}
	if a.err != 0 {
		h.Result = -int64(a.err)
	}
	return append(pack(nil, &h), data...)
}

// pack appends structs as they are in memory.
func pack(b []byte, values ...any) []byte {
	var err error
	for _, v := range values {
		if b, err = binary.Append(b, binary.NativeEndian, v); err != nil {
			panic(err)
		}
	}
	return b
}

// cstring is s with its NUL.
func cstring(s string) []byte { return append(bytes.Clone([]byte(s)), 0) }
