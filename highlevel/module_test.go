//go:build linux

package highlevel

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/lowlevel"
)

func TestSubdir(t *testing.T) {
	m := newMemFS()
	dir := &memFile{dir: true, mode: 0o755, kids: map[string]*memFile{
		"x":    {data: []byte("in a directory")},
		"link": {link: "/base/dir/sub/y"},
		"sub":  {dir: true, kids: map[string]*memFile{"up": {link: "/base/dir/x"}, "out": {link: "/elsewhere"}, "self": {link: "/base/dir/sub"}}},
	}}
	m.root.kids["base"] = &memFile{dir: true, kids: map[string]*memFile{"dir": dir}}
	_, k := start(t, m.ops(), &Config{Modules: []string{"subdir"}, Options: []string{"subdir=/base/dir", "rellinks"}})
	e, err := k.Lookup(root, "x")
	require.NoError(t, err)
	h, err := k.Open(e.NodeID, os.O_RDONLY)
	require.NoError(t, err)
	data, err := h.Read(0, 100)
	require.NoError(t, err)
	require.Equal(t, "in a directory", string(data))
	require.NoError(t, h.Close())
	sub, err := k.Lookup(root, "sub")
	require.NoError(t, err)
	for name, want := range map[string]string{"up": "../x", "out": "/elsewhere", "self": "."} {
		e, err := k.Lookup(sub.NodeID, name)
		require.NoError(t, err)
		got, err := k.Readlink(e.NodeID)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	e, err = k.Lookup(root, "link")
	require.NoError(t, err)
	got, err := k.Readlink(e.NodeID)
	require.NoError(t, err)
	require.Equal(t, "sub/y", got)
	require.NoError(t, k.Rename(root, "x", sub.NodeID, "z", 0))
	require.Contains(t, m.tree(), "/base/dir/sub/z")
}

func TestModuleErrors(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		err string
	}{
		{Config{Modules: []string{"subdir"}}, "fuse-subdir: missing 'subdir' option"},
		{Config{Modules: []string{"nope"}}, "fuse: there is no module `nope'"},
		{Config{Modules: []string{"iconv"}, Options: []string{"to_code=klingon"}}, "fuse-iconv: cannot convert from UTF-8 to klingon"},
		{Config{Options: []string{"subdir=/"}}, "fuse: unknown option(s): `-o subdir=/'"},
	} {
		_, err := New(&Operations{}, &c.cfg, nil)
		require.EqualError(t, err, c.err)
	}
}

func TestIconv(t *testing.T) {
	m := newMemFS()
	m.root.kids["na\xefve"] = &memFile{data: []byte("latin")} // Latin-1 below
	m.root.kids["plain"] = &memFile{link: "\xe4"}
	_, k := start(t, m.ops(), &Config{Modules: []string{"iconv"}, Options: []string{"from_code=ISO-8859-1", "to_code=UTF-8"}})
	e, err := k.Lookup(root, "naïve")
	require.NoError(t, err)
	require.EqualValues(t, 5, e.Attr.Size)
	_, err = k.Lookup(root, "\xff")
	require.Equal(t, syscall.EILSEQ, err)
	_, err = k.Lookup(root, "日本")
	require.Equal(t, syscall.EILSEQ, err)
	_, err = k.Symlink(root, "ö", "ü")
	require.NoError(t, err)
	require.Equal(t, "\xfc", m.root.kids["\xf6"].link)
	e, err = k.Lookup(root, "plain")
	require.NoError(t, err)
	target, err := k.Readlink(e.NodeID)
	require.NoError(t, err)
	require.Equal(t, "ä", target)
	d, err := k.Opendir(root)
	require.NoError(t, err)
	list, err := d.ReadAll(4096)
	require.NoError(t, err)
	var got []string
	for _, e := range list {
		got = append(got, e.Name)
	}
	require.ElementsMatch(t, []string{".", "..", "naïve", "plain", "ö"}, got)
	require.NoError(t, d.Close())
}

func TestIconvSkipsWhatItCannotShow(t *testing.T) {
	m := newMemFS()
	m.root.kids["ok"] = &memFile{}
	m.root.kids["ä"] = &memFile{}
	t.Setenv("LC_ALL", "C")
	_, k := start(t, m.ops(), &Config{Modules: []string{"iconv"}})
	d, err := k.Opendir(root)
	require.NoError(t, err)
	list, err := d.ReadAll(4096)
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.NoError(t, d.Close())
	for env, want := range map[string]string{"de_DE.ISO-8859-1@euro": "ISO-8859-1", "C.UTF-8": "UTF-8", "C": "ANSI_X3.4-1968"} {
		t.Setenv("LC_ALL", env)
		require.Equal(t, want, LocaleCharset())
	}
}

// TestLayers stacks a module of the caller's own between two others, each with its own private data.
func TestLayers(t *testing.T) {
	m := newMemFS()
	m.root.kids["d"] = &memFile{dir: true, kids: map[string]*memFile{"x": {}}}
	ops := m.ops()
	var order []string
	ops.Init = func(*Conn, *Config) (any, error) { order = append(order, "base"); return "base", nil }
	ops.Destroy = func(private any) { order = append(order, "end "+private.(string)) }
	getattr := ops.Getattr
	ops.Getattr = func(c *Context, path string, st *Stat, fi *FileInfo) error {
		if c.Private != "base" {
			return errors.New("not my private data")
		}
		return getattr(c, path, st, fi)
	}
	mine := func(options *[]string, next *Filesystem) (*Operations, error) {
		takeOptions(options, func(w string) bool { return w == "mine" })
		o := mapped(next, func(p string) (string, error) { return p, nil })
		o.Init = func(conn *Conn, cfg *Config) (any, error) {
			order = append(order, "mine")
			return "mine", next.Init(conn, cfg)
		}
		o.Destroy = func(private any) { order = append(order, "end "+private.(string)); next.Destroy() }
		o.Getattr = func(c *Context, path string, st *Stat, fi *FileInfo) error {
			err := next.Getattr(c, path, st, fi)
			if c.Private != "mine" {
				return errors.New("private data of another layer are left")
			}
			return err
		}
		return o, nil
	}
	f, k := start(t, ops, &Config{
		Modules: []string{"mine", "subdir"}, Factories: map[string]ModuleFactory{"mine": mine}, Options: []string{"mine", "subdir=/d"},
	})
	_, err := k.Lookup(root, "x")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, []string{"mine", "base", "end mine", "end base"}, order)
}

// TestDebug: the topmost layer logs in libfuse's words.
func TestDebug(t *testing.T) {
	var out bytes.Buffer
	m := newMemFS()
	cfg := &Config{}
	cfg.Debug = true
	cfg.Workers = 1
	cfg.Logger = slog.New(lowlevel.NewLineHandler(&out, lowlevel.LevelTrace))
	f, k := start(t, m.ops(), cfg)
	_, err := k.Lookup(root, "x")
	require.Equal(t, syscall.ENOENT, err)
	e, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	_, err = h.Write(3, []byte("abc"))
	require.NoError(t, err)
	require.NoError(t, h.Close())
	require.NoError(t, k.Rename(root, "x", root, "y", 0))
	require.NoError(t, k.Unlink(root, "y"))
	k.Forget(e.NodeID, 1)
	f.nodes(t, 1)
	require.NoError(t, f.Close())
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	at := 0
	for _, want := range []string{
		"LOOKUP /x", "getattr[NULL] /x", "create flags: 0x2 /x 0100644 umask=0000", "   create[0] flags: 0x2 /x", "   NODEID: 2",
		"write[0] 3 bytes to 3 flags: 0x2", "   write[0] 3 bytes to 3", "flush[0]", "release[0] flags: 0x2", "rename /x /y 0x0", "unlink /y",
		"FORGET 2/1", "DELETE: 2",
	} {
		i := slices.Index(lines[at:], want)
		require.GreaterOrEqual(t, i, 0, "%q is not among\n%s", want, strings.Join(lines[at:], "\n"))
		at += i
	}
}

func TestRelativeLink(t *testing.T) {
	for _, c := range [][4]string{
		{"/b/", "/b/l", "/b/x", "x"},
		{"/b/", "/b/d/l", "/b/x", "../x"},
		{"/b/", "/b/d/e/l", "/b//d/x/y", "../x/y"},
		{"/b/", "/b/l", "/bb/x", "/bb/x"},
		{"/b/c/", "/b/c/l", "/b/x", "/b/x"},
		{"/b/", "/b/l", "/b", "."},
	} {
		require.Equal(t, c[3], relativeLink(c[0], c[1], c[2]), c)
	}
}

func FuzzConvert(f *testing.F) {
	f.Add("naïve", "UTF-8", "ISO-8859-1")
	f.Add("\xff\xfe", "UTF-16", "UTF-8")
	f.Add("\x1b$B", "ISO-2022-JP", "US-ASCII")
	f.Fuzz(func(t *testing.T, s, from, to string) {
		a, ok1 := charsetOf(from)
		b, ok2 := charsetOf(to)
		if !ok1 || !ok2 {
			return
		}
		out, err := convert(s, a, b)
		if err != nil {
			require.Equal(t, syscall.EILSEQ, err)
			return
		}
		require.NotContains(t, out, "\x00")
		require.Equal(t, strings.Count(s, "/"), strings.Count(out, "/"), "no path may come apart")
	})
}
