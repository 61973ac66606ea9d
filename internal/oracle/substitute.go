//go:build linux

package oracle

import (
	"encoding/binary"
	"slices"

	"github.com/purefuse/purefuse/wire"
)

// fate is what the test makes of a request before it reaches the oracle.
type fate int

const (
	same      fate = iota // the oracle gets it as it is
	cut                   // without its extensions, which 3.14 takes for data
	refused               // malformed and refused by purefuse's operation: the script fails it
	withheld              // purefuse ends it before libfuse would look: the oracle does not get it
	clamped               // a batch that promises more than it has: the oracle gets the count that is there
	unknown               // an operation newer than 3.14, refused: another one stands in
	narrowed              // COPY_FILE_RANGE_64: the oracle gets it as COPY_FILE_RANGE
	tooOld                // INIT of a major version before 7, which ends purefuse's session
	destroyed             // after DESTROY
	over                  // after tooOld
)

// fates looks at the whole sequence.
func (s *sequence) fates() []fate {
	var (
		out     = make([]fate, len(s.Requests))
		gotInit bool
		minor   uint32
		rest    fate // of what comes after an end of some kind
	)
	for i := range s.Requests {
		r := &s.Requests[i]
		switch {
		case rest != same:
			out[i] = rest
		case r.Opcode == wire.OpInit && !gotInit:
			if len(r.Body) < 8 {
				out[i] = withheld
				continue
			}
			switch major := u32(r.Body, 0); {
			case major < 7:
				out[i], rest = tooOld, over
			case major == 7:
				gotInit, minor = true, u32(r.Body, 4)
			}
		case gotInit:
			out[i] = fateOf(r, minor)
			if r.Opcode == wire.OpDestroy && !s.Config.denies(r) {
				rest = destroyed
			}
		}
	}
	return out
}

func fateOf(r *request, minor uint32) fate {
	d := defects(minor, r)
	switch {
	case d == short:
		return withheld
	case r.Opcode == wire.OpBatchForget && d == overrun:
		return clamped
	case d != sound:
		return refused
	}
	switch r.Opcode {
	case wire.OpSyncfs, wire.OpTmpfile, wire.OpStatx:
		return unknown
	case wire.OpCopyFileRange64:
		return narrowed
	case wire.OpSymlink, wire.OpMknod, wire.OpMkdir, wire.OpCreate:
		return same // a name ends where it ends
	}
	if len(bodyOf(r, minor)) != len(r.Body) {
		return cut
	}
	return same
}

// bodyOf is a request's body without its extensions. Those that are longer than what follows the fixed part do not count.
func bodyOf(r *request, minor uint32) []byte {
	if lk := r.Opcode == wire.OpGetlk || r.Opcode == wire.OpSetlk || r.Opcode == wire.OpSetlkw; lk && minor < 9 && r.ExtLen == 0 {
		return r.Body[:min(len(r.Body), 40)] // there are no flags yet, but libfuse looks for them
	}
	if n := int(r.ExtLen) * 8; n <= len(r.Body)-shapes[r.Opcode].size(minor) {
		return r.Body[:len(r.Body)-n]
	}
	return r.Body
}

// forC is the sequence as the oracle gets it.
func (s *sequence) forC() []message {
	fates := s.fates()
	out := make([]message, len(fates))
	minor := uint32(0)
	for i, f := range fates {
		r := s.Requests[i]
		plain := func() { r.Body, r.ExtLen = bodyOf(&r, minor), 0 }
		if r.Opcode == wire.OpInit && u32(r.Body, 0) == 7 {
			minor = u32(r.Body, 4)
		}
		denied := s.Config.denies(&r)
		switch f {
		case withheld, destroyed, over:
			out[i].nothing = true
			continue
		case cut:
			plain()
		case refused:
			out[i].malformed = true
			plain()
		case clamped:
			r.Body = slices.Clone(bodyOf(&r, minor))
			binary.NativeEndian.PutUint32(r.Body, uint32((len(r.Body)-8)/16))
			r.ExtLen = 0
		case unknown:
			if !denied {
				out[i].malformed = true
				r.Opcode, r.Body, r.ExtLen = wire.OpFallocate, make([]byte, 32), 0
			}
		case narrowed:
			if !denied {
				plain()
				r.Opcode = wire.OpCopyFileRange
			}
		}
		out[i].data = r.Bytes()
	}
	return out
}

// denies reports whether allow_root keeps the request from its operation. Tests run as the owner, whose id is 0.
func (c *config) denies(r *request) bool {
	if c.Flags&fAllowRoot == 0 || r.UID == 0 || r.UID == owner {
		return false
	}
	switch r.Opcode {
	case wire.OpInit, wire.OpRead, wire.OpWrite, wire.OpFsync, wire.OpRelease, wire.OpReaddir, wire.OpFsyncdir, wire.OpReleasedir,
		wire.OpNotifyReply, wire.OpReaddirplus:
		return false
	}
	return true
}
