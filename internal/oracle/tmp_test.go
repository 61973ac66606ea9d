//go:build linux

package oracle

import (
	"testing"
	"github.com/purefuse/purefuse/wire"
)
const oracleCaps = 0x079ffc5b
func TestProbe(t *testing.T) {
	bin, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := start(bin)
	if err != nil {
		t.Fatal(err)
	}
	c := config{Ops: 1<<opCount-1, Flags: fDebug}
	run := func(rs ...request) {
		t.Helper()
		var m [][]byte
		for i := range rs {
			rs[i].Unique = uint64(2*i+2)
			m = append(m, rs[i].bytes())
		}
		res, err := p.run(c, m)
		if err != nil { t.Fatal(err) }
		for i, st := range res.Steps {
			t.Logf("%d %x %q", i, st.Replies, st.Lines)
		}
		t.Logf("%q", res.Log)
	}
	init := request{Opcode: wire.OpInit, Body: pack(&wire.InitIn{Major: 7, Minor: 40, Flags: 0xffffffff, Flags2: 0xffffffff, MaxReadahead: 1<<20})}
	run(init, request{Opcode: wire.OpSetxattr, Body: append(pack(&wire.SetxattrIn{Size: 3, Flags: 1})[:8], "abcdefghijkl\x00val"...)})
	init38 := request{Opcode: wire.OpInit, Body: pack(&wire.InitIn{Major: 7, Minor: 38, Flags: 0x7fffffff, Flags2: 0xffffffff, MaxReadahead: 1<<20})}
	run(init38)
	init38 = request{Opcode: wire.OpInit, Body: pack(&wire.InitIn{Major: 7, Minor: 36, Flags: 0x3fffffff, Flags2: 0, MaxReadahead: 1<<20})}
	run(init38)
}
