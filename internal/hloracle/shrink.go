//go:build linux

package hloracle

import (
	"slices"

	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/wire"
)

// shrink makes a failing sequence smaller for as long as fails says that it still fails: without requests, then with plainer
// ones, then with a plainer session.
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
			for _, plain := range []func(*request){
				func(r *request) { r.UID, r.GID, r.PID = 0, 0, 0 },
				func(r *request) { r.Forgets = r.Forgets[:len(r.Forgets)/2] },
				func(r *request) { r.Data = r.Data[:min(1, len(r.Data))] },
				func(r *request) {
					if r.Op != wire.OpLookup {
						clear(r.Args[:])
					}
				},
			} {
				t := sequence{s.Config, slices.Clone(s.Requests)}
				plain(&t.Requests[i])
				try(t)
			}
		}
	}
	for _, plain := range []func(*config){
		func(c *config) { c.Ops = 1<<opCount - 1 }, func(c *config) { c.Flags = 0 }, func(c *config) { c.Options = "" },
		func(c *config) { c.Faults = 0 }, func(c *config) { c.OddModes = false }, func(c *config) { c.Listing = offsets },
		func(c *config) { c.EntryTimeout, c.AttrTimeout, c.NegativeTimeout = keep, keep, keep },
		func(c *config) { c.Umask, c.UID, c.GID = 0, 0, 0 },
	} {
		t := sequence{s.Config, s.Requests}
		plain(&t.Config)
		try(t)
	}
	for bit := range 11 {
		t := sequence{s.Config, s.Requests}
		if t.Config.Flags&(1<<bit) != 0 {
			t.Config.Flags &^= 1 << bit
			try(t)
		}
	}
	return s
}
