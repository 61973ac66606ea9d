//go:build linux

package highlevel

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

const root = lowlevel.RootID

func TestHiddenFiles(t *testing.T) {
	m := newMemFS()
	f, k := start(t, m.ops(), nil)
	e, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	h2, err := k.Open(e.NodeID, os.O_RDWR)
	require.NoError(t, err)
	m.log = true
	require.NoError(t, k.Unlink(root, "x"))
	require.Equal(t, []string{"getattr /.fuse_hidden0000000200000001", "rename /x /.fuse_hidden0000000200000001 0"}, m.took())

	// It is still there for who has it, with one link less, and another file may have its name.
	_, err = h.Write(0, []byte("data"))
	require.NoError(t, err)
	data, err := h2.Read(0, 10)
	require.NoError(t, err)
	require.Equal(t, "data", string(data))
	st, err := k.Getattr(e.NodeID)
	require.NoError(t, err)
	require.Zero(t, st.Nlink)
	_, err = k.Lookup(root, "x")
	require.Equal(t, syscall.ENOENT, err)
	_, h3, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)

	require.NoError(t, h.Close())
	m.took()
	require.NoError(t, h2.Close())
	require.Equal(t, []string{"release /.fuse_hidden0000000200000001", "unlink /.fuse_hidden0000000200000001"}, m.took())
	require.Equal(t, []string{"/x"}, m.tree())
	_, err = k.Getattr(e.NodeID)
	require.Equal(t, syscall.ESTALE, err)

	// A rename over an open file hides that, too. A name that is taken is passed over.
	m.mu.Lock()
	m.root.kids[".fuse_hidden0000000300000002"] = &memFile{}
	m.mu.Unlock()
	_, err = k.Mknod(root, "y", modeRegular|0o644, 0)
	require.NoError(t, err)
	m.took()
	require.NoError(t, k.Rename(root, "y", root, "x", 0))
	require.Equal(t, []string{
		"getattr /.fuse_hidden0000000300000002", "getattr /.fuse_hidden0000000300000003",
		"rename /x /.fuse_hidden0000000300000003 0", "rename /y /x 0",
	}, m.took())
	require.NoError(t, h3.Close())
	require.Equal(t, []string{"/.fuse_hidden0000000300000002", "/x"}, m.tree())
	require.NoError(t, k.Unlink(root, "x"))

	// What is hidden at the end is unlinked at the end.
	_, _, err = k.Create(root, "z", os.O_RDWR, 0o644)
	require.NoError(t, err)
	require.NoError(t, k.Unlink(root, "z"))
	require.Len(t, m.tree(), 2)
	require.NoError(t, f.Close())
	require.Equal(t, []string{"/.fuse_hidden0000000300000002"}, m.tree())
}

func TestHardRemove(t *testing.T) {
	m := newMemFS()
	_, k := start(t, m.ops(), &Config{HardRemove: true})
	e, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	m.log = true
	require.NoError(t, k.Unlink(root, "x"))
	require.Equal(t, []string{"unlink /x"}, m.took())
	// Operations on the open file have no path any more, others find nothing.
	require.NoError(t, h.Close())
	require.Equal(t, []string{"release "}, m.took())
	_, err = k.Open(e.NodeID, os.O_RDWR)
	require.Equal(t, syscall.ESTALE, err)
}

func TestHideFails(t *testing.T) {
	m := newMemFS()
	ops := m.ops()
	getattr := ops.Getattr
	ops.Getattr = func(c *Context, path string, st *Stat, fi *FileInfo) error {
		if strings.Contains(path, "fuse_hidden") {
			return nil // there is always one
		}
		return getattr(c, path, st, fi)
	}
	_, k := start(t, ops, nil)
	_, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	require.Equal(t, syscall.EBUSY, k.Unlink(root, "x"))
	require.NoError(t, h.Close())
	require.NoError(t, k.Unlink(root, "x"))
}

func TestRename(t *testing.T) {
	m := newMemFS()
	f, k := start(t, m.ops(), nil)
	for _, d := range []string{"a", "b"} {
		_, err := k.Mkdir(root, d, 0o755)
		require.NoError(t, err)
	}
	a, err := k.Lookup(root, "a")
	require.NoError(t, err)
	b, err := k.Lookup(root, "b")
	require.NoError(t, err)
	x, err := k.Mknod(a.NodeID, "x", modeRegular, 0)
	require.NoError(t, err)
	y, err := k.Mknod(b.NodeID, "y", modeRegular, 0)
	require.NoError(t, err)

	path := func(e fusetest.Entry) string {
		f.mu.Lock()
		defer f.mu.Unlock()
		p, ok := f.pathNow(f.byID(e.NodeID), nil)
		if !ok {
			return "?"
		}
		return p
	}
	require.NoError(t, k.Rename(a.NodeID, "x", b.NodeID, "y", wire.RenameExchange))
	require.Equal(t, []string{"/b/y", "/a/x"}, []string{path(x), path(y)})
	require.NoError(t, k.Rename(root, "b", a.NodeID, "sub", 0))
	require.Equal(t, []string{"/a/sub/y", "/a/sub"}, []string{path(x), path(b)})
	require.Equal(t, syscall.EEXIST, k.Rename(b.NodeID, "y", a.NodeID, "x", wire.RenameNoreplace))
	require.NoError(t, k.Rename(b.NodeID, "y", a.NodeID, "x", 0))
	require.Equal(t, []string{"/a/x", "?"}, []string{path(x), path(y)})
	require.Equal(t, syscall.EINVAL, k.Rename(root, "a", b.NodeID, "c", 0))
	// A source that no lookup has made known takes a known target's name away.
	m.mu.Lock()
	m.root.kids["unknown"] = &memFile{}
	m.mu.Unlock()
	require.NoError(t, k.Rename(root, "unknown", a.NodeID, "x", 0))
	require.Equal(t, "?", path(x))
	for _, bad := range []string{"", ".", "..", "a/b"} {
		_, err := k.Raw(wire.OpUnlink, root, nil, []byte(bad+"\x00"))
		require.Equal(t, syscall.EINVAL, err)
	}
	k.ForgetAll()
	f.nodes(t, 1)
}

func TestLookupDots(t *testing.T) {
	m := newMemFS()
	_, k := start(t, m.ops(), nil)
	a, err := k.Mkdir(root, "a", 0o755)
	require.NoError(t, err)
	b, err := k.Mkdir(a.NodeID, "b", 0o755)
	require.NoError(t, err)
	e, err := k.Lookup(b.NodeID, ".")
	require.NoError(t, err)
	require.Equal(t, b.NodeID, e.NodeID)
	e, err = k.Lookup(b.NodeID, "..")
	require.NoError(t, err)
	require.Equal(t, a.NodeID, e.NodeID)
	_, err = k.Lookup(root, "..")
	require.Equal(t, syscall.ENOENT, err)
	_, err = k.Lookup(77, ".")
	require.Equal(t, syscall.ESTALE, err)
	k.ForgetAll()
}

// dirOps is a directory of 50 files, listed with offsets or without.
func dirOps(m *memFS, offsets, plus bool, calls *[]uint64) *Operations {
	ops := m.ops()
	var files []string
	for i := range 50 {
		name := "file" + string(rune('A'+i))
		files = append(files, name)
		m.root.kids[name] = &memFile{data: make([]byte, i)}
	}
	ops.Readdir = func(_ *Context, path string, fill Filler, off uint64, fi *FileInfo, _ bool) error {
		*calls = append(*calls, off)
		list := append([]string{".", ".."}, files...)
		for i, name := range list[off:] {
			next := uint64(0)
			if offsets {
				next = off + uint64(i) + 1
			}
			add := fill.Add
			if plus {
				add = fill.AddPlus
			}
			st := Stat{Mode: modeDir, Ino: 7}
			if len(name) > 2 {
				m.stat(m.root.kids[name], &st)
				st.Ino = 4711
			}
			if !add(name, &st, next) {
				break
			}
		}
		return nil
	}
	return ops
}

func TestReaddir(t *testing.T) {
	for _, offsets := range []bool{true, false} {
		for _, plus := range []bool{true, false} {
			var calls []uint64
			m := newMemFS()
			f, k := start(t, dirOps(m, offsets, plus, &calls), nil)
			d, err := k.Opendir(root)
			require.NoError(t, err)
			list := func(read func(uint64, int) ([]fusetest.Dirent, error), off uint64) (got []fusetest.Dirent) {
				for {
					part, err := read(off, 1000)
					require.NoError(t, err)
					if len(part) == 0 {
						return got
					}
					got = append(got, part...)
					off = part[len(part)-1].Off
				}
			}
			got := list(d.Readdir, 0)
			require.Len(t, got, 52)
			for i, e := range got {
				require.EqualValues(t, i+1, e.Off)
				require.Equal(t, uint64(unknownIno), e.Ino)
			}
			require.Equal(t, []string{".", "..", "fileA"}, []string{got[0].Name, got[1].Name, got[2].Name})
			require.EqualValues(t, modeDir>>12, got[0].Type)
			require.EqualValues(t, modeRegular>>12, got[9].Type)
			if !offsets {
				require.Equal(t, []uint64{0}, calls, "listed once")
			}
			f.nodes(t, 1)

			// Seeking back gives the same, and reading from the start reads anew.
			require.Equal(t, got[10:], list(d.Readdir, 10))
			calls = nil
			list(d.Readdir, 0)
			require.EqualValues(t, 0, calls[0])

			// READDIRPLUS counts a lookup for each entry that it gives in full, and for no other.
			got = list(d.Readdirplus, 0)
			require.Len(t, got, 52)
			want := 1
			if plus {
				want = 51
				require.EqualValues(t, got[9].Plus.NodeID, got[9].Ino)
				require.EqualValues(t, 1, k.Lookups(got[9].Plus.NodeID))
				require.NotZero(t, got[3].Plus.Attr.Size)
			} else {
				require.Nil(t, got[9].Plus)
			}
			require.Nil(t, got[0].Plus)
			f.nodes(t, want)
			require.NoError(t, d.Close())
			k.ForgetAll()
			f.nodes(t, 1)
		}
	}
}

func TestReaddirInodeNumbers(t *testing.T) {
	for _, c := range []struct {
		cfg    Config
		a, dot uint64
	}{{Config{UseIno: true}, 4711, 7}, {Config{ReaddirIno: true}, 2, unknownIno}, {Config{}, unknownIno, unknownIno}} {
		var calls []uint64
		_, k := start(t, dirOps(newMemFS(), true, false, &calls), &c.cfg)
		_, err := k.Lookup(root, "fileA")
		require.NoError(t, err)
		d, err := k.Opendir(root)
		require.NoError(t, err)
		list, err := d.ReadAll(4096)
		require.NoError(t, err)
		require.Equal(t, c.dot, list[0].Ino)
		require.Equal(t, c.a, list[2].Ino)
		require.NoError(t, d.Close())
	}
}

func TestReaddirMistakes(t *testing.T) {
	m := newMemFS()
	ops := m.ops()
	var how func(fill Filler) error
	ops.Readdir = func(_ *Context, _ string, fill Filler, _ uint64, _ *FileInfo, _ bool) error { return how(fill) }
	f, k := start(t, ops, nil)
	d, err := k.Opendir(root)
	require.NoError(t, err)
	for _, both := range []func(Filler) error{
		func(fill Filler) error { fill.Add("a", nil, 0); fill.Add("b", nil, 1); return nil },
		func(fill Filler) error { fill.Add("a", nil, 1); fill.Add("b", nil, 0); return nil },
	} {
		how = both
		_, err = d.Readdir(0, 4096)
		require.Equal(t, syscall.EIO, err, "offsets for some entries only")
	}
	how = func(fill Filler) error {
		fill.AddPlus("a", &Stat{Mode: modeRegular}, 1)
		return fs.ErrPermission
	}
	_, err = d.Readdirplus(0, 4096)
	require.Equal(t, syscall.EACCES, err)
	f.nodes(t, 1) // the lookup is taken back
	require.NoError(t, d.Close())
	_, err = k.Raw(wire.OpReaddir, root, make([]byte, 40), nil)
	require.Equal(t, syscall.EBADF, err)
}

func TestRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := New(&Operations{}, &Config{Remember: 100 * time.Second}, nil)
		require.NoError(t, err)
		a, b := f.mk("a"), f.mk("a", "b")
		f.StartCleanup()
		f.forget(b.nodeID(), 1)
		f.forget(a.nodeID(), 1)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 3, f.ids.used)
		f.mk("a", "b") // known again, with the same number
		require.Equal(t, b.nodeID(), f.mk("a", "b").nodeID())
		f.mu.Lock()
		f.lookedUp(a, "b")
		f.mu.Unlock()
		time.Sleep(200 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 3, f.ids.used, "b is in use, and a has b")
		f.forget(b.nodeID(), 1)
		time.Sleep(300 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, f.ids.used)
		f.StopCleanup()
		f.StopCleanup()
		require.Equal(t, time.Minute, f.CleanCache())
	})
	f, err := New(&Operations{}, &Config{Remember: -1}, nil)
	require.NoError(t, err)
	n := f.mk("a")
	f.forget(n.nodeID(), 1)
	f.CleanCache()
	require.Same(t, n, f.mk("a"), "for ever")
	f.mu.Lock()
	f.unlinked(n)
	f.mu.Unlock()
	f.forget(n.nodeID(), 1)
	require.EqualValues(t, 1, f.ids.used, "but not without a name")
	require.Equal(t, time.Hour, (&FS{cfg: Config{Remember: 1000 * time.Hour}}).CleanCache())
}

func TestAttributes(t *testing.T) {
	for _, c := range []struct {
		words string
		file  uint32
		dir   uint32
	}{
		{"umask=022", 0o755, 0o755}, {"umask=022,fmask=0177", 0o600, 0o755}, {"umask=022,dmask=077", 0o755, 0o700},
		{"fmask=0111,dmask=0007", 0o666, 0o770}, {"", 0o4711, 0o1777},
	} {
		var cfg Config
		for _, w := range strings.Split(c.words, ",") {
			if w != "" {
				known, err := cfg.ParseOption(w)
				require.NoError(t, err)
				require.True(t, known)
			}
		}
		st := Stat{Mode: modeRegular | 0o4711, Ino: 99}
		cfg.rewrite(5, &st)
		require.Equal(t, modeRegular|c.file, st.Mode, c.words)
		require.EqualValues(t, 5, st.Ino)
		st = Stat{Mode: modeDir | 0o1777}
		cfg.rewrite(5, &st)
		require.Equal(t, modeDir|c.dir, st.Mode, c.words)
	}
	cfg := Config{SetUID: true, UID: 7, SetGID: true, GID: 8, UseIno: true}
	st := Stat{Ino: 99}
	cfg.rewrite(5, &st)
	require.Equal(t, Stat{Ino: 99, UID: 7, GID: 8}, st)
}

func TestAutoCache(t *testing.T) {
	m := newMemFS()
	_, k := start(t, m.ops(), &Config{AutoCache: true, ACAttrTimeout: NoTimeout})
	e, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	require.NoError(t, h.Close())
	keeps := func() bool {
		h, err := k.Open(e.NodeID, os.O_RDWR)
		require.NoError(t, err)
		defer h.Close()
		return h.OpenFlags&wire.FopenKeepCache != 0
	}
	require.False(t, keeps(), "nothing is cached yet")
	require.True(t, keeps())
	h, err = k.Open(e.NodeID, os.O_RDWR)
	require.NoError(t, err)
	_, err = h.Write(0, []byte("more"))
	require.NoError(t, err)
	require.NoError(t, h.Close())
	require.False(t, keeps(), "size and time have changed")
	require.True(t, keeps())
	m.mu.Lock()
	m.root.kids["x"].time.Nsec++
	m.mu.Unlock()
	_, err = k.Getattr(e.NodeID)
	require.NoError(t, err)
	require.False(t, keeps(), "a Getattr has seen another time")
}

func TestOpenFlags(t *testing.T) {
	_, k := start(t, newMemFS().ops(), &Config{DirectIO: true, KernelCache: true, ParallelDirectWrites: true, NoRofdFlush: true})
	e, h, err := k.Create(root, "x", os.O_RDWR, 0o644)
	require.NoError(t, err)
	const all = wire.FopenDirectIO | wire.FopenKeepCache | wire.FopenParallelDirectWrites
	require.Equal(t, all, h.OpenFlags)
	ro, err := k.Open(e.NodeID, os.O_RDONLY)
	require.NoError(t, err)
	require.Equal(t, all|wire.FopenNoflush, ro.OpenFlags)
}

func TestNegativeEntries(t *testing.T) {
	_, k := start(t, newMemFS().ops(), &Config{NegativeTimeout: 3 * time.Second})
	e, err := k.Lookup(root, "none")
	require.NoError(t, err)
	require.Zero(t, e.NodeID)
	require.Equal(t, 3*time.Second, e.EntryTimeout)
}

func TestSetattrOrder(t *testing.T) {
	var calls []string
	ops := &Operations{
		Getattr: func(_ *Context, _ string, st *Stat, _ *FileInfo) error {
			calls = append(calls, "getattr")
			st.Mode = modeDir
			return nil
		},
		Chmod: func(*Context, string, uint32, *FileInfo) error { calls = append(calls, "chmod"); return nil },
		Chown: func(_ *Context, _ string, uid, gid uint32, _ *FileInfo) error {
			calls = append(calls, "chown")
			if uid != KeepID || gid != 5 {
				return errors.New("wrong ids")
			}
			return nil
		},
		Truncate: func(*Context, string, int64, *FileInfo) error {
			calls = append(calls, "truncate")
			return syscall.Errno(0)
		},
		Utimens: func(_ *Context, _ string, a, m Time, _ *FileInfo) error {
			calls = append(calls, "utimens")
			if a.Nsec != UtimeNow || m.Nsec != UtimeOmit {
				return errors.New("wrong times")
			}
			return nil
		},
	}
	_, k := start(t, ops, nil)
	in := wire.SetattrIn{Valid: uint32(wire.FattrMode | wire.FattrGID | wire.FattrSize | wire.FattrAtime | wire.FattrAtimeNow), GID: 5}
	_, err := k.Setattr(root, in)
	require.NoError(t, err)
	require.Equal(t, []string{"chmod", "chown", "truncate", "utimens", "getattr"}, calls)
	calls = nil
	in.GID = 6
	_, err = k.Setattr(root, in)
	require.Equal(t, syscall.EIO, err, "an error without an errno")
	require.Equal(t, []string{"chmod", "chown"}, calls)
}
