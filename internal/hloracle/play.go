//go:build linux

package hloracle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/wire"
)

const headerOut = 16

// game is one session that both sides play.
type game struct {
	k    *kernel
	c    *cSide
	g    *goSide
	hits map[string]int
	seq  *sequence
	over bool // the sides are not comparable any more, and a rule has said why
	lost bool // libfuse would not survive the end of the session
}

// mismatch is a difference that no rule covers.
type mismatch struct {
	seq   *sequence
	index int
	sent  []*resolved // what was sent up to then; nil: left out
	what  string
	c     rig.Step // as libfuse did it
	want  rig.Step // what the rules make of it
	got   rig.Step // what purefuse did
}

// errLost says that the C side cannot be used any more, and that this is all right.
var errLost = errors.New("the C side is lost")

// pair is a C oracle, which one session after the other uses.
type pair struct {
	bin   string
	p     *rig.Process
	calls [opCount]int // that reached the file system
}

func newPair(bin string) (*pair, error) {
	p, err := rig.Start(bin)
	return &pair{bin: bin, p: p}, err
}

// play plays a sequence, to which gen adds if it is not nil, and returns a *mismatch if the sides differ.
func (p *pair) play(s *sequence, gen *generator, hits map[string]int) error {
	if strings.Contains(s.Config.Options, "modules=") { // libfuse has none any more after its first fuse_destroy
		if err := p.restart(); err != nil {
			return err
		}
	}
	err := p.session(s, gen, hits)
	var d *mismatch
	if err == nil || errors.As(err, &d) && d.index > len(s.Requests) {
		return err
	}
	if err == errLost {
		return p.restart()
	}
	// The C side may be anywhere: the next session gets a new one.
	if d == nil {
		return errors.Join(err, p.p.Stop(), p.restart())
	}
	if restarted := p.restart(); restarted != nil {
		return restarted
	}
	return err
}

// restart replaces the C side.
func (p *pair) restart() error {
	stopped := p.p.Stop() // it may have been in the middle of something
	again, err := rig.Start(p.bin)
	if err != nil {
		return errors.Join(stopped, err)
	}
	p.p = again
	return nil
}

func (p *pair) session(s *sequence, gen *generator, hits map[string]int) (err error) {
	c, err := newCSide(p.p, &s.Config)
	if err != nil {
		return err
	}
	g, err := newGoSide(&s.Config)
	if err != nil {
		return err
	}
	defer func() {
		for o, n := range c.tree.served {
			p.calls[o] += n
		}
	}()
	gm := &game{k: newKernel(&s.Config), c: c, g: g, hits: hits, seq: s}
	defer func() {
		if err != nil {
			g.tree.calm = true
			_, endErr := g.end()
			if endErr != nil {
				err = errors.Join(err, endErr)
			}
		}
	}()
	if err := gm.init(); err != nil {
		return err
	}
	var sent []*resolved
	failed := func(err error) error {
		var d *mismatch
		if errors.As(err, &d) {
			d.sent = sent
		}
		return err
	}
	for i := 0; !gm.over; i++ {
		if i == len(s.Requests) {
			if gen == nil || !gen.add(s, gm.k) {
				break
			}
		}
		x, ok := gm.k.resolve(&s.Requests[i])
		if !ok {
			sent = append(sent, nil)
			continue
		}
		sent = append(sent, &x)
		if err := gm.step(i, &x); err != nil {
			return failed(err)
		}
	}
	return failed(gm.end(len(s.Requests)))
}

// init plays INIT, of which only what the path layer decides is compared: the rest is the other oracle's.
func (gm *game) init() error {
	in := wire.InitIn{Major: 7, Minor: 38, MaxReadahead: 1 << 17, Flags: 0x7fffffff &^ uint32(wire.InitSetxattrExt)}
	req := rig.Request{Opcode: wire.OpInit, Unique: 2, Body: pack(nil, &in)}
	cs, err := gm.c.request(req.Bytes())
	if err != nil {
		return err
	}
	gs, err := gm.g.request(req.Bytes())
	if err != nil {
		return err
	}
	const ours = wire.InitExportSupport | wire.InitPosixLocks | wire.InitFlockLocks | wire.InitSpliceRead
	for _, s := range []*rig.Step{&cs, &gs} {
		if len(s.Replies) != 1 || len(s.Replies[0]) < 64 {
			return &mismatch{seq: gm.seq, what: "INIT", c: cs, want: cs, got: gs}
		}
		b := make([]byte, headerOut)
		binary.NativeEndian.PutUint32(b, uint32(ours)&binary.NativeEndian.Uint32(s.Replies[0][28:]))
		s.Replies[0] = b
	}
	return gm.compare(0, "INIT", cs, cs, gs)
}

func (gm *game) compare(i int, what string, c, want, got rig.Step) error {
	if slices.EqualFunc(want.Replies, got.Replies, bytes.Equal) && slices.Equal(want.Lines, got.Lines) {
		return nil
	}
	return &mismatch{seq: gm.seq, index: i, what: what, c: c, want: want, got: got}
}

// both plays one request on both sides.
func (gm *game) both(x *resolved) (cs, gs rig.Step, err error) {
	if x.Op == opInvalidate {
		path, ok := gm.k.path(x.node)
		if x.Name != "" || !ok {
			path += "/" + x.Name
		}
		if cs, err = gm.c.invalidate(path); err != nil {
			return cs, gs, err
		}
		gs, err = gm.g.invalidate(path)
		return cs, gs, err
	}
	if cs, err = gm.c.request(gm.k.message(x, 0)); err != nil {
		return cs, gs, fmt.Errorf("%s: %w", x.describe(), err)
	}
	gs, err = gm.g.request(gm.k.message(x, 1))
	return cs, gs, err
}

func (gm *game) step(i int, x *resolved) error {
	gm.c.tree.seen, gm.g.tree.seen = nil, nil
	if x.Op == opBehind {
		path, _ := gm.k.path(x.node)
		path2, _ := gm.k.path(x.node2)
		from, to := gm.below(path+"/"+x.Name), gm.below(path2+"/"+x.Name2)
		gm.c.tree.behind(x.Args[0], from, to)
		gm.g.tree.behind(x.Args[0], from, to)
		return nil
	}
	cs, gs, err := gm.both(x)
	if err != nil {
		return err
	}
	cfh, gfh := handleOf(x, cs), handleOf(x, gs)
	want, err := gm.rules(x, cs, gs)
	if err != nil {
		return err
	}
	if err := gm.compare(i, "request", cs, want, gs); err != nil {
		return err
	}
	if gm.over {
		return nil
	}
	gm.learn(x, want, cfh, gfh)
	if x.Op == wire.OpRelease {
		if err := gm.forsaken(i, x); err != nil || gm.over {
			return err
		}
		slices.Sort(gm.c.deleted) // forsaken changes the order
		slices.Sort(gm.g.deleted)
	}
	if !slices.Equal(gm.c.deleted, gm.g.deleted) {
		note := func(s rig.Step, ids []uint64) rig.Step {
			return rig.Step{Lines: append(slices.Clone(s.Lines), fmt.Sprintf("deleted nodes %d", ids))}
		}
		return &mismatch{seq: gm.seq, index: i, what: "nodes that are deleted", c: note(cs, gm.c.deleted), want: note(want, gm.c.deleted),
			got: note(gs, gm.g.deleted)}
	}
	for _, id := range gm.c.deleted {
		gm.k.deleted(id)
	}
	gm.c.deleted, gm.g.deleted = nil, nil
	return nil
}

// succeeded reports whether a request was answered without an error, and returns the answer's body.
func succeeded(x *resolved, s *rig.Step) ([]byte, bool) {
	for _, b := range s.Replies {
		if len(b) >= headerOut && binary.NativeEndian.Uint64(b[8:]) == x.unique && binary.NativeEndian.Uint32(b[4:]) == 0 {
			return b[headerOut:], true
		}
	}
	return nil, false
}

// handleOf takes the handle out of the answer to an OPENDIR, which is an address on one side and a number on the other.
func handleOf(x *resolved, s rig.Step) uint64 {
	b, ok := succeeded(x, &s)
	if !ok || x.Op != wire.OpOpendir {
		return 0
	}
	fh := binary.NativeEndian.Uint64(b)
	clear(b[:8])
	return fh
}

// learn is what the kernel makes of an answer.
func (gm *game) learn(x *resolved, s rig.Step, cfh, gfh uint64) {
	k, e := gm.k, binary.NativeEndian
	hidden := ""
	for i := range gm.c.tree.seen {
		if c := &gm.c.tree.seen[i]; c.answer.err == 0 && hidden == "" {
			hidden = hiddenName(&c.call, x)
		}
	}
	b, ok := succeeded(x, &s)
	k.update(x, ok, hidden)
	if !ok {
		return
	}
	entry := func(index int, dir *knode, name string, b []byte) {
		if id := e.Uint64(b); id != 0 {
			k.entry(ref{x.Serial, uint32(index)}, dir, name, id, e.Uint32(b[40+60:]))
		}
	}
	switch x.Op {
	case wire.OpLookup:
		switch name := x.Name; name {
		case ".", "..":
			entry(0, nil, "", b)
		default:
			entry(0, x.node, name, b)
		}
	case wire.OpMknod, wire.OpMkdir, wire.OpSymlink, wire.OpLink:
		entry(0, x.node, x.Name, b)
	case wire.OpCreate:
		entry(0, x.node, x.Name, b)
		fh := e.Uint64(b[128:])
		k.opened(x.Serial, k.nodes[e.Uint64(b)], false, [2]uint64{fh, fh})
	case wire.OpOpen:
		fh := e.Uint64(b)
		k.opened(x.Serial, x.node, false, [2]uint64{fh, fh})
	case wire.OpOpendir:
		k.opened(x.Serial, x.node, true, [2]uint64{cfh, gfh})
	case wire.OpReaddir:
		for d, err := range wire.Dirents(b) {
			if err == nil {
				x.handle.offs = append(x.handle.offs, d.Off)
			}
		}
	case wire.OpReaddirplus:
		n := 0
		for d, err := range wire.Direntpluses(b) {
			if err == nil {
				x.handle.offs = append(x.handle.offs, d.Dirent.Off)
				if d.Entry.NodeID != 0 {
					k.entry(ref{x.Serial, uint32(n)}, x.node, string(d.Name), d.Entry.NodeID, d.Entry.Attr.Mode)
				}
				n++
			}
		}
	}
}

// end ends the session. Hidden files that are left are unlinked in whatever order.
func (gm *game) end(i int) error {
	gm.c.tree.seen, gm.g.tree.seen = nil, nil
	if gm.lost {
		if _, err := gm.g.end(); err != nil {
			return err
		}
		return errLost
	}
	cs, err := gm.c.end()
	if err != nil {
		return err
	}
	gs, err := gm.g.end()
	if err != nil || gm.over {
		return err
	}
	want := rig.Step{Lines: slices.Clone(cs.Lines), Replies: cs.Replies}
	return gm.compare(i, "end", cs, gm.endRules(want, gs), gs)
}

// Error shows the session up to the difference, both sides decoded.
func (d *mismatch) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "request %d: %s differs; session %+v\n", d.index, d.what, d.seq.Config)
	ops := map[uint64]wire.Opcode{}
	for i, x := range d.sent {
		if x == nil {
			fmt.Fprintf(&b, "%4d (left out) %s\n", i, d.seq.Requests[i].describe())
			continue
		}
		ops[x.unique] = x.Op
		fmt.Fprintf(&b, "%4d node %d %s\n", i, x.node.id, x.describe())
	}
	side := func(name string, s *rig.Step) {
		fmt.Fprintf(&b, "%s:\n", name)
		for _, l := range s.Lines {
			fmt.Fprintf(&b, "\tline  %s\n", l)
		}
		for _, p := range s.Replies {
			fmt.Fprintf(&b, "\treply %s\n", rig.DescribeReply(ops, p))
		}
	}
	side("libfuse", &d.c)
	side("libfuse after the rules", &d.want)
	side("purefuse", &d.got)
	for i := range min(len(d.want.Replies), len(d.got.Replies)) {
		w, g := d.want.Replies[i], d.got.Replies[i]
		if bytes.Equal(w, g) {
			continue
		}
		at := 0
		for at < min(len(w), len(g)) && w[at] == g[at] {
			at++
		}
		fmt.Fprintf(&b, "reply %d differs at byte %d of %d and %d\n", i, at, len(w), len(g))
	}
	return b.String()
}

// errorReply is a reply without a body.
func errorReply(unique uint64, e syscall.Errno) []byte {
	return pack(nil, uint32(headerOut), -int32(e), unique)
}
