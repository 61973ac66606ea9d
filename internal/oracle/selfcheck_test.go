//go:build linux

package oracle

import "testing"

const oracleCaps = 0x079ffc5b

func TestCC(t *testing.T) {
	rules = nil
	bin, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := start(bin)
	if err != nil {
		t.Fatal(err)
	}
	q, err := start(bin)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20000) {
		s := generate(1, i)
		m := s.forC()
		a, err := p.run(s.Config, m)
		if err != nil {
			for j := range s.Requests {
				t.Log(j, s.Requests[j].describe())
			}
			t.Fatalf("%d %+v %v", i, s.Config, err)
		}
		b, err := q.run(s.Config, m)
		if err != nil {
			t.Fatal(i, err)
		}
		if d := compare(&s, a, b, map[string]int{}); d != nil {
			t.Fatal(i, d)
		}
	}
}
