//go:build linux

package main

import (
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	ll "github.com/purefuse/purefuse/lowlevel"
)

// passthrough is the file system.
type passthrough struct {
	options
	timeout time.Duration
	kicker  *sys.Kicker

	nodes ll.Nodes[key, inode]
	dirs  ll.Handles[*directory]
	clock atomic.Uint64 // counts the inodes that became known

	killPriv bool // CapHandleKillprivV2 was agreed on
}

// key is what makes two names the same file.
type key struct{ dev, ino uint64 }

// inode is what is held of a file that the kernel knows. While its descriptor is open the file system below does not give
// its number to another file.
type inode struct {
	fd   int    // O_PATH
	born uint64 // the clock when it became known
}

func newPassthrough(o *options, root int, timeout time.Duration) (*passthrough, error) {
	kicker, err := sys.NewKicker()
	if err != nil {
		return nil, err
	}
	p := &passthrough{options: *o, timeout: timeout, kicker: kicker}
	// No file has this key: the source, met again below itself, is a directory of its own, for the kernel takes no root there.
	p.nodes.SetRoot(key{}, inode{fd: root})
	return p, nil
}

func (p *passthrough) operations() *ll.Operations {
	return &ll.Operations{
		Init: p.init, Destroy: p.destroy,
		Lookup: p.lookup, Forget: p.forget, ForgetMulti: p.forgetMulti,
		Getattr: p.getattr, Setattr: p.setattr, Statx: p.statx, Readlink: p.readlink,
		Mknod: p.mknod, Mkdir: p.mkdir, Symlink: p.symlink, Link: p.link,
		Unlink: p.unlink, Rmdir: p.rmdir, Rename: p.rename,
		Create: p.create, Tmpfile: p.tmpfile, Open: p.open, Release: p.release, Flush: p.flush, Fsync: p.fsync,
		Read: p.read, WriteBuf: p.writeBuf, Fallocate: p.fallocate, CopyFileRange: p.copyFileRange, Lseek: p.lseek, Flock: p.lock,
		Opendir: p.opendir, Readdir: p.readdir, Readdirplus: p.readdirplus, Releasedir: p.releasedir, Fsyncdir: p.fsyncdir,
		Statfs:   p.statfs,
		Getxattr: p.getxattr, Listxattr: p.listxattr, Setxattr: p.setxattr, Removexattr: p.removexattr,
	}
}

func (p *passthrough) init(c *ll.Conn) error {
	if p.writeback {
		c.WantIfCapable(ll.CapWritebackCache)
	}
	if p.options.flock {
		c.WantIfCapable(ll.CapFlockLocks)
	}
	// Lookups in one directory need not wait for each other; and without the second one each write begins with a GETXATTR.
	c.WantIfCapable(ll.CapParallelDirops)
	p.killPriv = c.WantIfCapable(ll.CapHandleKillprivV2)
	return nil
}

func (p *passthrough) destroy() {
	for _, n := range p.nodes.All() {
		sys.Close(n.fd)
	}
	p.kicker.Close()
}

// errno is what the kernel is told of a failed system call.
func errno(err error) ll.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return ll.ErrnoOf(err)
}

// fail answers with an error, or with success if there is none.
func fail(r ll.Req, err error) { r.ReplyErr(errno(err)) }

// fdPath is a path through which an O_PATH descriptor can be used where a real one or a path is needed.
type fdPath [32]byte

const fdPrefix = "/proc/self/fd/"

func (n inode) path(b *fdPath) sys.CName {
	strconv.AppendInt(append(b[:0], fdPrefix...), int64(n.fd), 10)
	return &b[0]
}

// entry is the kernel's view of a file whose inode was counted.
func (p *passthrough) entry(e *ll.Entry, ino ll.NodeID, st *syscall.Stat_t) {
	e.NodeID, e.Attr = ino, ll.StatOf(st)
	e.AttrTimeout, e.EntryTimeout = p.timeout, p.timeout
}

func keyOf(st *syscall.Stat_t) key { return key{uint64(st.Dev), uint64(st.Ino)} }

// known counts a lookup of the file that has st, if it was known before the clock stood at since.
func (p *passthrough) known(st *syscall.Stat_t, since uint64) (ll.NodeID, bool) {
	ino, n, ok := p.nodes.Find(keyOf(st))
	return ino, ok && n.born <= since && p.nodes.Add(ino, 1)
}

// adopt counts a lookup of the file behind an O_PATH descriptor, which belongs to the table from now on.
func (p *passthrough) adopt(fd int, st *syscall.Stat_t) ll.NodeID {
	ino, _, fresh := p.nodes.Ref(keyOf(st), func() inode { return inode{fd, p.clock.Add(1)} })
	if !fresh {
		sys.Close(fd)
	}
	return ino
}

// find looks up a name and counts the lookup.
func (p *passthrough) find(dir inode, name sys.CName, e *ll.Entry) error {
	var st syscall.Stat_t
	// Files that became known after this could be others that have got the number of the one that is looked up.
	since := p.clock.Load()
	if err := sys.Fstatat(dir.fd, name, &st, sys.AtNoFollow); err != nil {
		return err
	}
	if ino, ok := p.known(&st, since); ok {
		p.entry(e, ino, &st)
		return nil
	}
	fd, err := sys.Openat(dir.fd, name, sys.OPath|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if err := sys.Fstat(fd, &st); err != nil {
		sys.Close(fd)
		return err
	}
	p.entry(e, p.adopt(fd, &st), &st)
	return nil
}

// opened is find for a file that was just opened as fd, whatever has become of its name.
func (p *passthrough) opened(fd int, e *ll.Entry) error {
	var st syscall.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return err
	}
	if ino, ok := p.known(&st, p.clock.Load()); ok { // fd keeps the number from being given to another
		p.entry(e, ino, &st)
		return nil
	}
	var b fdPath
	path, err := sys.Openat(sys.AtFDCWD, inode{fd: fd}.path(&b), sys.OPath, 0)
	if err != nil {
		return err
	}
	p.entry(e, p.adopt(path, &st), &st)
	return nil
}

func (p *passthrough) lookup(r ll.EntryReq, parent ll.NodeID, name ll.Name) {
	dir, ok := p.nodes.Get(parent)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	p.replyEntry(r, dir, name)
}

// replyEntry answers with what a name leads to.
func (p *passthrough) replyEntry(r ll.EntryReq, dir inode, name ll.Name) {
	var e ll.Entry
	if err := p.find(dir, name.CStr(), &e); err != nil {
		fail(r.Req, err)
		return
	}
	r.ReplyEntry(&e)
}

func (p *passthrough) forgetOne(ino ll.NodeID, n uint64) {
	if node, dead := p.nodes.Forget(ino, n); dead {
		sys.Close(node.fd)
	}
}

func (p *passthrough) forget(r ll.NoneReq, ino ll.NodeID, n uint64) {
	p.forgetOne(ino, n)
	r.ReplyNone()
}

func (p *passthrough) forgetMulti(r ll.NoneReq, list []ll.Forget) {
	for _, f := range list {
		p.forgetOne(f.NodeID, f.N)
	}
	r.ReplyNone()
}
