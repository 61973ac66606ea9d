//go:build linux

// Package onefile is what the examples of notifications have in common: a directory with one file, whose name and contents
// change without the kernel's doing.
package onefile

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	ll "github.com/purefuse/purefuse/lowlevel"
)

// Ino is the node id of the file.
const Ino = ll.NodeID(2)

// Forever is the timeout of what the kernel is to believe until it is told otherwise: there is no such number, this is just a
// large one.
const Forever = 500000 * time.Second

// File is the file system.
type File struct {
	Timeout   func() time.Duration // how long the kernel may believe names and attributes
	Mode      uint32               // permissions
	Forgotten func()               // called when the kernel knows the file no more; may be nil

	NoNotify bool
	Interval int32 // seconds between two changes

	mu      sync.Mutex
	name    string
	data    []byte
	lookups uint64 // references that the kernel holds
	opens   int    // how often the file was opened
}

// Program is the main function of an example: update is called once a second, or as the command line says, from the time the
// file system is mounted on, until it returns false. tell is false if the kernel is not to be told of anything.
func (f *File) Program(help string, more []opt.Opt, check func(), update func(s *ll.Session, tell bool) bool) int {
	f.Interval = 1
	return compat.LowlevelMain(os.Args, &compat.LowlevelProgram{
		Help: help,
		Options: append([]opt.Opt{
			opt.Set("--no-notify", &f.NoNotify, true),
			opt.Scan("--update-interval=%d", &f.Interval),
		}, more...),
		New: func(*compat.CmdlineOpts, *ll.Config) (*ll.Operations, error) {
			if check != nil {
				check()
			}
			return f.operations(), nil
		},
		Session: func(s *ll.Session) {
			go func() {
				select {
				case <-s.Ready():
				case <-s.Done():
				}
				for update(s, !f.NoNotify && f.known()) {
					select {
					case <-s.Done():
						return
					case <-time.After(time.Duration(uint32(f.Interval)) * time.Second):
					}
				}
			}()
		},
	})
}

// Set changes the file and returns its old name.
func (f *File) Set(name, data string) (old string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, f.name, f.data = f.name, name, []byte(data)
	return old
}

// known reports whether the kernel has the file in its caches.
func (f *File) known() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lookups > 0
}

// Opened reports whether the file was ever opened.
func (f *File) Opened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opens > 0
}

// Gone reports whether err of a notification means that there was nothing to tell, or nobody any more: at an unmount the
// kernel forgets everything some time before it tells so.
func Gone(err error) bool {
	switch ll.ErrnoOf(err) {
	case syscall.ENOENT, syscall.EBADF, syscall.ENODEV, syscall.ENOTCONN:
		return true
	}
	return false
}

// Fail ends the program when the kernel has refused a notification.
func Fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "ERROR: %s failed with %v\n", what, err)
	os.Exit(1)
}

func (f *File) operations() *ll.Operations {
	return &ll.Operations{
		Init: func(c *ll.Conn) error {
			c.NoInterrupt = true // everything is answered at once
			return nil
		},
		Lookup: f.lookup, Forget: f.forget, Getattr: f.getattr, Readdir: f.readdir, Open: f.open, Read: f.read,
	}
}

// stat is called with f.mu held.
func (f *File) stat(ino ll.NodeID) (st ll.Stat, ok bool) {
	st.Ino, st.Nlink = uint64(ino), 1
	switch ino {
	case ll.RootID:
		st.Mode = syscall.S_IFDIR | 0o755
	case Ino:
		st.Mode, st.Size = syscall.S_IFREG|f.Mode, uint64(len(f.data))
	default:
		return st, false
	}
	return st, true
}

func (f *File) lookup(r ll.EntryReq, parent ll.NodeID, name ll.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if parent != ll.RootID || string(name.Bytes()) != f.name {
		r.ReplyErr(syscall.ENOENT)
		return
	}
	f.lookups++
	st, _ := f.stat(Ino)
	r.ReplyEntry(&ll.Entry{NodeID: Ino, Attr: st, AttrTimeout: f.Timeout(), EntryTimeout: f.Timeout()})
}

func (f *File) forget(r ll.NoneReq, ino ll.NodeID, n uint64) {
	f.mu.Lock()
	gone := false
	if ino == Ino {
		f.lookups -= min(n, f.lookups)
		gone = f.lookups == 0
	}
	f.mu.Unlock()
	if gone && f.Forgotten != nil {
		f.Forgotten()
	}
	r.ReplyNone()
}

func (f *File) getattr(r ll.AttrReq, ino ll.NodeID, _ *ll.FileInfo) {
	f.mu.Lock()
	st, ok := f.stat(ino)
	f.mu.Unlock()
	if !ok {
		r.ReplyErr(syscall.ENOENT)
		return
	}
	r.ReplyAttr(&st, f.Timeout())
}

func (f *File) readdir(r ll.DirReq, ino ll.NodeID, _ int, off uint64, _ *ll.FileInfo) {
	if ino != ll.RootID {
		r.ReplyErr(syscall.ENOTDIR)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if off == 0 {
		st, _ := f.stat(Ino)
		r.Add(f.name, &st, 1)
	}
	r.Reply()
}

func (f *File) open(r ll.OpenReq, ino ll.NodeID, fi *ll.FileInfo) {
	switch {
	case ino != Ino:
		r.ReplyErr(syscall.EISDIR)
	case fi.Flags&syscall.O_ACCMODE != syscall.O_RDONLY:
		r.ReplyErr(syscall.EACCES)
	default:
		f.mu.Lock()
		f.opens++
		f.mu.Unlock()
		fi.KeepCache = true // also when the file is closed, to show what a stale cache does
		r.ReplyOpen(fi)
	}
}

func (f *File) read(r ll.DataReq, _ ll.NodeID, size int, off int64, _ *ll.FileInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	off = min(off, int64(len(f.data)))
	r.ReplyBuf(f.data[off:min(off+int64(size), int64(len(f.data)))])
}
