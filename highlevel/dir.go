//go:build linux

package highlevel

import (
	"strings"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

// dir is an open directory.
type dir struct {
	id NodeID
	fh uint64 // the file system's

	mu     sync.Mutex // one request at a time
	filled bool       // list is the whole directory
	paged  bool       // entries came with offsets
	list   []dirEntry
}

// dirEntry is an entry of a directory that was listed without offsets.
type dirEntry struct {
	name string
	stat Stat
	plus bool
}

func (f *FS) dir(fh uint64) *dir {
	d, _ := f.dirs.Get(fh)
	return d
}

func (f *FS) doOpendir(r lowlevel.OpenReq, id NodeID, fi *FileInfo) {
	c := f.call(r.Req)
	in := FileInfo{Flags: fi.Flags}
	err := f.at(c, id, nil, false, func(path string, _ *want) error { return f.top.Opendir(&c.Context, path, &in) })
	if c.failed(err) {
		return
	}
	out := FileInfo{CacheReaddir: in.CacheReaddir, KeepCache: in.KeepCache}
	out.FH = f.dirs.Put(&dir{id: id, fh: in.FH})
	if r.ReplyOpen(&out) == syscall.ENOENT {
		f.dirs.Take(out.FH)
		f.releasedir(c.undoing(), id, in)
	}
}

// releasedir tells the file system that a directory is not open any more.
func (f *FS) releasedir(c *call, id NodeID, own FileInfo) {
	f.on(c, id, func(path string, _ *want) error { return f.top.Releasedir(&c.Context, path, &own) })
}

func (f *FS) doReleasedir(r lowlevel.ErrReq, id NodeID, fi *FileInfo) {
	c := f.call(r.Req)
	d, ok := f.dirs.Take(fi.FH)
	if !ok {
		r.ReplyErr(syscall.EBADF)
		return
	}
	d.mu.Lock() // a listing under way ends first
	defer d.mu.Unlock()
	f.releasedir(c, id, FileInfo{FH: d.fh})
	c.end()
	r.ReplyErr(0)
}

func (f *FS) doFsyncdir(r lowlevel.ErrReq, id NodeID, datasync bool, fi *FileInfo) {
	c := f.call(r.Req)
	d := f.dir(fi.FH)
	if d == nil {
		r.ReplyErr(syscall.EBADF)
		return
	}
	own := FileInfo{FH: d.fh}
	err := f.on(c, id, func(path string, _ *want) error { return f.top.Fsyncdir(&c.Context, path, datasync, &own) })
	c.end()
	r.ReplyErr(err)
}

// replier is what DirReq and PlusReq have in common.
type replier interface {
	Reply() error
	ReplyErr(lowlevel.Errno) error
}

func (f *FS) doReaddir(r lowlevel.DirReq, id NodeID, _ int, off uint64, fi *FileInfo) {
	f.readdir(r, &filling{f: f, c: f.call(r.Req), dirReq: r}, id, off, fi)
}

func (f *FS) doReaddirplus(r lowlevel.PlusReq, id NodeID, _ int, off uint64, fi *FileInfo) {
	f.readdir(r, &filling{f: f, c: f.call(r.Req), plusReq: r, plus: true}, id, off, fi)
}

func (f *FS) readdir(r replier, l *filling, id NodeID, off uint64, fi *FileInfo) {
	d := f.dir(fi.FH)
	if d == nil {
		r.ReplyErr(syscall.EBADF)
		return
	}
	l.d = d
	d.mu.Lock()
	defer d.mu.Unlock()
	if off == 0 { // rewinddir reads anew
		d.filled, d.paged = false, false
	}
	if !d.filled {
		if err := l.fill(id, off); err != 0 {
			l.giveBack()
			l.c.end()
			r.ReplyErr(err)
			return
		}
	}
	if d.filled {
		l.serve(off)
	}
	l.c.end()
	r.Reply()
}

// filling is the answer to one READDIR or READDIRPLUS, and the Filler of the operation.
type filling struct {
	f       *FS
	c       *call
	d       *dir
	dirReq  lowlevel.DirReq
	plusReq lowlevel.PlusReq
	plus    bool
	direct  bool // entries have offsets and go straight into the answer
	err     syscall.Errno
	counted []NodeID // lookups in this answer
}

// fill calls the operation.
func (l *filling) fill(id NodeID, off uint64) syscall.Errno {
	f, d := l.f, l.d
	d.list, d.filled = nil, true
	own := FileInfo{FH: d.fh}
	op := func(path string, _ *want) error { return f.top.Readdir(&l.c.Context, path, l, off, &own, l.plus) }
	var err syscall.Errno
	if f.top.ops.Readdir != nil {
		err = f.on(l.c, id, op)
	} else {
		err = f.at(l.c, id, nil, false, op)
	}
	if err == 0 {
		err = l.err
	}
	d.paged = d.paged || l.direct
	// The end of a directory with offsets looks like an empty one without.
	if err != 0 || d.paged || off != 0 && len(d.list) == 0 {
		d.list, d.filled = nil, false
	}
	return err
}

func (l *filling) Add(name string, st *Stat, off uint64) bool { return l.add(name, st, off, false) }

func (l *filling) AddPlus(name string, st *Stat, off uint64) bool { return l.add(name, st, off, true) }

func (l *filling) add(name string, st *Stat, off uint64, plus bool) bool {
	if l.err != 0 {
		return false
	}
	e := dirEntry{name: name, plus: plus && st != nil}
	switch {
	case st == nil:
	case l.plus && !plus:
		e.stat.Mode, e.stat.Ino = st.Mode, st.Ino
	default:
		e.stat = *st
	}
	l.number(&e, st != nil)
	if off == 0 {
		if l.direct {
			l.err = syscall.EIO
			return false
		}
		e.name = strings.Clone(name)
		l.d.list = append(l.d.list, e)
		return true
	}
	if len(l.d.list) > 0 {
		l.err = syscall.EIO
		return false
	}
	l.direct = true
	return l.put(&e, off)
}

// number gives an entry the inode number that it has unless it is looked up.
func (l *filling) number(e *dirEntry, known bool) {
	f := l.f
	if f.cfg.UseIno && known {
		return
	}
	e.stat.Ino = unknownIno
	if f.cfg.ReaddirIno && !f.cfg.UseIno {
		f.mu.Lock()
		if parent := f.byID(l.d.id); parent != nil {
			if n := f.child(parent, e.name); n != nil && n.id != 0 {
				e.stat.Ino = uint64(n.id)
			}
		}
		f.mu.Unlock()
	}
}

// put adds an entry to the answer; false if it does not fit.
func (l *filling) put(e *dirEntry, off uint64) bool {
	if !l.plus {
		if e.stat.Ino == 0 { // readers take that for a name that has gone
			e.stat.Ino = unknownIno
		}
		return l.dirReq.Add(e.name, &e.stat, off)
	}
	if !l.plusReq.Fits(len(e.name)) { // before a lookup is counted
		return false
	}
	out := lowlevel.Entry{Attr: e.stat}
	if e.plus && e.name != "." && e.name != ".." {
		f := l.f
		f.mu.Lock()
		if parent := f.byID(l.d.id); parent != nil {
			n := f.lookedUp(parent, e.name)
			f.entryOf(n, &out)
			l.counted = append(l.counted, out.NodeID)
		}
		f.mu.Unlock()
	}
	if out.Attr.Ino == 0 {
		out.Attr.Ino = unknownIno
	}
	return l.plusReq.Add(e.name, &out, off)
}

// serve answers from the list, where an entry's offset is its place.
func (l *filling) serve(off uint64) {
	for i := off; i < uint64(len(l.d.list)); i++ {
		if !l.put(&l.d.list[i], i+1) {
			return
		}
	}
}

// giveBack takes back the lookups of an answer that is not given.
func (l *filling) giveBack() {
	for _, id := range l.counted {
		l.f.forget(id, 1)
	}
}
