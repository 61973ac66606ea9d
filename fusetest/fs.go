//go:build linux

package fusetest

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// FS is the file system as an fs.FS, for testing/fstest.TestFS and code that takes one. It does what a kernel without caches
// does for each call: it looks up every component of the path, opens, reads, flushes, releases, and forgets what it looked up.
// Symbolic links are followed as long as they stay below the root.
func (c *Client) FS() fs.FS { return kernelFS{c} }

type kernelFS struct{ c *Client }

var (
	_ fs.ReadLinkFS = kernelFS{}
	_ fs.StatFS     = kernelFS{}
	_ fs.ReadDirFS  = kernelFS{}
	_ fs.ReadFileFS = kernelFS{}
)

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

const (
	// dirSize and readSize are the sizes of READDIR and READ requests.
	dirSize  = 4096
	readSize = 128 << 10
)

// walked is a node that a path led to, with the lookups that this took.
type walked struct {
	c    *Client
	ino  lowlevel.NodeID
	attr wire.Attr
	held []lowlevel.NodeID
}

// forget gives the lookups back.
func (w *walked) forget() {
	for _, ino := range w.held {
		w.c.k.Forget(ino, 1)
	}
	w.held = nil
}

// walk looks up a path; follow says whether a symbolic link at its end is followed.
func (k kernelFS) walk(name string, follow bool) (*walked, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	w := &walked{c: k.c}
	for links := 0; ; links++ {
		next, err := k.pass(w, name, follow)
		if err == nil && next == "" {
			return w, nil
		}
		w.forget()
		if err == nil && links == maxLinks {
			err = syscall.ELOOP
		}
		if err != nil {
			return nil, err
		}
		name = next
	}
}

// pass goes down a path until a symbolic link must be followed, and returns the path that this gives.
func (k kernelFS) pass(w *walked, name string, follow bool) (next string, err error) {
	w.ino = lowlevel.RootID
	a, err := k.c.Getattr(w.ino)
	if err != nil {
		return "", err
	}
	w.attr = a.Attr
	if name == "." {
		return "", nil
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if w.attr.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			return "", syscall.ENOTDIR
		}
		e, err := k.c.Lookup(w.ino, part)
		if err == nil && e.NodeID == 0 {
			err = syscall.ENOENT
		}
		if err != nil {
			return "", err
		}
		w.held = append(w.held, e.NodeID)
		w.ino, w.attr = e.NodeID, e.Attr
		if last := i == len(parts)-1; w.attr.Mode&syscall.S_IFMT == syscall.S_IFLNK && (follow || !last) {
			target, err := k.c.Readlink(w.ino)
			if err != nil {
				return "", err
			}
			next := path.Join(append(slices.Clone(parts[:i]), append([]string{target}, parts[i+1:]...)...)...)
			if path.IsAbs(target) || !fs.ValidPath(next) {
				return "", syscall.EXDEV
			}
			return next, nil
		}
	}
	return "", nil
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements fs.FS.
func (k kernelFS) Open(name string) (fs.File, error) {
	w, err := k.walk(name, true)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	f := &openFile{w: w, name: name}
	switch w.attr.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		f.f, err = k.c.Opendir(w.ino)
	case syscall.S_IFREG:
		f.f, err = k.c.Open(w.ino, syscall.O_RDONLY)
	default:
		err = syscall.ENXIO
	}
	if err != nil {
		w.forget()
		return nil, pathError("open", name, err)
	}
	return f, nil
}

func (k kernelFS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	w, err := k.walk(name, follow)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	defer w.forget()
	return fileInfo{path.Base(name), w.attr}, nil
}

// Stat implements fs.StatFS.
func (k kernelFS) Stat(name string) (fs.FileInfo, error) { return k.stat("stat", name, true) }

// Lstat implements fs.ReadLinkFS.
func (k kernelFS) Lstat(name string) (fs.FileInfo, error) { return k.stat("lstat", name, false) }

// ReadLink implements fs.ReadLinkFS.
func (k kernelFS) ReadLink(name string) (string, error) {
	w, err := k.walk(name, false)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	defer w.forget()
	if w.attr.Mode&syscall.S_IFMT != syscall.S_IFLNK {
		return "", pathError("readlink", name, syscall.EINVAL)
	}
	target, err := k.c.Readlink(w.ino)
	return target, pathError("readlink", name, err)
}

// ReadFile implements fs.ReadFileFS.
func (k kernelFS) ReadFile(name string) ([]byte, error) {
	f, err := k.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// ReadDir implements fs.ReadDirFS.
func (k kernelFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := k.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, pathError("readdir", name, syscall.ENOTDIR)
	}
	list, err := d.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}

// openFile is an open file or directory.
type openFile struct {
	w      *walked
	f      *File
	name   string
	off    int64
	list   []Dirent // read and not handed out
	cookie uint64
	eof    bool
	closed bool
}

func (f *openFile) Stat() (fs.FileInfo, error) {
	if f.closed {
		return nil, pathError("stat", f.name, fs.ErrClosed)
	}
	a, err := f.f.Getattr()
	if f.f.dir || f.f.NoOpen {
		a, err = f.w.c.Getattr(f.w.ino)
	}
	if err != nil {
		return nil, pathError("stat", f.name, err)
	}
	return fileInfo{path.Base(f.name), a.Attr}, nil
}

func (f *openFile) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.off)
	f.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case f.closed:
		return 0, pathError("read", f.name, fs.ErrClosed)
	case f.f.dir:
		return 0, pathError("read", f.name, syscall.EISDIR)
	case off < 0:
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	total := 0
	for total < len(p) {
		b, err := f.f.Read(off+int64(total), min(len(p)-total, readSize))
		if err != nil {
			return total, pathError("read", f.name, err)
		}
		if len(b) == 0 {
			return total, io.EOF
		}
		total += copy(p[total:], b)
	}
	return total, nil
}

// Seek implements io.Seeker.
func (f *openFile) Seek(off int64, whence int) (int64, error) {
	if f.closed {
		return 0, pathError("seek", f.name, fs.ErrClosed)
	}
	switch whence {
	case io.SeekCurrent:
		off += f.off
	case io.SeekEnd:
		st, err := f.Stat()
		if err != nil {
			return 0, err
		}
		off += st.Size()
	}
	if off < 0 {
		return 0, pathError("seek", f.name, syscall.EINVAL)
	}
	f.off = off
	return off, nil
}

// ReadDir implements fs.ReadDirFile.
func (f *openFile) ReadDir(n int) (entries []fs.DirEntry, err error) {
	switch {
	case f.closed:
		return nil, pathError("readdir", f.name, fs.ErrClosed)
	case !f.f.dir:
		return nil, pathError("readdir", f.name, syscall.ENOTDIR)
	}
	for n <= 0 || len(entries) < n {
		if len(f.list) == 0 && !f.eof {
			if err := f.fill(); err != nil {
				return entries, pathError("readdir", f.name, err)
			}
		}
		if len(f.list) == 0 {
			break
		}
		d := f.list[0]
		f.list = f.list[1:]
		if d.Name != "." && d.Name != ".." {
			entries = append(entries, &dirEntry{f: f, d: d})
		}
	}
	if n > 0 && len(entries) == 0 {
		return nil, io.EOF
	}
	return entries, nil
}

// fill reads on; lookups that entries count for are given back at once.
func (f *openFile) fill() error {
	read := f.f.Readdir
	if f.w.c.k.Flags()&wire.InitDoReaddirplus != 0 {
		read = f.f.Readdirplus
	}
	list, err := read(f.cookie, dirSize)
	if err != nil {
		return err
	}
	f.eof = len(list) == 0
	for _, d := range list {
		f.cookie = d.Off
		if d.Plus != nil && d.Name != "." && d.Name != ".." {
			f.w.c.k.Forget(d.Plus.NodeID, 1)
		}
	}
	f.list = list
	return nil
}

func (f *openFile) Close() error {
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	err := f.f.Close()
	f.w.forget()
	return pathError("close", f.name, err)
}

// dirEntry implements fs.DirEntry.
type dirEntry struct {
	f *openFile
	d Dirent
}

func (d *dirEntry) Name() string      { return d.d.Name }
func (d *dirEntry) IsDir() bool       { return d.Type().IsDir() }
func (d *dirEntry) Type() fs.FileMode { return fileMode(d.d.Type << 12).Type() }
func (d *dirEntry) String() string    { return fs.FormatDirEntry(d) }

func (d *dirEntry) Info() (fs.FileInfo, error) {
	if d.d.Plus != nil {
		return fileInfo{d.d.Name, d.d.Plus.Attr}, nil
	}
	fi, err := kernelFS{d.f.w.c}.Lstat(path.Join(d.f.name, d.d.Name))
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Err == syscall.ENOENT {
		err = pathError("lstat", d.d.Name, fs.ErrNotExist)
	}
	return fi, err
}

// fileInfo implements fs.FileInfo; Sys is the *wire.Attr.
type fileInfo struct {
	name string
	attr wire.Attr
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return int64(i.attr.Size) }
func (i fileInfo) Mode() fs.FileMode  { return fileMode(i.attr.Mode) }
func (i fileInfo) ModTime() time.Time { return time.Unix(int64(i.attr.Mtime), int64(i.attr.MtimeNsec)) }
func (i fileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i fileInfo) Sys() any           { return &i.attr }
func (i fileInfo) String() string     { return fs.FormatFileInfo(i) }

// fileMode converts the mode of stat(2).
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		m |= fs.ModeDir
	case syscall.S_IFLNK:
		m |= fs.ModeSymlink
	case syscall.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case syscall.S_IFBLK:
		m |= fs.ModeDevice
	case syscall.S_IFIFO:
		m |= fs.ModeNamedPipe
	case syscall.S_IFSOCK:
		m |= fs.ModeSocket
	}
	for _, b := range []struct {
		bit uint32
		m   fs.FileMode
	}{{syscall.S_ISUID, fs.ModeSetuid}, {syscall.S_ISGID, fs.ModeSetgid}, {syscall.S_ISVTX, fs.ModeSticky}} {
		if mode&b.bit != 0 {
			m |= b.m
		}
	}
	return m
}
