//go:build linux

package oracle

import (
	"slices"

	"github.com/purefuse/purefuse/internal/oracle/rig"
)

// shrink makes a failing sequence smaller for as long as fails says that it still fails: first without requests, then with
// shorter and plainer bodies, then with a plainer session.
func shrink(s sequence, fails func(*sequence) bool) sequence {
	try := func(t sequence) bool {
		if !fails(&t) {
			return false
		}
		s = t
		return true
	}
	for again := true; again; {
		before := len(s.Requests)
		rig.Thin(s.Requests, func(rest []request) bool { return try(sequence{s.Config, rest}) })
		again = len(s.Requests) < before
		for i := range s.Requests {
			for n := len(s.Requests[i].Body); n > 0; n /= 2 {
				for len(s.Requests[i].Body) >= n && try(s.with(i, func(r *request) { r.Body = r.Body[:len(r.Body)-n] })) {
					again = true
				}
			}
			for k := range min(len(s.Requests[i].Body), 512) {
				if s.Requests[i].Body[k] != 0 && try(s.with(i, func(r *request) { r.Body[k] = 0 })) {
					again = true
				}
			}
			for _, zero := range []func(*request){
				func(r *request) { r.NodeID = 0 }, func(r *request) { r.UID = 0 }, func(r *request) { r.GID = 0 },
				func(r *request) { r.PID = 0 }, func(r *request) { r.ExtLen = 0 }, func(r *request) { r.LenOff = 0 },
			} {
				try(s.with(i, zero))
			}
		}
	}
	for _, plain := range []func(*config){
		func(c *config) { c.Want, c.Unwant = 0, 0 }, func(c *config) { c.MaxWrite = 0 }, func(c *config) { c.MaxReadahead = 0 },
		func(c *config) { c.MaxBackground = 0 }, func(c *config) { c.Congestion = 0 }, func(c *config) { c.TimeGran = 0 },
		func(c *config) { c.MaxReadOption, c.MaxReadConn = 0, 0 }, func(c *config) { c.Flags = 0 }, func(c *config) { c.Ops = 0 },
		func(c *config) { c.Ops = 1<<opCount - 1 },
	} {
		t := sequence{s.Config, s.Requests}
		plain(&t.Config)
		try(t)
	}
	return s
}

// with is the sequence with one request changed.
func (s *sequence) with(i int, change func(*request)) sequence {
	t := sequence{s.Config, slices.Clone(s.Requests)}
	t.Requests[i].Body = slices.Clone(t.Requests[i].Body)
	change(&t.Requests[i])
	return t
}
