//go:build linux

package oracle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/wire"
)

// model follows a session from the outside, as far as the rules need it.
type model struct {
	cfg     *config
	fate    fate // of the request at hand
	end     bool // the session's end is at hand
	offered wire.InitFlags
	gotInit bool
	failed  bool // INIT was refused
	exited  bool // and so the session is over
	tooOld  bool
}

// advance takes over what a request changed; out is the C side's step.
func (m *model) advance(r *request, out *step) {
	m.tooOld = m.tooOld || m.fate == tooOld
	if r.Opcode != wire.OpInit || m.gotInit || m.fate != same || len(out.Replies) != 1 || u32(r.Body, 0) != 7 {
		return
	}
	if replyError(out.Replies[0]) != 0 {
		m.failed = m.failed || replyError(out.Replies[0]) == -int32(syscall.EPROTO)
		m.exited = m.failed
		return
	}
	m.gotInit = true
	if u32(r.Body, 4) >= 6 {
		m.offered = wire.JoinInitFlags(u32(r.Body, 12), u32(r.Body, 16))
	}
}

// u32 reads a field of a body; what is missing is zero.
func u32(b []byte, off int) uint32 {
	var v [4]byte
	if off < len(b) {
		copy(v[:], b[off:])
	}
	return binary.NativeEndian.Uint32(v[:])
}

var owner = uint32(os.Getuid())

func replyError(b []byte) int32   { return int32(binary.NativeEndian.Uint32(b[4:])) }
func replyUnique(b []byte) uint64 { return binary.NativeEndian.Uint64(b[8:]) }

// errorReply is a reply without a body; code is negative.
func errorReply(unique uint64, code int32) []byte {
	b := make([]byte, 16)
	binary.NativeEndian.PutUint32(b, 16)
	binary.NativeEndian.PutUint32(b[4:], uint32(code))
	binary.NativeEndian.PutUint64(b[8:], unique)
	return b
}

// mismatch is a difference that no rule covers.
type mismatch struct {
	seq      *sequence
	index    int
	c        step // as the oracle did it
	want     step // what the rules make of it
	got      step // what purefuse did
	hitRules []string
}

// compare holds purefuse's steps against the oracle's, changed by the rules; hits counts the rules that changed something.
func compare(seq *sequence, c, g *result, hits map[string]int) *mismatch {
	m := &model{cfg: &seq.Config}
	fates := seq.fates()
	for i := range c.Steps {
		r := &request{}
		m.fate, m.end = same, i == len(seq.Requests)
		if !m.end {
			r, m.fate = &seq.Requests[i], fates[i]
		}
		want := step{Replies: slices.Clone(c.Steps[i].Replies), Lines: slices.Clone(c.Steps[i].Lines)}
		var used []string
		if !m.exited || m.end {
			used = apply(m, r, &want, &g.Steps[i])
		}
		for _, name := range used {
			hits[name]++
		}
		if !equal(&want, &g.Steps[i]) {
			return &mismatch{seq, i, c.Steps[i], want, g.Steps[i], used}
		}
		m.advance(r, &c.Steps[i])
	}
	return nil
}

func equal(a, b *step) bool {
	return slices.EqualFunc(a.Replies, b.Replies, bytes.Equal) && slices.Equal(a.Lines, b.Lines)
}

// Error shows the session up to the difference, both sides decoded.
func (d *mismatch) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "step %d differs; session %+v\n", d.index, d.seq.Config)
	ops := map[uint64]wire.Opcode{}
	for i, r := range d.seq.Requests {
		if i > d.index {
			break
		}
		ops[r.Unique] = r.Opcode
		fmt.Fprintf(&b, "%4d %s\n", i, r.Describe())
	}
	if d.index == len(d.seq.Requests) {
		fmt.Fprintf(&b, "%4d end of the session\n", d.index)
	}
	side := func(name string, s *step) {
		fmt.Fprintf(&b, "%s:\n", name)
		for _, l := range s.Lines {
			fmt.Fprintf(&b, "\tline  %s\n", l)
		}
		for _, p := range s.Replies {
			fmt.Fprintf(&b, "\treply %s\n", rig.DescribeReply(ops, p))
		}
		if len(s.Lines)+len(s.Replies) == 0 {
			fmt.Fprintf(&b, "\tnothing\n")
		}
	}
	side("libfuse", &d.c)
	if len(d.hitRules) > 0 {
		side("libfuse after the rules "+strings.Join(d.hitRules, ", "), &d.want)
	}
	side("purefuse", &d.got)
	for i := range min(len(d.want.Replies), len(d.got.Replies)) {
		w, g := d.want.Replies[i], d.got.Replies[i]
		if !bytes.Equal(w, g) {
			n := min(len(w), len(g))
			at := n
			for k := range n {
				if w[k] != g[k] {
					at = k
					break
				}
			}
			fmt.Fprintf(&b, "reply %d differs at byte %d: libfuse %d bytes ..%x.., purefuse %d bytes ..%x..\n", i, at, len(w), window(w, at), len(g), window(g, at))
		}
	}
	return b.String()
}

func window(b []byte, at int) []byte { return b[min(max(0, at-8), len(b)):min(at+16, len(b))] }

// missing lists the rules of the table that no sequence needed: an entry of docs/differences.md that is not true any more.
func missing(hits map[string]int) (names []string) {
	for name := range maps.Keys(hits) {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			names = append(names, "unknown rule "+name)
		}
	}
	for _, r := range rules {
		if hits[r.name] == 0 {
			names = append(names, r.name)
		}
	}
	return names
}
