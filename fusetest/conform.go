//go:build linux

package fusetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
)

// Conform checks the file system that is mounted on dir against POSIX, one subtest for each subject. It works in directories of its
// own in dir, which it removes. What a file system may lack and says so by EPERM, ENOTSUP, ENOSYS or EINVAL (hard links, special
// files, extended attributes, O_TMPFILE, RENAME_EXCHANGE, fallocate) is not held against it. Each subtest is watched: see Watch.
func Conform(t *testing.T, dir string) {
	for _, c := range conformTests {
		t.Run(c.name, func(t *testing.T) {
			Watch(t, 2*patient, func() {
				d := filepath.Join(dir, "conform."+c.name)
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := os.RemoveAll(d); err != nil {
						t.Error(err)
					}
				}()
				c.test(&conformity{T: t, dir: d})
			})
		})
	}
}

var conformTests = []struct {
	name string
	test func(*conformity)
}{
	{"create", (*conformity).create}, {"open-flags", (*conformity).openFlags}, {"append", (*conformity).append},
	{"truncate", (*conformity).truncate}, {"sparse", (*conformity).sparse}, {"names", (*conformity).names},
	{"mkdir", (*conformity).mkdir}, {"unlink", (*conformity).unlink}, {"unlink-open", (*conformity).unlinkOpen},
	{"rename", (*conformity).rename}, {"rename-directory", (*conformity).renameDirectory}, {"rename-flags", (*conformity).renameFlags},
	{"link", (*conformity).link}, {"symlink", (*conformity).symlink}, {"readdir", (*conformity).readdir}, {"seekdir", (*conformity).seekdir},
	{"times", (*conformity).times}, {"mode", (*conformity).mode}, {"mmap", (*conformity).mmap}, {"fifo", (*conformity).fifo},
	{"tmpfile", (*conformity).tmpfile}, {"fallocate", (*conformity).fallocate}, {"statfs", (*conformity).statfs}, {"large-io", (*conformity).largeIO},
	{"not-a-directory", (*conformity).notDirectory},
}

// conformity is one subtest.
type conformity struct {
	*testing.T
	dir string
}

func (c *conformity) path(name string) string { return filepath.Join(c.dir, name) }

// ok ends the test on an error.
func (c *conformity) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// fails checks that an operation was refused as it should be.
func (c *conformity) fails(err error, want ...syscall.Errno) {
	c.Helper()
	if !slices.ContainsFunc(want, func(e syscall.Errno) bool { return errors.Is(err, e) }) {
		c.Errorf("got %v, want %v", err, want)
	}
}

// lacks reports whether a file system says that it does not have something.
func lacks(err error) bool {
	for _, e := range []syscall.Errno{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS, syscall.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func same[T comparable](c *conformity, got, want T, what string) {
	c.Helper()
	if got != want {
		c.Errorf("%s is %v, want %v", what, got, want)
	}
}

func (c *conformity) write(name, data string) string {
	c.Helper()
	c.ok(os.WriteFile(c.path(name), []byte(data), 0o644))
	return c.path(name)
}

func (c *conformity) holds(path, want string) {
	c.Helper()
	got, err := os.ReadFile(path)
	c.ok(err)
	if string(got) != want {
		c.Errorf("%s holds %.60q, want %.60q", filepath.Base(path), got, want)
	}
}

func (c *conformity) open(name string, flags int) *os.File {
	c.Helper()
	f, err := os.OpenFile(c.path(name), flags, 0o644)
	c.ok(err)
	c.Cleanup(func() { f.Close() })
	return f
}

func (c *conformity) stat(path string) *syscall.Stat_t {
	c.Helper()
	var st syscall.Stat_t
	c.ok(os.NewSyscallError("lstat "+path, syscall.Lstat(path, &st)))
	return &st
}

func (c *conformity) missing(path string) {
	c.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		c.Errorf("%s: %v, want it to be gone", filepath.Base(path), err)
	}
}

func (c *conformity) create() {
	f := c.open("f", os.O_CREATE|os.O_EXCL|os.O_RDWR)
	st := c.stat(c.path("f"))
	same(c, st.Mode&syscall.S_IFMT, syscall.S_IFREG, "the type")
	same(c, st.Size, 0, "the size")
	same(c, uint64(st.Nlink), 1, "the number of links")
	same(c, st.Uid, uint32(os.Geteuid()), "the owner")
	_, err := os.OpenFile(c.path("f"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	c.fails(err, syscall.EEXIST)
	_, err = os.OpenFile(c.path("no/f"), os.O_CREATE|os.O_RDWR, 0o644)
	c.fails(err, syscall.ENOENT)
	_, err = f.WriteAt([]byte("data"), 2)
	c.ok(err)
	c.holds(c.path("f"), "\x00\x00data")
	c.ok(f.Close())
	c.open("f", os.O_CREATE|os.O_RDWR) // without O_EXCL it is opened
	c.holds(c.path("f"), "\x00\x00data")
	_, err = os.Open(c.path("missing"))
	c.fails(err, syscall.ENOENT)
}

func (c *conformity) openFlags() {
	p := c.write("f", "something")
	c.open("f", os.O_WRONLY|os.O_TRUNC).Close()
	c.holds(p, "")
	r := c.open("f", os.O_RDONLY)
	_, err := r.Write([]byte("x"))
	c.fails(err, syscall.EBADF)
	w := c.open("f", os.O_WRONLY)
	_, err = w.Read(make([]byte, 1))
	c.fails(err, syscall.EBADF)
	_, err = os.OpenFile(c.path("f"), syscall.O_DIRECTORY, 0)
	c.fails(err, syscall.ENOTDIR)
	_, err = os.OpenFile(c.dir, os.O_WRONLY, 0)
	c.fails(err, syscall.EISDIR)
	c.ok(os.Symlink("f", c.path("l")))
	_, err = os.OpenFile(c.path("l"), syscall.O_NOFOLLOW, 0)
	c.fails(err, syscall.ELOOP)
	_, err = os.OpenFile(c.path("l"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	c.fails(err, syscall.EEXIST)
}

func (c *conformity) append() {
	p := c.write("f", "start")
	a, b := c.open("f", os.O_WRONLY|os.O_APPEND), c.open("f", os.O_WRONLY|os.O_APPEND)
	for _, w := range []struct {
		f    *os.File
		text string
	}{{a, "-a"}, {b, "-b"}, {a, "-c"}} {
		_, err := w.f.WriteString(w.text)
		c.ok(err)
	}
	c.holds(p, "start-a-b-c")
}

func (c *conformity) truncate() {
	p := c.write("f", "0123456789")
	c.ok(os.Truncate(p, 4))
	c.holds(p, "0123")
	c.ok(os.Truncate(p, 6))
	c.holds(p, "0123\x00\x00")
	f := c.open("f", os.O_RDWR)
	c.ok(f.Truncate(2))
	c.ok(f.Truncate(9000))
	c.holds(p, "01"+strings.Repeat("\x00", 8998))
	c.fails(os.Truncate(c.dir, 0), syscall.EISDIR)
	c.fails(os.Truncate(p, -1), syscall.EINVAL)
	c.fails(os.Truncate(c.path("missing"), 0), syscall.ENOENT)
}

func (c *conformity) sparse() {
	f := c.open("f", os.O_CREATE|os.O_RDWR)
	const far = 1 << 20
	_, err := f.WriteAt([]byte("end"), far)
	c.ok(err)
	same(c, c.stat(c.path("f")).Size, far+3, "the size")
	b := make([]byte, 4096)
	_, err = f.ReadAt(b, far/2)
	c.ok(err)
	same(c, bytes.Count(b, []byte{0}), len(b), "the number of zeros in a hole")
	n, err := f.ReadAt(b, far+1)
	same(c, n, 2, "the length of a read at the end")
	same(c, err, io.EOF, "its error")
	n, err = f.ReadAt(b, far+100)
	same(c, n, 0, "the length of a read behind the end")
	same(c, err, io.EOF, "its error")
	off, err := f.Seek(0, 4) // SEEK_HOLE
	c.ok(err)
	if off < 0 || off > far+3 {
		c.Errorf("the first hole is at %d", off)
	}
	_, err = f.Seek(far+100, 3) // SEEK_DATA
	c.fails(err, syscall.ENXIO)
}

func (c *conformity) names() {
	var all []byte
	for b := 1; b < 256; b++ {
		if b != '/' {
			all = append(all, byte(b))
		}
	}
	list := []string{"a b", "ä", "\xff\xfe", ".hidden", "...", strings.Repeat("n", 255), string(all[:120]), string(all[120:]), "tab\tnewline\n"}
	for _, name := range list {
		c.write(name, name)
	}
	for _, name := range list {
		c.holds(c.path(name), name)
	}
	entries, err := os.ReadDir(c.dir)
	c.ok(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(list)
	if !slices.Equal(got, list) {
		c.Errorf("the directory lists %q, want %q", got, list)
	}
	err = os.WriteFile(c.path(strings.Repeat("n", 256)), nil, 0o644)
	if err != nil {
		c.fails(err, syscall.ENAMETOOLONG)
	}
}

func (c *conformity) mkdir() {
	links := func() int { return int(c.stat(c.dir).Nlink) }
	before := links()
	c.ok(os.Mkdir(c.path("d"), 0o750))
	same(c, c.stat(c.path("d")).Mode, syscall.S_IFDIR|0o750, "the mode")
	if before > 1 { // some file systems count no directories
		same(c, links(), before+1, "the number of links of the parent")
	}
	c.fails(os.Mkdir(c.path("d"), 0o750), syscall.EEXIST)
	c.fails(os.Mkdir(c.path("no/d"), 0o750), syscall.ENOENT)
	c.write("d/f", "")
	c.fails(syscall.Rmdir(c.path("d")), syscall.ENOTEMPTY, syscall.EEXIST)
	c.ok(os.Remove(c.path("d/f")))
	c.ok(syscall.Rmdir(c.path("d")))
	c.missing(c.path("d"))
	c.fails(syscall.Rmdir(c.path("d")), syscall.ENOENT)
	c.fails(syscall.Rmdir(c.write("f", "")), syscall.ENOTDIR)
	if before > 1 {
		same(c, links(), before, "the number of links of the parent")
	}
}

func (c *conformity) unlink() {
	p := c.write("f", "x")
	c.ok(syscall.Unlink(p))
	c.missing(p)
	c.fails(syscall.Unlink(p), syscall.ENOENT)
	c.ok(os.Mkdir(c.path("d"), 0o755))
	c.fails(syscall.Unlink(c.path("d")), syscall.EISDIR, syscall.EPERM)
	c.write("f", "new")
	c.holds(p, "new")
}

func (c *conformity) unlinkOpen() {
	p := c.write("f", "kept")
	f := c.open("f", os.O_RDWR)
	c.ok(os.Remove(p))
	c.missing(p)
	c.write("f", "another")
	b := make([]byte, 10)
	n, _ := f.ReadAt(b, 0)
	same(c, string(b[:n]), "kept", "what an unlinked file holds")
	_, err := f.WriteAt([]byte("!"), 4)
	c.ok(err)
	var st syscall.Stat_t
	c.ok(syscall.Fstat(int(f.Fd()), &st))
	same(c, st.Size, 5, "the size of an unlinked file")
	same(c, uint64(st.Nlink), 0, "its number of links")
	c.ok(f.Truncate(1))
	c.ok(f.Close())
	c.holds(p, "another")
}

func (c *conformity) rename() {
	a, b := c.write("a", "A"), c.path("b")
	ino := c.stat(a).Ino
	c.ok(os.Rename(a, b))
	c.missing(a)
	c.holds(b, "A")
	same(c, c.stat(b).Ino, ino, "the inode number")
	c.write("a", "A2")
	f := c.open("b", os.O_RDONLY)
	c.ok(os.Rename(a, b)) // over an open file
	c.holds(b, "A2")
	old, err := io.ReadAll(f)
	c.ok(err)
	same(c, string(old), "A", "what the replaced file holds")
	c.ok(os.Rename(b, b))
	c.holds(b, "A2")
	c.fails(syscall.Rename(a, b), syscall.ENOENT)
	c.fails(syscall.Rename(b, c.path("no/b")), syscall.ENOENT)
	c.ok(os.Mkdir(c.path("d"), 0o755))
	c.fails(syscall.Rename(b, c.path("d")), syscall.EISDIR)
	c.fails(syscall.Rename(c.path("d"), b), syscall.ENOTDIR)
	c.ok(os.Rename(b, c.path("d/b")))
	c.holds(c.path("d/b"), "A2")
}

func (c *conformity) renameDirectory() {
	c.ok(os.MkdirAll(c.path("a/sub"), 0o755))
	c.write("a/sub/f", "deep")
	c.ok(os.Rename(c.path("a"), c.path("b")))
	c.holds(c.path("b/sub/f"), "deep")
	c.ok(os.Mkdir(c.path("empty"), 0o755))
	c.ok(syscall.Rename(c.path("b"), c.path("empty"))) // os.Rename would refuse
	c.holds(c.path("empty/sub/f"), "deep")
	c.ok(os.Mkdir(c.path("full"), 0o755))
	c.write("full/f", "")
	c.fails(syscall.Rename(c.path("empty"), c.path("full")), syscall.ENOTEMPTY, syscall.EEXIST)
	c.fails(syscall.Rename(c.path("empty"), c.path("empty/sub/x")), syscall.EINVAL)
	c.ok(os.Rename(c.path("empty/sub"), c.path("sub")))
	same(c, c.stat(c.path("sub/..")).Ino, c.stat(c.dir).Ino, "the parent's inode number")
}

func (c *conformity) renameFlags() {
	a, b := c.write("a", "A"), c.write("b", "B")
	rename := func(from, to string, flags uint32) error { return sys.Rename2(from, to, flags) }
	if err := rename(a, b, 1); lacks(err) { // RENAME_NOREPLACE
		return
	} else {
		c.fails(err, syscall.EEXIST)
	}
	c.ok(rename(a, c.path("c"), 1))
	c.missing(a)
	if err := rename(c.path("c"), b, 2); lacks(err) { // RENAME_EXCHANGE
		return
	} else {
		c.ok(err)
	}
	c.holds(c.path("c"), "B")
	c.holds(b, "A")
	c.fails(rename(b, c.path("missing"), 2), syscall.ENOENT)
}

func (c *conformity) link() {
	a, b := c.write("a", "one"), c.path("b")
	if err := os.Link(a, b); lacks(err) {
		return
	} else {
		c.ok(err)
	}
	same(c, uint64(c.stat(a).Nlink), 2, "the number of links")
	same(c, c.stat(a).Ino, c.stat(b).Ino, "the inode number")
	c.fails(syscall.Link(a, b), syscall.EEXIST)
	c.fails(syscall.Link(c.path("missing"), c.path("x")), syscall.ENOENT)
	c.ok(os.WriteFile(b, []byte("two!"), 0o644))
	c.holds(a, "two!")
	c.ok(os.Rename(a, b)) // links to one inode: nothing happens
	c.holds(a, "two!")
	c.ok(os.Remove(a))
	c.holds(b, "two!")
	same(c, uint64(c.stat(b).Nlink), 1, "the number of links")
}

func (c *conformity) symlink() {
	target := strings.Repeat("t", 1000)
	c.ok(os.Symlink(target, c.path("long")))
	got, err := os.Readlink(c.path("long"))
	c.ok(err)
	same(c, got, target, "the target")
	same(c, c.stat(c.path("long")).Size, 1000, "the size")
	c.write("f", "data")
	c.ok(os.Symlink("f", c.path("l")))
	c.holds(c.path("l"), "data")
	c.fails(syscall.Symlink("x", c.path("l")), syscall.EEXIST)
	c.ok(os.Symlink("loop", c.path("loop")))
	_, err = os.Open(c.path("loop"))
	c.fails(err, syscall.ELOOP)
	_, err = os.Readlink(c.path("f"))
	c.fails(err, syscall.EINVAL)
	c.ok(os.Remove(c.path("l")))
	c.holds(c.path("f"), "data")
}

func (c *conformity) readdir() {
	want := make(map[string]bool)
	for i := range 500 {
		name := fmt.Sprintf("entry %03d %s", i, strings.Repeat("x", i%100))
		if i%50 == 0 {
			c.ok(os.Mkdir(c.path(name), 0o755))
		} else {
			c.write(name, "")
		}
		want[name] = i%50 == 0
	}
	entries, err := os.ReadDir(c.dir)
	c.ok(err)
	same(c, len(entries), len(want), "the number of entries")
	for _, e := range entries {
		if dir, ok := want[e.Name()]; !ok || dir != e.IsDir() {
			c.Errorf("entry %q, directory: %v", e.Name(), e.IsDir())
		}
	}
	// What is there all the time is listed once, whatever else comes and goes.
	d, err := os.Open(c.dir)
	c.ok(err)
	defer d.Close()
	seen := make(map[string]int)
	removed := make(map[string]bool)
	for i := 0; ; i++ {
		list, err := d.Readdirnames(50)
		if err == io.EOF {
			break
		}
		c.ok(err)
		for _, name := range list {
			seen[name]++
		}
		c.ok(os.RemoveAll(c.path(list[0])))
		removed[list[0]] = true
		if i < 5 { // or the listing may have no end
			c.write(fmt.Sprintf("new %d", i), "")
		}
	}
	for name := range want {
		if !removed[name] && seen[name] != 1 {
			c.Errorf("entry %q was listed %d times", name, seen[name])
		}
	}
}

func (c *conformity) seekdir() {
	for i := range 300 {
		c.write(fmt.Sprintf("entry %03d", i), "")
	}
	d, err := os.Open(c.dir)
	c.ok(err)
	defer d.Close()
	fd := int(d.Fd())
	type pos struct {
		name string
		off  int64
	}
	read := func(size int) (list []pos) {
		buf := make([]byte, size)
		n, err := sys.Getdents(fd, buf)
		c.ok(err)
		for name, off := range sys.DirOffsets(buf[:n]) {
			list = append(list, pos{name, off})
		}
		return list
	}
	var all []pos
	for list := read(1024); len(list) > 0; list = read(1024) {
		all = append(all, list...)
	}
	same(c, len(all), 302, "the number of entries")
	for i := 0; i < len(all)-1; i += 7 {
		_, err := sys.Seek(fd, all[i].off, io.SeekStart)
		c.ok(err)
		if list := read(1024); len(list) == 0 || list[0].name != all[i+1].name {
			c.Errorf("after seeking behind %q: %v, want %q", all[i].name, list, all[i+1].name)
		}
	}
	_, err = sys.Seek(fd, 0, io.SeekStart)
	c.ok(err)
	same(c, read(1024)[0].name, all[0].name, "the first entry after rewinding")
}

func (c *conformity) times() {
	p := c.write("f", "x")
	at, mt := time.Unix(1_000_000_000, 123_456_789), time.Unix(2_000_000_000, 0)
	c.ok(os.Chtimes(p, at, mt))
	st := c.stat(p)
	same(c, int64(st.Atim.Sec), at.Unix(), "the time of access")
	same(c, int64(st.Mtim.Sec), mt.Unix(), "the time of change")
	old := time.Unix(-5, 0)
	c.ok(os.Chtimes(p, old, old))
	same(c, int64(c.stat(p).Mtim.Sec), -5, "a time before 1970")
	c.ok(os.WriteFile(p, []byte("y"), 0o644))
	if m := time.Unix(int64(c.stat(p).Mtim.Sec), 0); time.Since(m) > time.Hour {
		c.Errorf("the time of change after a write is %v", m)
	}
	c.ok(os.Chtimes(c.dir, old, old))
	c.write("g", "")
	if m := time.Unix(int64(c.stat(c.dir).Mtim.Sec), 0); time.Since(m) > time.Hour {
		c.Errorf("the directory's time of change after a new entry is %v", m)
	}
}

func (c *conformity) mode() {
	p := c.write("f", "")
	for _, mode := range []uint32{0, 0o777, 0o4755, 0o1600} {
		c.ok(syscall.Chmod(p, mode))
		same(c, c.stat(p).Mode&0o7777, mode, "the mode")
	}
	if os.Geteuid() == 0 {
		c.ok(os.Chown(p, 1234, 5678))
		st := c.stat(p)
		same(c, st.Uid, 1234, "the owner")
		same(c, st.Gid, 5678, "the group")
		c.ok(os.Chown(p, -1, 1))
		same(c, c.stat(p).Uid, 1234, "the owner")
	}
}
