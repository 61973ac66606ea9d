//go:build linux

package hloracle

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

// generator makes one session of a seed: a kernel that knows what it was told, and asks about that.
type generator struct {
	*rand.Rand
	left   int
	serial uint32
	k      *kernel
	names  []string
	theme  theme
}

// theme is what most of a session is about.
type theme int

const (
	anything theme = iota
	naming         // names come and go, over open files too
	listings
	files
	storms // of FORGET
	themes
)

// start returns the configuration of session number i of a seed, and the generator of its requests.
func start(seed, i uint64) (sequence, *generator) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, i)), theme: theme(i % uint64(themes))}
	g.left = 8 + g.IntN(40)
	g.names = []string{"a", "b", "d", "e", "l", "entry03", strings.Repeat("n", 255), "wei\xc3\x9f", "...", ".fuse_hidden0000000200000001"}
	return sequence{Config: g.config()}, g
}

// one is true in one of n cases.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) config() config {
	c := config{Seed: g.Uint64()}
	c.Ops = 1<<opCount - 1
	switch g.IntN(12) {
	case 0:
		c.Ops &= g.Uint64()
	case 1:
		c.Ops &= g.Uint64() | g.Uint64()
	case 2:
		c.Ops &^= 1<<opLock | 1<<opFlock
	case 3:
		c.Ops &^= 1 << opFlush
	case 4:
		c.Ops &^= 1 << opCreate
	}
	c.Ops |= 1 << opGetattr
	if g.one(2) {
		c.Ops &^= 1 << opWriteBuf
	}
	if g.one(2) {
		c.Ops &^= 1 << opReadBuf
	}
	if !g.one(3) {
		c.Ops |= 1<<opRename | 1<<opUnlink | 1<<opReaddir
	}
	for _, f := range []struct {
		bit   uint32
		oneIn int
	}{{fUseIno, 4}, {fReaddirIno, 4}, {fHardRemove, 5}, {fNullpathOK, 4}, {fDirectIO, 8}, {fKernelCache, 8}, {fAutoCache, 5},
		{fNoRofdFlush, 5}, {fSetMode, 8}, {fSetUID, 8}, {fSetGID, 8}} {
		if g.one(f.oneIn) {
			c.Flags |= f.bit
		}
	}
	c.Umask, c.UID, c.GID = pick[uint32](g, 0o22, 0o777, 0, 0o27), g.Uint32N(100000), g.Uint32N(100000)
	timeout := func() uint32 { return pick(g, keep, 0, 512, g.Uint32N(100000)) }
	c.EntryTimeout, c.AttrTimeout, c.NegativeTimeout = timeout(), timeout(), pick[uint32](g, keep, keep, 0, 700)
	c.ACAttrTimeout = pick[uint32](g, 0, 1e9) // the clock must not decide
	var options []string
	if g.one(6) {
		options = append(options, pick(g, "noforget", "remember=100000"))
	}
	if g.one(12) {
		options = append(options, "modules=subdir", "subdir=/sub")
	}
	for _, o := range []string{"kernel_cache", "no_rofd_flush", "negative_timeout=2.5"} {
		if g.one(16) {
			options = append(options, o)
		}
	}
	if slices.Contains(options, "subdir=/sub") && !g.one(3) {
		options = append(options, "rellinks")
	}
	c.Options = strings.Join(options, ",")
	if c.without(opInit) {
		c.Flags = 0
	}
	c.Listing = pick(g, offsets, offsets, whole, either)
	if g.one(60) {
		c.Listing = confused
	}
	c.Faults = pick[uint64](g, 0, 0, 12, 40, 100)
	c.OddModes = g.one(20)
	return c
}

// add appends the next request; false at the end of the session.
func (g *generator) add(s *sequence, k *kernel) bool {
	if g.left == 0 {
		return false
	}
	g.left--
	g.k = k
	for range 50 {
		r := g.any()
		r.Serial = g.serial + 1
		r.UID, r.GID, r.PID = pick[uint32](g, 0, 1000), pick[uint32](g, 0, 1000), pick[uint32](g, 0, 4242)
		if g.left == 0 && g.one(12) {
			r = request{Op: wire.OpDestroy, Serial: r.Serial}
		}
		unique := k.unique
		_, ok := k.resolve(&r)
		k.unique = unique
		if ok {
			g.serial++
			s.Requests = append(s.Requests, r)
			return true
		}
	}
	return false
}

func (g *generator) node() ref { return g.k.known[g.IntN(len(g.k.known))].ref }

// dir is mostly a directory.
func (g *generator) dir() ref {
	for range 8 {
		if n := g.k.known[g.IntN(len(g.k.known))]; n.mode&typeOf == syscall.S_IFDIR {
			return n.ref
		}
	}
	return g.node()
}

// open is a handle, or 0.
func (g *generator) open(dir bool) uint32 {
	var of []*khandle
	for _, h := range g.k.handles {
		if h.dir == dir {
			of = append(of, h)
		}
	}
	if len(of) == 0 {
		return 0
	}
	return of[g.IntN(len(of))].serial
}

func (g *generator) name() string { return g.names[g.IntN(len(g.names))] }

// child is a directory and the name of something in it that is known.
func (g *generator) child() (ref, string) {
	n := g.k.known[g.IntN(len(g.k.known))]
	if n.parent == nil || n.parent.lookups == 0 || g.one(8) {
		return g.dir(), g.name()
	}
	return n.parent.ref, n.name
}

// openChild is child for what is open.
func (g *generator) openChild() (ref, string) {
	if len(g.k.handles) > 0 {
		if n := g.k.handles[g.IntN(len(g.k.handles))].node; n.parent != nil && n.parent.lookups > 0 {
			return n.parent.ref, n.name
		}
	}
	return g.child()
}

// kind is one sort of request, and how often it comes with each theme.
type kind struct {
	weight [themes]int
	make   func(g *generator) request
}

var kinds = []kind{
	{[themes]int{10, 12, 8, 8, 25}, (*generator).lookup},
	{[themes]int{4, 3, 2, 2, 20}, (*generator).forget},
	{[themes]int{6, 6, 2, 4, 4}, (*generator).create},
	{[themes]int{6, 14, 2, 2, 4}, (*generator).remove},
	{[themes]int{6, 14, 2, 2, 4}, (*generator).rename},
	{[themes]int{6, 8, 0, 14, 4}, (*generator).openFile},
	{[themes]int{4, 6, 0, 6, 6}, (*generator).release},
	{[themes]int{8, 4, 2, 20, 2}, (*generator).onFile},
	{[themes]int{5, 2, 1, 8, 1}, (*generator).locks},
	{[themes]int{6, 3, 2, 8, 2}, (*generator).attr},
	{[themes]int{6, 2, 2, 2, 2}, (*generator).onNode},
	{[themes]int{2, 1, 8, 1, 4}, (*generator).opendir},
	{[themes]int{8, 2, 34, 1, 12}, (*generator).list},
	{[themes]int{2, 2, 2, 3, 1}, (*generator).odd},
}

func (g *generator) any() request {
	sum := 0
	for _, k := range kinds {
		sum += k.weight[g.theme]
	}
	n := g.IntN(sum)
	for _, k := range kinds {
		if n -= k.weight[g.theme]; n < 0 {
			return k.make(g)
		}
	}
	panic("unreachable")
}

func (g *generator) lookup() request {
	r := request{Op: wire.OpLookup, Node: g.dir(), Name: g.name()}
	switch g.IntN(12) {
	case 0:
		r.Node, r.Name = g.node(), pick(g, ".", "..")
	case 1:
		r.Node, r.Name = g.child()
	case 2:
		r.Name = fmt.Sprintf("entry%02d", g.IntN(12))
	}
	return r
}

func (g *generator) forget() request {
	if g.one(3) {
		r := request{Op: wire.OpBatchForget}
		for range g.IntN(8) {
			r.Forgets = append(r.Forgets, forgotten{g.node(), pick[uint64](g, 1, 2, 1<<40)})
		}
		return r
	}
	return request{Op: wire.OpForget, Node: g.node(), Args: [10]uint64{pick[uint64](g, 1, 1, 2, 1<<40)}}
}

func (g *generator) mode() uint64 {
	return uint64(pick[uint32](g, 0o644, 0o600, 0o777, 0o4755, 0o1777))
}

func (g *generator) create() request {
	r := request{Node: g.dir(), Name: g.name()}
	switch g.IntN(7) {
	case 0, 1:
		r.Op = wire.OpMknod
		r.Args = [10]uint64{pick[uint64](g, syscall.S_IFREG, syscall.S_IFREG, syscall.S_IFIFO, syscall.S_IFCHR) | g.mode(), g.Uint64N(1 << 12), 0o22}
	case 2, 3:
		r.Op = wire.OpMkdir
		r.Args = [10]uint64{g.mode(), 0o27}
	case 4:
		r.Op = wire.OpSymlink
		r.Name2 = pick(g, "a", "/sub/d", "/sub", "/sub", "../x", strings.Repeat("t", 4095))
	case 5:
		r.Op = wire.OpLink
		r.Node2 = g.node()
	default:
		return g.openNew()
	}
	return r
}

func (g *generator) openNew() request {
	return request{Op: wire.OpCreate, Node: g.dir(), Name: g.name(),
		Args: [10]uint64{uint64(pick(g, syscall.O_RDWR, syscall.O_WRONLY|syscall.O_EXCL, syscall.O_RDONLY)), syscall.S_IFREG | g.mode(), 0o22}}
}

func (g *generator) remove() request {
	r := request{Op: pick(g, wire.OpUnlink, wire.OpUnlink, wire.OpRmdir)}
	if r.Node, r.Name = g.child(); g.one(2) {
		r.Op = wire.OpUnlink
		r.Node, r.Name = g.openChild()
	}
	return r
}

func (g *generator) rename() request {
	r := request{Op: pick(g, wire.OpRename, wire.OpRename, wire.OpRename2)}
	r.Node, r.Name = g.child()
	r.Node2, r.Name2 = g.dir(), g.name()
	switch g.IntN(3) {
	case 0:
		r.Node2, r.Name2 = g.openChild()
	case 1:
		r.Node2, r.Name2 = g.child()
	}
	if r.Op == wire.OpRename2 {
		r.Args[0] = pick[uint64](g, 1, 2, 2, 4)
	}
	return r
}

func (g *generator) flags() uint64 {
	return uint64(pick(g, syscall.O_RDONLY, syscall.O_RDWR, syscall.O_WRONLY, syscall.O_RDWR|syscall.O_TRUNC, syscall.O_RDONLY|syscall.O_NONBLOCK))
}

func (g *generator) openFile() request {
	if g.one(4) {
		return g.openNew()
	}
	for range 6 {
		if n := g.k.known[g.IntN(len(g.k.known))]; n.mode&typeOf == syscall.S_IFREG {
			return request{Op: wire.OpOpen, Node: n.ref, Args: [10]uint64{g.flags()}}
		}
	}
	return request{Op: wire.OpOpen, Node: g.node(), Args: [10]uint64{g.flags()}}
}

func (g *generator) owner() uint64 { return pick[uint64](g, 0, 1, 2, 0xdeadbeef) }

func (g *generator) release() request {
	r := request{Op: wire.OpRelease, Handle: g.open(false), Args: [10]uint64{g.flags(), pick[uint64](g, 0, 0, 1, 2, 3), 0, g.owner()}}
	if g.one(3) {
		r.Op, r.Handle = wire.OpReleasedir, g.open(true)
	}
	return r
}

func (g *generator) data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g *generator) offset() uint64 {
	return pick(g, 0, 0, 1, 10, 100, 4096, g.Uint64N(70000), 1<<31, 1<<62, math.MaxUint64)
}

func (g *generator) onFile() request {
	r := request{Handle: g.open(false)}
	switch g.IntN(11) {
	case 0, 1:
		r.Op = wire.OpRead
		r.Args = [10]uint64{g.offset(), pick[uint64](g, 0, 1, 100, 4096, 131072), 0, g.owner(), g.flags()}
	case 2, 3, 4:
		r.Op = wire.OpWrite
		r.Args = [10]uint64{g.offset(), 0, pick[uint64](g, 0, 1, 2, 4), g.owner(), g.flags()}
		r.Data = g.data(pick(g, 1, 10, 100, 5000))
	case 5:
		r.Op, r.Args = wire.OpFlush, [10]uint64{3: g.owner()}
	case 6:
		r.Op, r.Args = wire.OpFsync, [10]uint64{g.Uint64N(2)}
	case 7:
		r.Op, r.Args = wire.OpFallocate, [10]uint64{g.offset(), g.offset(), g.Uint64N(4)}
	case 8:
		r.Op, r.Args = wire.OpLseek, [10]uint64{g.offset(), 3 + g.Uint64N(2)}
	case 9:
		r.Op, r.Args = wire.OpCopyFileRange, [10]uint64{g.offset(), g.offset(), pick[uint64](g, 0, 1, 100, 1<<31, 0xfffff000), 0, 0}
		r.Handle2 = g.open(false)
	case 10:
		r.Op, r.Args = wire.OpPoll, [10]uint64{g.Uint64N(100), g.Uint64N(2), g.Uint64N(64)}
	}
	if g.one(12) {
		return g.ioctl()
	}
	return r
}

func (g *generator) ioctl() request {
	dir := g.one(3)
	r := request{Op: wire.OpIoctl, Handle: g.open(dir)}
	how, size := g.Uint64N(4), g.Uint64N(64)
	if how == 0 || size == 0 {
		how, size = 0, 0
	}
	if dir {
		r.Args[0] = uint64(wire.IoctlDir)
	}
	if g.one(8) {
		r.Args[0] |= uint64(wire.IoctlUnrestricted)
	}
	r.Args[1] = how<<30 | size<<16 | g.Uint64N(1<<16)
	r.Args[2] = g.Uint64()
	if how&1 != 0 {
		r.Data = g.data(int(size))
	}
	if how&2 != 0 {
		r.Args[3] = size
	}
	return r
}

func (g *generator) locks() request {
	r := request{Op: pick(g, wire.OpGetlk, wire.OpSetlk, wire.OpSetlk, wire.OpSetlkw), Handle: g.open(false)}
	from := g.Uint64N(60) * 10
	to := pick(g, from, from+9, from+g.Uint64N(300), math.MaxInt64, 5500)
	r.Args = [10]uint64{from, max(from, to), pick[uint64](g, syscall.F_RDLCK, syscall.F_WRLCK, syscall.F_WRLCK, syscall.F_UNLCK), g.owner(),
		pick[uint64](g, 7, 7, 8)}
	if r.Op != wire.OpGetlk && g.one(6) {
		r.Args[5] = 1 // flock
	}
	return r
}

func (g *generator) attr() request {
	r := request{Op: wire.OpGetattr, Node: g.node()}
	if g.one(2) {
		r.Op = wire.OpSetattr
		valid := pick(g, 1<<g.Uint64N(12), g.Uint64N(1<<12), 8)
		if valid&uint64(wire.FattrAtimeNow) != 0 {
			valid |= uint64(wire.FattrAtime)
		}
		if valid&uint64(wire.FattrMtimeNow) != 0 {
			valid |= uint64(wire.FattrMtime)
		}
		r.Args = [10]uint64{valid, pick(g, 0, 1, g.Uint64N(70000), 1<<40), g.Uint64N(1 << 32), g.Uint64N(1 << 32), g.Uint64N(1e9), g.Uint64N(1e9),
			g.mode(), g.Uint64N(1 << 32), g.Uint64N(1 << 32), g.owner()}
	}
	if h := g.open(false); h != 0 && g.one(2) {
		r.Handle = h
	}
	return r
}

func (g *generator) onNode() request {
	r := request{Node: g.node()}
	switch g.IntN(9) {
	case 0:
		r.Op = wire.OpReadlink
		for range 4 {
			if n := g.k.known[g.IntN(len(g.k.known))]; n.mode&typeOf == syscall.S_IFLNK {
				r.Node = n.ref
			}
		}
	case 1:
		r.Op, r.Args = wire.OpAccess, [10]uint64{g.Uint64N(8)}
	case 2:
		r.Op, r.Args = wire.OpStatfs, [10]uint64{g.Uint64N(2)}
	case 3, 4:
		r.Op, r.Name, r.Data = wire.OpSetxattr, g.xattr(), g.data(pick(g, 0, 1, 20, 300))
		r.Args[0] = g.Uint64N(3)
	case 5:
		r.Op, r.Name, r.Args = wire.OpGetxattr, g.xattr(), [10]uint64{pick[uint64](g, 0, 0, 1, 100, 65536)}
	case 6:
		r.Op, r.Args = wire.OpListxattr, [10]uint64{pick[uint64](g, 0, 0, 1, 100, 65536)}
	case 7:
		r.Op, r.Name = wire.OpRemovexattr, g.xattr()
	case 8:
		r.Op, r.Args = wire.OpBmap, [10]uint64{g.Uint64N(1000), 4096}
	}
	return r
}

func (g *generator) xattr() string { return pick(g, "user.a", "user.b", "security.x") }

func (g *generator) opendir() request {
	return request{Op: wire.OpOpendir, Node: g.dir(), Args: [10]uint64{syscall.O_RDONLY | syscall.O_DIRECTORY}}
}

func (g *generator) list() request {
	h := g.open(true)
	if h == 0 {
		return g.opendir()
	}
	r := request{Op: pick(g, wire.OpReaddir, wire.OpReaddirplus, wire.OpReaddirplus), Handle: h}
	if g.one(20) {
		r.Op = wire.OpFsyncdir
		return r
	}
	off := uint64(0)
	if seen := g.k.handle(h).offs; len(seen) > 0 && !g.one(4) {
		off = seen[len(seen)-1]
		if g.one(3) {
			off = seen[g.IntN(len(seen))]
		}
	}
	if g.one(10) {
		off = pick[uint64](g, 3, 7, 1000, 1<<62, math.MaxInt64)
	}
	r.Args = [10]uint64{off, pick[uint64](g, 0, 24, 100, 152, 160, 300, 500, 1000, 4096, 4096)}
	return r
}

// odd is what comes from elsewhere.
func (g *generator) odd() request {
	r := request{Op: opInvalidate, Node: g.node()}
	if g.one(3) {
		r.Name = g.name()
	}
	if g.one(2) {
		r = request{Op: opBehind, Node2: g.dir(), Name2: g.name(), Args: [10]uint64{g.Uint64()}}
		r.Node, r.Name = g.child()
	}
	return r
}
