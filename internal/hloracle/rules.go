//go:build linux

package hloracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/wire"
)

// ruleNames are the intended differences of docs/differences.md, where each has a row.
var ruleNames = []string{
	"create-not-regular",
	"destroy-hidden",
	"hidden-name",
	"hidden-order",
	"module-gaps",
	"opendir-flags",
	"readdir-mixed",
	"readdirplus-dots",
	"readdirplus-leak",
	"readdirplus-whole",
	"rellinks-base",
	"removed-file",
	"rename-noreplace",
}

// enabled has the names whose rules count: a test takes them away one by one.
var enabled = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range ruleNames {
		m[n] = true
	}
	return m
}()

// hit says that a rule is needed now, and whether it counts.
func (gm *game) hit(name string) bool {
	if !enabled[name] {
		return false
	}
	gm.hits[name]++
	return true
}

// rules turns what libfuse 3.14 did into what purefuse has to do, and makes the sides comparable again where they count
// differently.
func (gm *game) rules(x *resolved, cs, gs rig.Step) (want rig.Step, err error) {
	want = rig.Step{Lines: slices.Clone(cs.Lines)}
	for _, b := range cs.Replies {
		want.Replies = append(want.Replies, slices.Clone(b))
	}
	gm.moduleGaps(x, &want, gs)
	switch x.Op {
	case wire.OpOpendir:
		gm.opendirFlags(x, &want)
	case wire.OpCreate:
		err = gm.createNotRegular(x, &want)
	case wire.OpGetattr, wire.OpSetattr:
		gm.removedFile(x, &want, gs)
	case wire.OpReadlink:
		gm.rellinksBase(x, &want)
	case wire.OpRename2:
		gm.renameNoreplace(x, &want, &gs)
	case wire.OpDestroy:
		gm.destroyHidden(&want, &gs)
	case wire.OpReaddir, wire.OpReaddirplus:
		if gm.readdirMixed(x, &want, &gs) {
			break
		}
		err = gm.listed(x, &want, gs)
	}
	return want, err
}

// opendirFlags: 3.14 keeps what opendir() says about caching to itself.
func (gm *game) opendirFlags(x *resolved, want *rig.Step) {
	b, ok := succeeded(x, want)
	if !ok || len(gm.c.tree.seen) == 0 {
		return
	}
	var flags wire.FopenFlags
	if bits := gm.c.tree.seen[0].answer.bits; bits != 0 {
		if bits&bCacheReaddir != 0 {
			flags |= wire.FopenCacheDir
		}
		if bits&bKeepCache != 0 {
			flags |= wire.FopenKeepCache
		}
	}
	if flags != 0 && gm.hit("opendir-flags") {
		binary.NativeEndian.PutUint32(b[8:], uint32(flags))
	}
}

// createNotRegular: libfuse counts a lookup of what create() made before it finds that it is no regular file, and takes it back.
// It has used up a node id by then.
func (gm *game) createNotRegular(x *resolved, want *rig.Step) error {
	if _, ok := succeeded(x, want); ok {
		return nil
	}
	for i := range gm.c.tree.seen {
		if s := &gm.c.tree.seen[i]; s.call.op == opGetattr && s.answer.err == 0 && s.answer.attr.Mode&typeOf != syscall.S_IFREG {
			if !gm.hit("create-not-regular") {
				return nil
			}
			gm.c.deleted = nil
			defer func() { gm.g.deleted = nil }()
			return gm.touch(gm.goRequest, x.node, x.Name)
		}
	}
	return nil
}

// rellinksBase: subdir leaves links to the directory itself as they are, which is outside of the mount.
func (gm *game) rellinksBase(x *resolved, want *rig.Step) {
	b, ok := succeeded(x, want)
	if !ok || string(b) != "/sub" || !strings.HasSuffix(gm.seq.Config.Options, "rellinks") || !gm.hit("rellinks-base") {
		return
	}
	path, _ := gm.k.path(x.node)
	target := strings.Repeat("../", strings.Count(path, "/")-1)
	if target == "" {
		target = "."
	}
	want.Replies = [][]byte{append(pack(nil, uint32(headerOut+len(target)), uint32(0), x.unique), target...)}
}

// renameNoreplace: libfuse hides an open file before it asks the file system for a rename that must not replace it, which
// then replaces nothing and succeeds.
func (gm *game) renameNoreplace(x *resolved, want, got *rig.Step) {
	if x.Args[0]&1 == 0 || !gm.k.hides(x.node2, x.Name2) || !gm.hit("rename-noreplace") {
		return
	}
	gm.over = true
	*want = rig.Step{}
	if gm.seq.Config.without(opRename) {
		want.Replies = [][]byte{errorReply(x.unique, syscall.ENOSYS)}
		return
	}
	i := slices.IndexFunc(gm.g.tree.seen, func(s seen) bool { return s.call.op == opRename })
	if i < 0 || len(got.Lines) != 1 {
		return
	}
	s := &gm.g.tree.seen[i]
	from, _ := gm.k.path(x.node)
	to, _ := gm.k.path(x.node2)
	c := s.call
	c.path, c.path2 = gm.below(from+"/"+x.Name), gm.below(to+"/"+x.Name2)
	c.arg = [5]uint64{x.Args[0]}
	want.Lines = []string{c.String()}
	want.Replies = [][]byte{errorReply(x.unique, s.answer.err)}
}

// moduleGaps: libfuse's modules do not pass on every operation. What purefuse did is done on the other side, too.
func (gm *game) moduleGaps(x *resolved, want *rig.Step, got rig.Step) {
	switch x.Op {
	case wire.OpFallocate, wire.OpCopyFileRange, wire.OpIoctl, wire.OpPoll:
	default:
		return
	}
	if len(want.Lines) > 0 || len(gm.g.tree.seen) != 1 || !strings.Contains(gm.seq.Config.Options, "modules=") ||
		!slices.EqualFunc(want.Replies, [][]byte{errorReply(x.unique, syscall.ENOSYS)}, slices.Equal) || !gm.hit("module-gaps") {
		return
	}
	c := gm.g.tree.seen[0].call
	if path, ok := gm.k.path(x.node); ok && !gm.seq.Config.is(fNullpathOK) {
		c.path = gm.below(path)
	}
	gm.replay(x, want, got, c)
}

// replay makes calls that only purefuse has made reach libfuse's file system, too.
func (gm *game) replay(x *resolved, want *rig.Step, got rig.Step, calls ...call) {
	t := gm.c.tree
	line := t.line
	t.line = func(l string) { want.Lines = append(want.Lines, l) }
	want.Replies = got.Replies
	for i := range calls {
		if a := t.serve(&calls[i]); a.err != 0 {
			want.Replies = [][]byte{errorReply(x.unique, a.err)}
		}
	}
	t.line = line
}

// removedFile: without hidden files and without paths for open ones, a removed file is still reached through a handle.
func (gm *game) removedFile(x *resolved, want *rig.Step, got rig.Step) {
	c := &gm.seq.Config
	if _, ok := gm.k.path(x.node); ok || x.handle != nil || x.node.files == 0 || !c.is(fHardRemove) || !c.is(fNullpathOK) ||
		!gm.hit("removed-file") {
		return
	}
	i := slices.IndexFunc(gm.k.handles, func(h *khandle) bool { return h.node == x.node && !h.dir })
	var calls []call
	for _, s := range gm.g.tree.seen {
		s.call.path, s.call.fi = "", file{FH: gm.k.handles[i].fh[0], There: 1}
		calls = append(calls, s.call)
	}
	gm.replay(x, want, got, calls...)
}

// forsaken: after the last release libfuse leaves a node under the hidden name that its file does not have any more, purefuse
// takes the name away. The kernel forgets such nodes at once.
func (gm *game) forsaken(i int, x *resolved) error {
	n := x.node
	if !n.hidden || n.files > 0 {
		return nil
	}
	n.hidden = false
	gone := slices.ContainsFunc(gm.g.tree.seen, func(s seen) bool { return s.call.op == opUnlink && s.answer.err == 0 })
	if !gone {
		return nil
	}
	if n.opens > 0 {
		gm.over = true
		return nil
	}
	gm.c.tree.calm, gm.g.tree.calm = true, true
	defer func() { gm.c.tree.calm, gm.g.tree.calm = false, false }()
	gm.k.unique += 2
	ask := rig.Request{Opcode: wire.OpGetattr, Unique: gm.k.unique, NodeID: n.id, Body: pack(nil, &wire.GetattrIn{})}
	cs, err := gm.c.request(ask.Bytes())
	if err != nil {
		return err
	}
	gs, err := gm.g.request(ask.Bytes())
	if err != nil {
		return err
	}
	want, stale := cs, [][]byte{errorReply(ask.Unique, syscall.ESTALE)}
	if !slices.EqualFunc(cs.Replies, stale, slices.Equal) && gm.hit("hidden-name") {
		want.Replies = stale
	}
	if err := gm.compare(i, "GETATTR after the last release of a hidden file", cs, want, gs); err != nil {
		return err
	}
	if err := gm.forget(gm.c.request, n.id, n.lookups); err != nil {
		return err
	}
	if err := gm.forget(gm.goRequest, n.id, n.lookups); err != nil {
		return err
	}
	gm.k.forget(n, n.lookups)
	gm.over = gm.seq.Config.remembers() // libfuse remembers it, and by its hidden name
	return nil
}

// below is a path as the file system sees it.
func (gm *game) below(path string) string {
	if path == "" {
		path = "/"
	}
	if strings.Contains(gm.seq.Config.Options, "subdir=") {
		return "/sub" + path
	}
	return path
}

// destroyHidden: with a DESTROY 3.14 calls destroy() and frees the file system; hidden files it unlinks only when the session
// is freed, by calls of what is not there any more. The test does not let it come to that.
func (gm *game) destroyHidden(want, got *rig.Step) {
	var unlinks []string
	for _, n := range gm.k.nodes {
		if path, ok := gm.k.path(n); ok && n.hidden {
			c := call{op: opUnlink, path: gm.below(path)}
			unlinks = append(unlinks, c.String())
		}
	}
	if len(unlinks) == 0 {
		return
	}
	gm.lost = true
	if gm.seq.Config.without(opUnlink) || !gm.hit("destroy-hidden") {
		return
	}
	gm.over = true
	slices.Sort(unlinks)
	n := min(len(unlinks), len(got.Lines))
	if did := slices.Sorted(slices.Values(got.Lines[:n])); slices.Equal(did, unlinks) { // in any order
		unlinks = slices.Clone(got.Lines[:n])
	}
	want.Lines = append(unlinks, want.Lines...)
}

// endRules: libfuse unlinks what is still hidden in the order of its table.
func (gm *game) endRules(want, got rig.Step) rig.Step {
	if slices.Equal(want.Lines, got.Lines) {
		return want
	}
	unlinks := 0
	for _, l := range want.Lines {
		if strings.HasPrefix(l, "unlink ") {
			unlinks++
		}
	}
	if unlinks < 2 || len(want.Lines) != len(got.Lines) {
		return want
	}
	w, g := slices.Clone(want.Lines[:unlinks]), slices.Clone(got.Lines[:unlinks])
	slices.Sort(w)
	slices.Sort(g)
	if slices.Equal(w, g) && gm.hit("hidden-order") {
		copy(want.Lines, got.Lines[:unlinks])
	}
	return want
}

// readdirMixed: a listing that begins with offsets and goes on without is an error, which 3.14 overlooks.
func (gm *game) readdirMixed(x *resolved, want, got *rig.Step) bool {
	n := gm.c.fill
	if !gm.filled() || gm.seq.Config.Listing != confused || n == 0 || n > len(gm.c.tree.given) || gm.c.tree.given[n-1].off != 0 ||
		gm.c.tree.given[0].off == 0 || !gm.hit("readdir-mixed") {
		return false
	}
	gm.over = true
	good := slices.IndexFunc(gm.c.tree.given, func(e entry) bool { return e.off == 0 })
	want.Lines[len(want.Lines)-1] = fmt.Sprintf("taken=%d stopped=1", good)
	want.Replies = [][]byte{errorReply(x.unique, syscall.EIO)}
	return true
}

// filled reports whether the request at hand has asked the file system for a listing.
func (gm *game) filled() bool {
	return slices.ContainsFunc(gm.c.tree.seen, func(s seen) bool { return s.call.op == opReaddir && s.answer.err == 0 })
}

func isDot(name string) bool { return name == "." || name == ".." }

// listed covers two things about READDIRPLUS. libfuse counts a lookup of the entry that does not fit any more and forgets to
// take it back. Of directories that are listed whole, 3.14 counts a lookup of every entry at once but tells the kernel of
// none; purefuse does as 3.19: the answer has the nodes, which are counted when they are in one.
func (gm *game) listed(x *resolved, want *rig.Step, gs rig.Step) error {
	_, ok := succeeded(x, want)
	plus := x.Op == wire.OpReaddirplus
	filled := gm.filled()
	if slices.ContainsFunc(gm.c.tree.seen, func(s seen) bool { return s.call.op == opReaddir }) {
		x.handle.list, x.handle.plus = nil, false
	}
	if !ok || filled && len(gm.c.tree.given) == 0 {
		return nil
	}
	if plus {
		gm.dots(x, want)
	}
	if filled && gm.c.tree.given[0].off != 0 {
		if n := gm.c.fill; plus && gm.c.full && n < len(gm.c.tree.given) {
			if e := gm.c.tree.given[n]; e.plus && !isDot(e.name) && gm.hit("readdirplus-leak") {
				return gm.level(x.node, e.name)
			}
		}
		return nil
	}
	if filled {
		x.handle.list, x.handle.plus, x.handle.numbers = gm.c.tree.given, plus, map[string]uint64{}
		for _, e := range x.handle.list {
			x.handle.numbers[e.name] = gm.number(x.node, e.name)
		}
	}
	if !plus {
		if x.handle.plus {
			gm.plainAfterPlus(x, want)
		}
		return nil
	}
	return gm.whole(x, want, gs, filled)
}

// unknownIno is the inode number of names without a node.
const unknownIno = 0xffffffff

// number is the inode number that a listing gives to a name.
func (gm *game) number(dir *knode, name string) uint64 {
	if n := gm.k.child(dir, name); n != nil && gm.seq.Config.is(fReaddirIno) {
		return n.id
	}
	return unknownIno
}

// dots: for "." and ".." with all their attributes 3.14 passes the file system's inode number on.
func (gm *game) dots(x *resolved, want *rig.Step) {
	if gm.seq.Config.is(fUseIno) {
		return
	}
	b, _ := succeeded(x, want)
	at := 0
	for d, err := range wire.Direntpluses(b) {
		if err != nil {
			break
		}
		if isDot(string(d.Name)) && d.Ino != unknownIno && gm.hit("readdirplus-dots") {
			binary.NativeEndian.PutUint64(b[at+40:], unknownIno)
			binary.NativeEndian.PutUint64(b[at+128:], unknownIno)
		}
		at += wire.DirentplusSize(len(d.Name))
	}
}

// whole is listed for a directory that is listed whole.
func (gm *game) whole(x *resolved, want *rig.Step, gs rig.Step, filled bool) error {
	answered := map[string]bool{}
	if b, ok := succeeded(x, &gs); ok {
		for d, err := range wire.Direntpluses(b) {
			if err == nil && d.Entry.NodeID != 0 {
				answered[string(d.Name)] = true
			}
		}
	}
	if len(answered) == 0 && !filled {
		return nil
	}
	ids := map[string]uint64{}
	for _, e := range x.handle.list {
		if !e.plus || isDot(e.name) {
			continue
		}
		if !answered[e.name] && !filled {
			continue
		}
		if !gm.hit("readdirplus-whole") {
			return nil
		}
		if !answered[e.name] {
			if err := gm.level(x.node, e.name); err != nil {
				return err
			}
			continue
		}
		id, err := gm.lookup(gm.c.request, gm.c.tree, x.node, e.name)
		if err != nil {
			return err
		}
		if ids[e.name] = id; filled { // it has counted one already
			if err := gm.forget(gm.c.request, id, 1); err != nil {
				return err
			}
		}
	}
	b, _ := succeeded(x, want)
	at := 0
	for d, err := range wire.Direntpluses(b) {
		if err != nil {
			break
		}
		if id := ids[string(d.Name)]; id != 0 {
			gm.fix(b[at:], id)
		}
		at += wire.DirentplusSize(len(d.Name))
	}
	return nil
}

// fix puts a node into an entry.
func (gm *game) fix(b []byte, id uint64) {
	c, e := &gm.seq.Config, binary.NativeEndian
	e.PutUint64(b, id)
	for _, t := range []struct {
		v         uint32
		sec, nsec int
	}{{c.timeout(c.EntryTimeout), 16, 32}, {c.timeout(c.AttrTimeout), 24, 36}} {
		e.PutUint64(b[t.sec:], uint64(t.v/512))
		e.PutUint32(b[t.nsec:], uint32(uint64(t.v%512)*1e9/512))
	}
	if !c.is(fUseIno) {
		e.PutUint64(b[40:], id)
		e.PutUint64(b[128:], id)
	}
	if c.is(fSetMode) {
		mode := e.Uint32(b[40+60:])
		e.PutUint32(b[40+60:], mode&typeOf|0o777&^c.Umask)
	}
	if c.is(fSetUID) {
		e.PutUint32(b[40+68:], c.UID)
	}
	if c.is(fSetGID) {
		e.PutUint32(b[40+72:], c.GID)
	}
}

// timeout is one of entries or attributes as Init leaves it.
func (c *config) timeout(v uint32) uint32 {
	if v == keep || c.without(opInit) {
		return 512
	}
	return v
}

// plainAfterPlus: READDIR goes on with a list that was made for READDIRPLUS, in which 3.14 has put the nodes' ids.
func (gm *game) plainAfterPlus(x *resolved, want *rig.Step) {
	if gm.seq.Config.is(fUseIno) {
		return
	}
	b, _ := succeeded(x, want)
	at := 0
	for d, err := range wire.Dirents(b) {
		if err != nil {
			break
		}
		i := slices.IndexFunc(x.handle.list, func(e entry) bool { return e.name == string(d.Name) })
		if i >= 0 && x.handle.list[i].plus && gm.hit("readdirplus-whole") {
			binary.NativeEndian.PutUint64(b[at:], x.handle.numbers[string(d.Name)])
		}
		at += wire.DirentSize(len(d.Name))
	}
}

// level makes the sides the same after libfuse has counted a lookup that nobody was told of.
func (gm *game) level(dir *knode, name string) error {
	id, err := gm.lookup(gm.c.request, gm.c.tree, dir, name)
	if err != nil {
		return err
	}
	if err := gm.forget(gm.c.request, id, 2); err != nil {
		return err
	}
	return gm.touch(gm.goRequest, dir, name)
}

// goRequest is purefuse's part of level.
func (gm *game) goRequest(m []byte) (rig.Step, error) { return gm.g.request(m) }

// touch looks a name up and forgets it.
func (gm *game) touch(send func([]byte) (rig.Step, error), dir *knode, name string) error {
	id, err := gm.lookup(send, gm.g.tree, dir, name)
	if err != nil {
		return err
	}
	if gm.k.nodes[id] == nil && gm.seq.Config.remembers() {
		n := &knode{id: id}
		gm.k.nodes[id] = n
		gm.k.named(n, dir, name)
	}
	return gm.forget(send, id, 1)
}

func (gm *game) lookup(send func([]byte) (rig.Step, error), t *tree, dir *knode, name string) (uint64, error) {
	t.calm = true
	defer func() { t.calm = false }()
	gm.k.unique += 2
	r := rig.Request{Opcode: wire.OpLookup, Unique: gm.k.unique, NodeID: dir.id, Body: cstring(name)}
	s, err := send(r.Bytes())
	if err != nil {
		return 0, err
	}
	if len(s.Replies) != 1 || len(s.Replies[0]) < headerOut+8 {
		return 0, errors.New("a lookup that cannot fail did")
	}
	return binary.NativeEndian.Uint64(s.Replies[0][headerOut:]), nil
}

func (gm *game) forget(send func([]byte) (rig.Step, error), id, n uint64) error {
	gm.k.unique += 2
	r := rig.Request{Opcode: wire.OpForget, Unique: gm.k.unique, NodeID: id, Body: pack(nil, &wire.ForgetIn{NLookup: n})}
	_, err := send(r.Bytes())
	return err
}

// missing lists the rules that no sequence needed: rows of docs/differences.md that are not true any more.
func missing(hits map[string]int) (names []string) {
	for _, n := range ruleNames {
		if hits[n] == 0 {
			names = append(names, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(hits)) {
		if !slices.Contains(ruleNames, n) {
			names = append(names, "unknown rule "+n)
		}
	}
	return names
}
