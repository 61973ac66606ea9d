//go:build linux

package fusetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
)

func (c *conformity) mmap() {
	p := c.write("f", strings.Repeat("a", 10000))
	f := c.open("f", os.O_RDWR)
	m, err := syscall.Mmap(int(f.Fd()), 0, 10000, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if errors.Is(err, syscall.ENODEV) { // a file system that bypasses the page cache
		return
	}
	c.ok(err)
	same(c, string(m[9990:]), strings.Repeat("a", 10), "the mapping")
	copy(m[5000:], "mapped")
	c.holds(p, strings.Repeat("a", 5000)+"mapped"+strings.Repeat("a", 4994))
	_, err = f.WriteAt([]byte("written"), 0)
	c.ok(err)
	same(c, string(m[:7]), "written", "the mapping")
	c.ok(syscall.Munmap(m))
	c.ok(f.Sync())
	c.ok(f.Close())
	c.holds(p, "written"+strings.Repeat("a", 4993)+"mapped"+strings.Repeat("a", 4994))
}

func (c *conformity) fifo() {
	p := c.path("fifo")
	if err := syscall.Mkfifo(p, 0o600); lacks(err) {
		return
	} else {
		c.ok(err)
	}
	same(c, c.stat(p).Mode, syscall.S_IFIFO|0o600, "the mode")
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	c.ok(err)
	defer f.Close()
	_, err = f.WriteString("through")
	c.ok(err)
	b := make([]byte, 7)
	_, err = io.ReadFull(f, b)
	c.ok(err)
	same(c, string(b), "through", "what comes out")
}

func (c *conformity) tmpfile() {
	f, err := os.OpenFile(c.dir, sys.OTmpfile|os.O_RDWR, 0o600)
	if lacks(err) {
		return
	}
	c.ok(err)
	defer f.Close()
	_, err = f.WriteString("nameless")
	c.ok(err)
	entries, err := os.ReadDir(c.dir)
	c.ok(err)
	same(c, len(entries), 0, "the number of entries")
	var st syscall.Stat_t
	c.ok(syscall.Fstat(int(f.Fd()), &st))
	same(c, uint64(st.Nlink), 0, "the number of links")
	same(c, st.Size, 8, "the size")
}

func (c *conformity) fallocate() {
	f := c.open("f", os.O_CREATE|os.O_RDWR)
	if err := sys.Fallocate(int(f.Fd()), 0, 0, 8192); lacks(err) {
		return
	} else {
		c.ok(err)
	}
	same(c, c.stat(c.path("f")).Size, 8192, "the size")
}

func (c *conformity) statfs() {
	var st syscall.Statfs_t
	c.ok(syscall.Statfs(c.dir, &st))
	if st.Bsize <= 0 || st.Bfree > st.Blocks || st.Namelen < 1 {
		c.Errorf("%+v", st)
	}
}

func (c *conformity) largeIO() {
	data := make([]byte, 5<<20+123)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	p := c.path("f")
	c.ok(os.WriteFile(p, data, 0o644))
	got, err := os.ReadFile(p)
	c.ok(err)
	if !bytes.Equal(got, data) {
		c.Error("what was written is not what is read")
	}
	f := c.open("f", os.O_RDWR)
	for off := int64(1); off < int64(len(data)); off += 700_001 {
		copy(data[off:], "patched")
		_, err := f.WriteAt([]byte("patched")[:min(7, int64(len(data))-off)], off)
		c.ok(err)
	}
	c.ok(f.Sync())
	got, err = os.ReadFile(p)
	c.ok(err)
	if !bytes.Equal(got, data) {
		c.Error("what was patched is not what is read")
	}
}

func (c *conformity) notDirectory() {
	c.write("f", "")
	_, err := os.Lstat(c.path("f/x"))
	c.fails(err, syscall.ENOTDIR)
	c.fails(syscall.Mkdir(c.path("f/x"), 0o755), syscall.ENOTDIR)
	_, err = os.ReadDir(c.path("f"))
	c.fails(err, syscall.ENOTDIR)
	c.fails(syscall.Link(c.path("f"), c.path("f/x")), syscall.ENOTDIR)
	c.fails(syscall.Rename(c.path("f"), c.path("f/x")), syscall.ENOTDIR, syscall.EINVAL)
}
