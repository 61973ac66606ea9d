//go:build linux

package highlevel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// memFS is a file system in memory that watches over its paths: a path must lead to the same file from the begin of an
// operation to its end.
type memFS struct {
	mu    sync.Mutex
	root  *memFile
	calls []string
	log   bool

	pause func()        // in the middle of operations
	wrong atomic.Uint64 // operations with a path that was not true
	first atomic.Pointer[string]
}

type memFile struct {
	dir  bool
	kids map[string]*memFile
	link string
	data []byte
	mode uint32
	time Time
}

func newMemFS() *memFS {
	return &memFS{root: &memFile{dir: true, kids: map[string]*memFile{}, mode: 0o755}, pause: func() {}}
}

// find resolves a path. The caller holds m.mu.
func (m *memFS) find(path string) *memFile {
	n := m.root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if n == nil || !n.dir {
			return nil
		}
		n = n.kids[name]
	}
	return n
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}

func (m *memFS) blame(format string, args ...any) {
	m.wrong.Add(1)
	s := fmt.Sprintf(format, args...)
	m.first.CompareAndSwap(nil, &s)
}

func (m *memFS) called(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.log {
		m.calls = append(m.calls, fmt.Sprintf(format, args...))
	}
}

// took returns the calls since the last time.
func (m *memFS) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.calls
	m.calls = nil
	return c
}

// stays checks that path leads to the same file now and after a while; must says that there has to be one.
func (m *memFS) stays(op, path string, must bool) {
	m.mu.Lock()
	was := m.find(path)
	m.mu.Unlock()
	if was == nil && must {
		m.blame("%s: %s does not exist", op, path)
	}
	m.pause()
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.find(path); must && now != was {
		m.blame("%s: %s changed", op, path)
	}
}

func (m *memFS) stat(n *memFile, st *Stat) {
	st.Mode, st.Nlink, st.Size, st.Mtime = n.mode|syscall.S_IFREG, 1, uint64(len(n.data)), n.time
	switch {
	case n.dir:
		st.Mode = n.mode | syscall.S_IFDIR
	case n.link != "":
		st.Mode = n.mode | syscall.S_IFLNK
	}
}

func (m *memFS) add(path string, n *memFile) error {
	dir, name := split(path)
	m.stays("create in", dir, true)
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.find(dir)
	if d == nil {
		return syscall.ENOENT
	}
	if d.kids[name] != nil {
		return syscall.EEXIST
	}
	d.kids[name] = n
	return nil
}

func (m *memFS) remove(op, path string, dir bool) error {
	m.called("%s %s", op, path)
	m.stays(op, path, true)
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(path)
	parent, name := split(path)
	switch {
	case n == nil:
		return syscall.ENOENT
	case n.dir && !dir:
		return syscall.EISDIR
	case dir && !n.dir:
		return syscall.ENOTDIR
	case len(n.kids) > 0:
		return syscall.ENOTEMPTY
	}
	delete(m.find(parent).kids, name)
	return nil
}

func (m *memFS) ops() *Operations {
	return &Operations{
		Getattr: func(c *Context, path string, st *Stat, fi *FileInfo) error {
			m.called("getattr %s", path)
			if lookup := c.req.Op().String() == "LOOKUP"; lookup {
				dir, _ := split(path)
				m.stays("lookup in", dir, true)
			} else if c.req.Op().String() == "GETATTR" {
				m.stays("getattr", path, true)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			n := m.find(path)
			if n == nil {
				return syscall.ENOENT
			}
			m.stat(n, st)
			return nil
		},
		Readlink: func(_ *Context, path string) (string, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if n := m.find(path); n != nil && n.link != "" {
				return n.link, nil
			}
			return "", syscall.EINVAL
		},
		Mkdir: func(_ *Context, path string, mode uint32) error {
			return m.add(path, &memFile{dir: true, kids: map[string]*memFile{}, mode: mode})
		},
		Symlink: func(_ *Context, target, path string) error { return m.add(path, &memFile{link: target, mode: 0o777}) },
		Create: func(_ *Context, path string, mode uint32, _ *FileInfo) error {
			return m.add(path, &memFile{mode: mode & 0o7777})
		},
		Unlink: func(_ *Context, path string) error { return m.remove("unlink", path, false) },
		Rmdir:  func(_ *Context, path string) error { return m.remove("rmdir", path, true) },
		Rename: func(_ *Context, from, to string, flags uint32) error {
			m.called("rename %s %s %d", from, to, flags)
			todir, toname := split(to)
			m.stays("rename", from, true)
			m.stays("rename to", todir, true)
			m.mu.Lock()
			defer m.mu.Unlock()
			n, d, old := m.find(from), m.find(todir), m.find(to)
			fromdir, fromname := split(from)
			switch {
			case n == nil || d == nil:
				return syscall.ENOENT
			case flags == RenameExchange && old != nil:
				m.find(fromdir).kids[fromname] = old
				d.kids[toname] = n
				return nil
			case flags == RenameNoreplace && old != nil:
				return syscall.EEXIST
			case flags&^RenameNoreplace != 0:
				return syscall.EINVAL
			case old != nil && old.dir != n.dir:
				return syscall.ENOTDIR
			case old != nil && len(old.kids) > 0:
				return syscall.ENOTEMPTY
			}
			delete(m.find(fromdir).kids, fromname)
			d.kids[toname] = n
			return nil
		},
		Open: func(_ *Context, path string, fi *FileInfo) error {
			m.stays("open", path, true)
			return nil
		},
		Release: func(_ *Context, path string, fi *FileInfo) error {
			m.called("release %s", path)
			return nil
		},
		Read: func(_ *Context, path string, p []byte, off int64, fi *FileInfo) (int, error) {
			m.stays("read", path, true)
			m.mu.Lock()
			defer m.mu.Unlock()
			if n := m.find(path); n != nil && off < int64(len(n.data)) {
				return copy(p, n.data[off:]), nil
			}
			return 0, nil
		},
		Write: func(_ *Context, path string, p []byte, off int64, fi *FileInfo) (int, error) {
			m.stays("write", path, true)
			m.mu.Lock()
			defer m.mu.Unlock()
			n := m.find(path)
			if n == nil {
				return 0, syscall.EIO
			}
			if need := int(off) + len(p); need > len(n.data) {
				n.data = append(n.data, make([]byte, need-len(n.data))...)
			}
			n.time.Sec++
			return copy(n.data[off:], p), nil
		},
		Readdir: func(_ *Context, path string, fill Filler, _ uint64, _ *FileInfo, _ bool) error {
			m.stays("readdir", path, true)
			m.mu.Lock()
			d := m.find(path)
			if d == nil {
				m.mu.Unlock()
				return syscall.ENOENT
			}
			kids := maps.Clone(d.kids)
			m.mu.Unlock()
			fill.Add(".", nil, 0)
			fill.Add("..", nil, 0)
			for _, name := range slices.Sorted(maps.Keys(kids)) {
				var st Stat
				m.mu.Lock()
				m.stat(kids[name], &st)
				m.mu.Unlock()
				fill.Add(name, &st, 0)
			}
			return nil
		},
	}
}

// tree lists all paths.
func (m *memFS) tree() (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var walk func(prefix string, n *memFile)
	walk = func(prefix string, n *memFile) {
		for _, name := range slices.Sorted(maps.Keys(n.kids)) {
			list = append(list, prefix+"/"+name)
			walk(prefix+"/"+name, n.kids[name])
		}
	}
	walk("", m.root)
	return list
}
