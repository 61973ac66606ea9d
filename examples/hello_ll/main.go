//go:build linux

// Hello_ll is the smallest useful file system on the low-level API: a directory with one read-only file, and some extended
// attributes that only pretend.
//
//	hello_ll [options] <mountpoint>
//
// It goes into the background when the mount works; -f keeps it in the foreground, -d prints every message, -h lists the
// options. It ends when it is unmounted: fusermount3 -u <mountpoint>.
package main

import (
	"os"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	ll "github.com/purefuse/purefuse/lowlevel"
)

const (
	helloName = "hello"
	helloText = "Hello World!\n"
	helloIno  = ll.NodeID(2) // the root has 1, ll.RootID
	timeout   = time.Second  // how long the kernel may believe what it is told
)

func main() {
	os.Exit(compat.LowlevelMain(os.Args, &compat.LowlevelProgram{
		New: func(*compat.CmdlineOpts, *ll.Config) (*ll.Operations, error) { return &operations, nil },
	}))
}

// Each function answers its request exactly once. What is missing here is answered by the library, mostly with ENOSYS.
var operations = ll.Operations{
	Init:        initialize,
	Lookup:      lookup,
	Getattr:     getattr,
	Readdir:     readdir,
	Open:        open,
	Read:        read,
	Setxattr:    setxattr,
	Getxattr:    getxattr,
	Removexattr: removexattr,
}

// initialize settles with the kernel what the file system can do and wants.
func initialize(c *ll.Conn) error {
	c.NoInterrupt = true // everything is answered at once: nothing to interrupt
	c.Unwant(ll.CapAsyncRead)
	return nil
}

// stat is what there is: two inodes.
func stat(ino ll.NodeID) (st ll.Stat, ok bool) {
	st.Ino = uint64(ino)
	switch ino {
	case ll.RootID:
		st.Mode, st.Nlink = syscall.S_IFDIR|0o755, 2
	case helloIno:
		st.Mode, st.Nlink, st.Size = syscall.S_IFREG|0o444, 1, uint64(len(helloText))
	default:
		return st, false
	}
	return st, true
}

func lookup(r ll.EntryReq, parent ll.NodeID, name ll.Name) {
	if parent != ll.RootID || string(name.Bytes()) != helloName {
		r.ReplyErr(syscall.ENOENT)
		return
	}
	st, _ := stat(helloIno)
	r.ReplyEntry(&ll.Entry{NodeID: helloIno, Attr: st, AttrTimeout: timeout, EntryTimeout: timeout})
}

func getattr(r ll.AttrReq, ino ll.NodeID, _ *ll.FileInfo) {
	st, ok := stat(ino)
	if !ok {
		r.ReplyErr(syscall.ENOENT)
		return
	}
	r.ReplyAttr(&st, timeout)
}

func readdir(r ll.DirReq, ino ll.NodeID, _ int, off uint64, _ *ll.FileInfo) {
	if ino != ll.RootID {
		r.ReplyErr(syscall.ENOTDIR)
		return
	}
	entries := []struct {
		name string
		ino  ll.NodeID
	}{{".", ll.RootID}, {"..", ll.RootID}, {helloName, helloIno}}
	for off < uint64(len(entries)) {
		e := entries[off]
		off++ // where the listing goes on after this entry
		st, _ := stat(e.ino)
		if !r.Add(e.name, &st, off) {
			break // no more room: the kernel comes again with that offset
		}
	}
	r.Reply()
}

func open(r ll.OpenReq, ino ll.NodeID, fi *ll.FileInfo) {
	switch {
	case ino != helloIno:
		r.ReplyErr(syscall.EISDIR)
	case fi.Flags&syscall.O_ACCMODE != syscall.O_RDONLY:
		r.ReplyErr(syscall.EACCES)
	default:
		r.ReplyOpen(fi)
	}
}

func read(r ll.DataReq, _ ll.NodeID, size int, off int64, _ *ll.FileInfo) {
	end := int64(len(helloText))
	off = min(off, end)
	room := r.Room(int(min(int64(size), end-off)))
	copy(room, helloText[off:])
	r.ReplyBuf(room)
}

func setxattr(r ll.ErrReq, _ ll.NodeID, name ll.Name, value []byte, _ uint32) {
	if name.String() == "hello_ll_setxattr_name" && string(value) == "hello_ll_setxattr_value" {
		r.ReplyOK()
		return
	}
	r.ReplyErr(syscall.ENOTSUP)
}

func getxattr(r ll.XattrReq, _ ll.NodeID, name ll.Name, size int) {
	const value = "hello_ll_getxattr_value"
	switch {
	case name.String() != "hello_ll_getxattr_name":
		r.ReplyErr(syscall.ENOTSUP)
	case size == 0: // the caller asks how much room it needs
		r.ReplyXattr(len(value))
	case size < len(value):
		r.ReplyErr(syscall.ERANGE)
	default:
		r.ReplyBuf([]byte(value))
	}
}

func removexattr(r ll.ErrReq, _ ll.NodeID, name ll.Name) {
	if name.String() == "hello_ll_removexattr_name" {
		r.ReplyOK()
		return
	}
	r.ReplyErr(syscall.ENOTSUP)
}
