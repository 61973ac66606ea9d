//go:build linux

package hloracle

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/highlevel"
)

const (
	maxFile = 1 << 16
	typeOf  = syscall.S_IFMT
)

// tree is the file system behind both servers, each of which has one of its own: it does the same if it is asked the same.
type tree struct {
	cfg     *config
	root    *inode
	lastIno uint64
	clock   int64
	files   map[uint64]*inode // by handle
	lastFH  uint64
	calls   uint64

	served [opCount]int // calls so far

	line  func(string) // what reached it
	calm  bool         // say nothing, never fail, and know every name
	seen  []seen       // calls since the last request
	given []entry      // what the last readdir gave to the library
}

// seen is a call and how it ended.
type seen struct {
	call   call
	answer answer
}

type inode struct {
	ino, nlink           uint64
	mode, uid, gid, rdev uint32
	data                 []byte // or a symlink's target
	xattrs               []xattr
	entries              []dirent
	lastOff              uint64
	atime, mtime, ctime  highlevel.Time
	locks                []lock
}

type dirent struct {
	name string
	node *inode
	off  uint64
}

type xattr struct {
	name  string
	value []byte
}

type lock struct {
	owner      uint64
	start, end int64
	typ        int16
	pid        uint32
}

func newTree(cfg *config, line func(string)) *tree {
	t := &tree{cfg: cfg, files: map[uint64]*inode{}, line: line, lastFH: 100}
	t.root = t.inode(syscall.S_IFDIR | 0o755)
	t.root.nlink = 2
	for _, name := range []string{"sub", "d"} {
		t.mkdir("/"+name, 0o755)
		t.mkdir("/"+name+"/d", 0o700)
		t.put("/"+name+"/a", t.inode(syscall.S_IFREG|0o644))
		t.put("/"+name+"/b", t.inode(syscall.S_IFREG|0o600))
		for _, dir := range []string{"/" + name, "/" + name + "/d"} {
			l := t.inode(syscall.S_IFLNK | 0o777)
			l.data = []byte("/sub")
			t.put(dir+"/l", l)
		}
	}
	t.put("/a", t.inode(syscall.S_IFREG|0o644))
	for i := range 12 {
		t.put(fmt.Sprintf("/d/entry%02d", i), t.inode(syscall.S_IFREG|0o640))
	}
	return t
}

func (t *tree) now() highlevel.Time {
	t.clock++
	return highlevel.Time{Sec: 1600000000 + t.clock/7, Nsec: uint32(t.clock * 999331 % 1e9)}
}

func (t *tree) inode(mode uint32) *inode {
	t.lastIno++
	now := t.now()
	return &inode{ino: 1000 + t.lastIno, nlink: 1, mode: mode, atime: now, mtime: now, ctime: now, lastOff: 2}
}

func (n *inode) is(typ uint32) bool { return n.mode&typeOf == typ }

func (n *inode) child(name string) *inode {
	for _, e := range n.entries {
		if e.name == name {
			return e.node
		}
	}
	return nil
}

// walk finds what is at a path.
func (t *tree) walk(path string) (*inode, syscall.Errno) {
	n := t.root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if !n.is(syscall.S_IFDIR) {
			return nil, syscall.ENOTDIR
		}
		if n = n.child(name); n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, 0
}

// parent finds the directory that a path's last name is in.
func (t *tree) parent(path string) (*inode, string, syscall.Errno) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 || path == "/" {
		return nil, "", syscall.EBUSY
	}
	dir, err := t.walk(path[:i])
	if err == 0 && !dir.is(syscall.S_IFDIR) {
		err = syscall.ENOTDIR
	}
	if err == 0 && len(path)-i-1 > 255 {
		err = syscall.ENAMETOOLONG
	}
	return dir, path[i+1:], err
}

// at is what a call with a handle or a path is about.
func (t *tree) at(c *call) (*inode, syscall.Errno) {
	if c.fi.There != 0 {
		if n := t.files[c.fi.FH]; n != nil {
			return n, 0
		}
	}
	if c.path == "" {
		return nil, syscall.EBADF
	}
	return t.walk(c.path)
}

// put adds a name.
func (t *tree) put(path string, n *inode) syscall.Errno {
	dir, name, err := t.parent(path)
	if err != 0 {
		return err
	}
	if dir.child(name) != nil {
		return syscall.EEXIST
	}
	dir.lastOff++
	dir.entries = append(dir.entries, dirent{name, n, dir.lastOff})
	dir.mtime = t.now()
	return 0
}

func (t *tree) mkdir(path string, mode uint32) syscall.Errno {
	n := t.inode(syscall.S_IFDIR | mode)
	n.nlink = 2
	return t.put(path, n)
}

// drop takes a name away.
func (t *tree) drop(dir *inode, name string) {
	dir.entries = slices.DeleteFunc(dir.entries, func(e dirent) bool { return e.name == name })
	dir.mtime = t.now()
}

func (t *tree) stat(n *inode) highlevel.Stat {
	st := highlevel.Stat{Ino: n.ino, Size: uint64(len(n.data)), Blocks: uint64(len(n.data)+511) / 512, Mode: n.mode, Nlink: uint32(n.nlink),
		UID: n.uid, GID: n.gid, Rdev: n.rdev, Blksize: 4096, Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime}
	if n.is(syscall.S_IFDIR) {
		st.Size = uint64(len(n.entries))
	}
	return st
}

var faults = []syscall.Errno{syscall.EIO, syscall.EPERM, syscall.ENOENT, syscall.ENOSYS, syscall.EACCES, syscall.ENOSPC, syscall.EBUSY,
	syscall.EINTR, syscall.ESTALE, syscall.ENOTEMPTY, syscall.ERANGE, syscall.EAGAIN, syscall.EXDEV}

// serve answers a call.
func (t *tree) serve(c *call) (a answer) {
	if t.calm {
		return t.serveCalm(c)
	}
	text := c.String()
	t.calls++
	whim := mix(t.cfg.Seed ^ hash(text) ^ t.calls<<40)
	if f := t.cfg.Faults; f != 0 && whim%f == 0 && c.op != opInit && c.op != opDestroy {
		a.err = faults[whim/f%uint64(len(faults))]
	} else {
		a = t.do(c, whim>>20)
	}
	t.served[c.op]++
	t.line(text)
	t.seen = append(t.seen, seen{*c, a})
	return a
}

// serveCalm knows the attributes of everything: a lookup never fails then.
func (t *tree) serveCalm(c *call) (a answer) {
	n, err := t.at(c)
	if c.op != opGetattr {
		a.err = syscall.EIO
		return a
	}
	if err == 0 {
		a.attr = t.stat(n)
	} else {
		a.attr = highlevel.Stat{Mode: syscall.S_IFREG}
	}
	return a
}

// mix makes a random number of another.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
