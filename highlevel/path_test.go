//go:build linux

package highlevel

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/purefuse/purefuse/fusetest"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// dentry is what the kernel knows of a name, with the locks that it takes: i_rwsem of directories, which lookups share.
type dentry struct {
	id     lowlevel.NodeID
	dir    bool
	mu     sync.RWMutex
	kidsMu sync.Mutex
	kids   map[string]*dentry
	parent *dentry // under vfs.renames
	dead   bool    // under mu
}

// vfs makes the requests that a kernel makes when many processes work in a mount, and never two that a kernel excludes.
type vfs struct {
	t       *testing.T
	k       *fusetest.Kernel
	root    *dentry
	renames sync.Mutex
}

func (d *dentry) child(name string) *dentry {
	d.kidsMu.Lock()
	defer d.kidsMu.Unlock()
	return d.kids[name]
}

func (d *dentry) set(name string, c *dentry) {
	d.kidsMu.Lock()
	defer d.kidsMu.Unlock()
	if c == nil {
		delete(d.kids, name)
		return
	}
	d.kids[name] = c
}

func (v *vfs) dentry(e fusetest.Entry, parent *dentry) *dentry {
	return &dentry{id: e.NodeID, dir: e.Attr.Mode&syscall.S_IFMT == syscall.S_IFDIR, kids: map[string]*dentry{}, parent: parent}
}

// pick walks down from the root by names that are known.
func (v *vfs) pick(r *rand.Rand, wantDir bool) *dentry {
	d := v.root
	for range r.IntN(6) {
		d.kidsMu.Lock()
		names := slices.Sorted(maps.Keys(d.kids))
		var next *dentry
		if len(names) > 0 {
			next = d.kids[names[r.IntN(len(names))]]
		}
		d.kidsMu.Unlock()
		if next == nil || wantDir && !next.dir {
			break
		}
		d = next
	}
	return d
}

var names = []string{"a", "b", "c", "d", "e"}

// step does one random thing. Errors of races that a kernel has, too, are expected; memFS judges.
func (v *vfs) step(r *rand.Rand) {
	name := names[r.IntN(len(names))]
	switch r.IntN(12) {
	case 0, 1:
		v.k.Getattr(v.pick(r, false).id)
	case 2, 3:
		d := v.pick(r, true)
		d.mu.RLock()
		defer d.mu.RUnlock()
		if d.dead || d.child(name) != nil {
			return
		}
		if e, err := v.k.Lookup(d.id, name); err == nil {
			d.kidsMu.Lock()
			if d.kids[name] == nil {
				d.kids[name] = v.dentry(e, d)
			}
			d.kidsMu.Unlock()
		}
	case 4:
		n := v.pick(r, false)
		if n.dir {
			return
		}
		if f, err := v.k.Open(n.id, os.O_RDWR); err == nil {
			f.Write(0, []byte(name))
			f.Read(0, 10)
			f.Close()
		}
	case 5:
		d := v.pick(r, true)
		if f, err := v.k.Opendir(d.id); err == nil {
			f.Readdir(0, 4096)
			f.Close()
		}
	case 6, 7:
		d := v.pick(r, true)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.dead {
			return
		}
		if r.IntN(2) == 0 {
			if e, err := v.k.Mkdir(d.id, name, 0o755); err == nil {
				d.set(name, v.dentry(e, d))
			}
		} else if e, f, err := v.k.Create(d.id, name, os.O_RDWR, 0o644); err == nil {
			d.set(name, v.dentry(e, d))
			f.Close()
		}
	case 8:
		v.remove(v.pick(r, true), name)
	default:
		v.rename(v.pick(r, true), name, v.pick(r, true), names[r.IntN(len(names))], r.IntN(3) == 0)
	}
}

func (v *vfs) remove(d *dentry, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.child(name)
	if d.dead || c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.dir {
		err = v.k.Rmdir(d.id, name)
	} else {
		err = v.k.Unlink(d.id, name)
	}
	if err == nil {
		c.dead = true
		d.set(name, nil)
	}
}

func (v *vfs) rename(from *dentry, name string, to *dentry, newname string, exchange bool) {
	v.renames.Lock()
	defer v.renames.Unlock()
	under := func(d, top *dentry) bool {
		for ; d != nil; d = d.parent {
			if d == top {
				return true
			}
		}
		return false
	}
	dirs := []*dentry{from, to}
	slices.SortFunc(dirs, func(a, b *dentry) int { // ancestors first
		switch {
		case a == b:
			return 0
		case under(b, a):
			return -1
		case under(a, b):
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
	for _, d := range slices.Compact(dirs) {
		d.mu.Lock()
		defer d.mu.Unlock()
	}
	src, dst := from.child(name), to.child(newname)
	if from.dead || to.dead || src == nil || src == dst || under(to, src) || dst != nil && under(from, dst) || exchange && dst == nil {
		return
	}
	flags := wire.RenameFlags(0)
	if exchange {
		flags = wire.RenameExchange
	}
	if v.k.Rename(from.id, name, to.id, newname, flags) != nil {
		return
	}
	if exchange {
		from.set(name, dst)
		dst.parent = from
	} else {
		from.set(name, nil)
		if dst != nil {
			dst.mu.Lock()
			dst.dead = true
			dst.mu.Unlock()
		}
	}
	to.set(newname, src)
	src.parent = to
}

// TestPathLocks has 16 processes rename, look up, open, create and remove in the same few directories. Every path that
// reaches the file system must be true until the operation ends, and everybody must get through.
func TestPathLocks(t *testing.T) {
	total := 100_000
	if testing.Short() {
		total = 10_000
	}
	m := newMemFS()
	m.pause = func() { runtime.Gosched() }
	f, k := start(t, m.ops(), &Config{})
	v := &vfs{t: t, k: k, root: &dentry{id: lowlevel.RootID, dir: true, kids: map[string]*dentry{}}}
	const procs = 16
	var wg sync.WaitGroup
	for p := range procs {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(p), 7))
			for range total / procs {
				v.step(r)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		buf := make([]byte, 1<<20)
		t.Fatalf("deadlock; %d waiting\n%s", len(f.waiting), buf[:runtime.Stack(buf, true)])
	}
	if s := m.first.Load(); s != nil {
		t.Fatalf("%d wrong paths, the first: %s", m.wrong.Load(), *s)
	}

	// The kernel's tree is the file system's.
	for _, p := range m.tree() {
		require.NotContains(t, p, ".fuse_hidden")
	}
	var check func(prefix string, d *dentry)
	check = func(prefix string, d *dentry) {
		for name, c := range d.kids {
			m.mu.Lock()
			n := m.find(prefix + "/" + name)
			m.mu.Unlock()
			require.NotNil(t, n, "%s/%s", prefix, name)
			require.Equal(t, c.dir, n.dir)
			check(prefix+"/"+name, c)
		}
	}
	check("", v.root)

	k.ForgetAll()
	f.nodes(t, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(t, f.waiting)
	require.Zero(t, f.names.used)
	require.Zero(t, f.root.treelock)
	require.EqualValues(t, 1, f.root.refs)
}

// noSession returns an FS whose nodes are made by hand, without a session.
func noSession(t *testing.T) *FS {
	t.Helper()
	f, err := New(&Operations{}, nil, nil)
	require.NoError(t, err)
	return f
}

func (f *FS) mk(path ...string) *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.root
	for _, name := range path {
		c := f.child(n, name)
		if c == nil {
			c = f.lookedUp(n, name)
		}
		n = c
	}
	return n
}

func TestLockOrder(t *testing.T) {
	f := noSession(t)
	dir := f.mk("dir")
	file := f.mk("dir", "file")

	read := want{id: file.nodeID()}
	require.Zero(t, f.lock(&read, nil))
	require.Equal(t, "/dir/file", f.path(&read, nil))

	// A writer waits for the reader, and further readers wait behind the writer.
	var order []string
	var mu sync.Mutex
	did := func(s string) {
		mu.Lock()
		order = append(order, s)
		mu.Unlock()
	}
	var wg sync.WaitGroup
	waits := func(n int) {
		for {
			f.mu.Lock()
			got := len(f.waiting)
			f.mu.Unlock()
			if got == n {
				return
			}
			runtime.Gosched()
		}
	}
	wg.Go(func() {
		p := want{id: dir.nodeID(), name: []byte("file"), write: true}
		f.lock(&p, nil)
		did("writer")
		f.unlocked(&p, nil)
	})
	waits(1)
	wg.Go(func() {
		p := want{id: file.nodeID()}
		f.lock(&p, nil)
		did("reader")
		f.unlocked(&p, nil)
	})
	waits(2)
	// A reader of another file in the directory is not in their way, nor they in its.
	other := f.mk("dir", "other")
	p := want{id: other.nodeID()}
	require.Zero(t, f.lock(&p, nil))
	f.unlocked(&p, nil)
	f.unlocked(&read, nil)
	wg.Wait()
	require.Equal(t, []string{"writer", "reader"}, order)
	require.Zero(t, file.treelock)
	require.Zero(t, dir.treelock)
}

func TestNestedPathsAreRefused(t *testing.T) {
	f := noSession(t)
	a := f.mk("a")
	b := f.mk("a", "b")
	w := func(n *node, name string) want { return want{id: n.nodeID(), name: []byte(name), write: true} }
	p, q := w(f.root, "a"), w(b, "c") // mv a a/b/c
	require.Equal(t, syscall.EINVAL, f.lock(&p, &q))
	p, q = w(b, "c"), w(f.root, "a") // mv a/b/c a
	require.Equal(t, syscall.ENOTEMPTY, f.lock(&p, &q))
	p, q = w(a, "b"), w(a, "b") // the same name twice
	require.Zero(t, f.lock(&p, &q))
	f.unlocked(&p, &q)
	for _, n := range []*node{a, b} {
		require.Zero(t, n.treelock)
	}
	require.EqualValues(t, 2, f.names.used)
}

func TestForgetWhileLocked(t *testing.T) {
	f := noSession(t)
	n := f.mk("dir", "file")
	dir := f.mk("dir")
	p := want{id: n.nodeID()}
	require.Zero(t, f.lock(&p, nil))
	f.forget(n.nodeID(), 1)
	f.forget(dir.nodeID(), 1)
	require.EqualValues(t, 3, f.ids.used, "still on a locked path")
	require.Equal(t, "/dir/file", f.path(&p, nil))
	f.unlocked(&p, nil)
	require.EqualValues(t, 1, f.ids.used)
	require.Zero(t, f.names.used)
	require.Equal(t, syscall.ESTALE, f.lock(&want{id: n.nodeID()}, nil))
}

func TestLongPath(t *testing.T) {
	f := noSession(t)
	var path []string
	want1 := ""
	for i := range 100 {
		path = append(path, fmt.Sprint("name", i))
		want1 += "/" + path[i]
	}
	p := want{id: f.mk(path...).nodeID(), name: []byte("x")}
	require.Zero(t, f.lock(&p, nil))
	require.Equal(t, want1+"/x", f.path(&p, make([]byte, 100)))
	require.Equal(t, want1+"/x", f.path(&p, make([]byte, 2000)))
}
