//go:build linux

package highlevel

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/purefuse/purefuse/lowlevel"
)

// FromFS makes a read-only file system of an fs.FS. Files that can neither be read at an offset nor be sought in are read from
// the front, and opened anew to go back. Whoever may use the mount may read what the server may, unless it is mounted with
// default_permissions. Every attempt to change something fails with EROFS.
func FromFS(fsys fs.FS) *Operations {
	s := &served{fsys: fsys}
	readOnly := func() error { return syscall.EROFS }
	return &Operations{
		Getattr:  s.getattr,
		Readlink: func(_ *Context, path string) (string, error) { return fs.ReadLink(fsys, local(path)) },
		Open:     s.open,
		Read:     s.read,
		Release:  s.release,
		Readdir:  s.readdir,
		Access:   s.access,

		Mknod:       func(*Context, string, uint32, uint32) error { return readOnly() },
		Mkdir:       func(*Context, string, uint32) error { return readOnly() },
		Unlink:      func(*Context, string) error { return readOnly() },
		Rmdir:       func(*Context, string) error { return readOnly() },
		Symlink:     func(*Context, string, string) error { return readOnly() },
		Rename:      func(*Context, string, string, uint32) error { return readOnly() },
		Link:        func(*Context, string, string) error { return readOnly() },
		Chmod:       func(*Context, string, uint32, *FileInfo) error { return readOnly() },
		Chown:       func(*Context, string, uint32, uint32, *FileInfo) error { return readOnly() },
		Truncate:    func(*Context, string, int64, *FileInfo) error { return readOnly() },
		Utimens:     func(*Context, string, Time, Time, *FileInfo) error { return readOnly() },
		Create:      func(*Context, string, uint32, *FileInfo) error { return readOnly() },
		Setxattr:    func(*Context, string, string, []byte, int) error { return readOnly() },
		Removexattr: func(*Context, string, string) error { return readOnly() },
	}
}

// local is a path in the form of package fs.
func local(path string) string {
	if path == "/" {
		return "."
	}
	return strings.TrimPrefix(path, "/")
}

// served is an fs.FS that is mounted.
type served struct {
	fsys  fs.FS
	files lowlevel.Handles[*servedFile]
}

// servedFile is an open file. at is where a file without offsets is.
type servedFile struct {
	mu   sync.Mutex
	name string
	f    fs.File
	at   int64
}

func (s *served) getattr(_ *Context, path string, st *Stat, fi *FileInfo) error {
	if fi != nil {
		if o, ok := s.files.Get(fi.FH); ok {
			o.mu.Lock()
			defer o.mu.Unlock()
			info, err := o.f.Stat()
			if err == nil {
				statOf(info, st)
			}
			return err
		}
	}
	info, err := fs.Lstat(s.fsys, local(path))
	if err == nil {
		statOf(info, st)
	}
	return err
}

// statOf fills in what a FileInfo tells, which is all there is for files of the operating system.
func statOf(info fs.FileInfo, st *Stat) {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		*st = lowlevel.StatOf(sys)
		return
	}
	size := uint64(max(info.Size(), 0))
	*st = Stat{
		Mode: modeOf(info.Mode()), Nlink: 1, Size: size, Blocks: (size + 511) / 512, Blksize: 4096,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
	}
	if t := info.ModTime(); !t.IsZero() {
		st.Mtime = lowlevel.TimeOf(t)
		st.Atime, st.Ctime = st.Mtime, st.Mtime
	}
	if info.IsDir() {
		st.Nlink = 2
	}
}

// modeOf is a FileMode as stat(2) has it.
func modeOf(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	switch {
	case m.IsDir():
		mode |= syscall.S_IFDIR
	case m&fs.ModeSymlink != 0:
		mode |= syscall.S_IFLNK
	case m&fs.ModeNamedPipe != 0:
		mode |= syscall.S_IFIFO
	case m&fs.ModeSocket != 0:
		mode |= syscall.S_IFSOCK
	case m&fs.ModeCharDevice != 0:
		mode |= syscall.S_IFCHR
	case m&fs.ModeDevice != 0:
		mode |= syscall.S_IFBLK
	default:
		mode |= syscall.S_IFREG
	}
	for _, b := range [...]struct {
		bit  fs.FileMode
		mode uint32
	}{{fs.ModeSetuid, syscall.S_ISUID}, {fs.ModeSetgid, syscall.S_ISGID}, {fs.ModeSticky, syscall.S_ISVTX}} {
		if m&b.bit != 0 {
			mode |= b.mode
		}
	}
	return mode
}

// Bits of access(2)'s mask.
const (
	accessExec  = 1
	accessWrite = 2
)

func (s *served) access(_ *Context, path string, mask uint32) error {
	if mask&accessWrite != 0 {
		return syscall.EROFS
	}
	info, err := fs.Stat(s.fsys, local(path))
	if err == nil && mask&accessExec != 0 && !info.IsDir() && info.Mode()&0o111 == 0 {
		err = syscall.EACCES
	}
	return err
}

func (s *served) open(_ *Context, path string, fi *FileInfo) error {
	if fi.Flags&syscall.O_ACCMODE != syscall.O_RDONLY || fi.Flags&syscall.O_TRUNC != 0 {
		return syscall.EROFS
	}
	f, err := s.fsys.Open(local(path))
	if err != nil {
		return err
	}
	fi.FH = s.files.Put(&servedFile{name: local(path), f: f})
	return nil
}

func (s *served) release(_ *Context, _ string, fi *FileInfo) error {
	o, ok := s.files.Take(fi.FH)
	if !ok {
		return syscall.EBADF
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.f.Close()
}

func (s *served) read(_ *Context, _ string, p []byte, off int64, fi *FileInfo) (int, error) {
	o, ok := s.files.Get(fi.FH)
	if !ok {
		return 0, syscall.EBADF
	}
	if r, ok := o.f.(io.ReaderAt); ok { // never replaced, see seek
		n, err := r.ReadAt(p, off)
		return n, noEOF(n, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.seek(s.fsys, off); err != nil {
		return 0, noEOF(0, err)
	}
	n, err := io.ReadFull(o.f, p)
	o.at += int64(n)
	return n, noEOF(n, err)
}

// noEOF is err, unless that only says that the file has ended, or there are data.
func noEOF(n int, err error) error {
	if n > 0 || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// seek goes to an offset, with what the file can do.
func (o *servedFile) seek(fsys fs.FS, off int64) error {
	if o.at == off {
		return nil
	}
	if sk, ok := o.f.(io.Seeker); ok {
		if _, err := sk.Seek(off, io.SeekStart); err == nil {
			o.at = off
			return nil
		}
	}
	if off < o.at {
		f, err := fsys.Open(o.name)
		if err != nil {
			return err
		}
		o.f.Close()
		o.f, o.at = f, 0
	}
	n, err := io.CopyN(io.Discard, o.f, off-o.at)
	o.at += n
	return err
}

func (s *served) readdir(_ *Context, path string, fill Filler, _ uint64, _ *FileInfo, plus bool) error {
	list, err := fs.ReadDir(s.fsys, local(path))
	if err != nil && len(list) == 0 {
		return err
	}
	self := Stat{Mode: syscall.S_IFDIR}
	fill.Add(".", &self, 0)
	fill.Add("..", &self, 0)
	for _, e := range list {
		st := Stat{Mode: modeOf(e.Type())}
		full := false
		if plus {
			if info, err := e.Info(); err == nil {
				statOf(info, &st)
				full = true
			}
		}
		add := fill.Add
		if full {
			add = fill.AddPlus
		}
		if !add(e.Name(), &st, 0) {
			break
		}
	}
	return nil
}
