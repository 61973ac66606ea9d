//go:build linux

package oracle

import (
	"testing"

	"github.com/purefuse/purefuse/wire"
)

func TestC(t *testing.T) {
	bin, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := start(bin)
	if err != nil {
		t.Fatal(err)
	}
	reqs, reps, lines := 0, 0, 0
	ops := map[wire.Opcode]int{}
	for i := range uint64(20000) {
		s := generate(1, i)
		var m [][]byte
		for _, r := range s.Requests {
			m = append(m, r.bytes())
			ops[r.Opcode]++
		}
		res, err := p.run(s.Config, m)
		if err != nil {
			for j, r := range s.Requests {
				t.Logf("%d %v %x", j, r.Opcode, r.bytes())
			}
			t.Fatalf("%d: %v", i, err)
		}
		reqs += len(m)
		for _, st := range res.Steps {
			reps += len(st.Replies)
			lines += len(st.Lines)
		}
		if i < 0 {
			for j, st := range res.Steps {
				t.Logf("%d.%d %x %q", i, j, st.Replies, st.Lines)
			}
		}
	}
	t.Log(reqs, reps, lines, len(ops))
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
}
