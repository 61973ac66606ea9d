//go:build linux

package oracle

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/purefuse/purefuse/wire"
)

// rule is one intended difference of docs/differences.md: apply turns what libfuse 3.14 did into what purefuse has to do,
// and reports whether that is something else. got is what purefuse did: only for a rule that leaves it some freedom.
type rule struct {
	name  string
	apply func(m *model, r *request, want, got *step) bool
}

func apply(m *model, r *request, want, got *step) (used []string) {
	for _, ru := range rules {
		if ru.apply(m, r, want, got) {
			used = append(used, ru.name)
		}
	}
	return used
}

// rules in the order in which they are applied. The names stand in docs/differences.md.
var rules = []rule{
	{"init-version", initVersion},
	{"init-flags", initFlags},
	{"init-max-write", initMaxWrite},
	{"errno-range", errnoRange},
}

// bufferHeader is what libfuse adds to max_write for its buffer.
const bufferHeader = 4096

// initReply finds the answer to an accepted INIT of major 7.
func initReply(r *request, s *step) []byte {
	if r.Opcode != wire.OpInit || len(s.Replies) == 0 {
		return nil
	}
	if b := s.Replies[len(s.Replies)-1]; len(b) > 16 {
		return b
	}
	return nil
}

// edit replaces the last reply by a copy that may be changed.
func edit(s *step) []byte {
	b := slices.Clone(s.Replies[len(s.Replies)-1])
	s.Replies[len(s.Replies)-1] = b
	return b
}

// initVersion: Debian's 3.14 says 7.31, purefuse says what it knows.
func initVersion(_ *model, r *request, want, _ *step) bool {
	if initReply(r, want) == nil {
		return false
	}
	binary.NativeEndian.PutUint32(edit(want)[20:], wire.KernelMinor)
	return true
}

// initFlags: 3.14 never says HANDLE_KILLPRIV and PARALLEL_DIROPS to the kernel although it wants them, purefuse says them if
// the file system asked for them.
func initFlags(m *model, r *request, want, _ *step) bool {
	if initReply(r, want) == nil || len(initReply(r, want)) < 16+16 || u32(r.Body, 0) != 7 || u32(r.Body, 4) < 6 || !m.cfg.has(opInit) {
		return false
	}
	var add wire.InitFlags
	offered := wire.InitFlags(u32(r.Body, 12))
	for _, c := range []struct {
		bit  int
		flag wire.InitFlags
	}{{18, wire.InitParallelDirops}, {20, wire.InitHandleKillpriv}} {
		if m.cfg.Want>>c.bit&1 != 0 && m.cfg.Unwant>>c.bit&1 == 0 && offered&c.flag != 0 {
			add |= c.flag
		}
	}
	if add == 0 {
		return false
	}
	b := edit(want)
	binary.NativeEndian.PutUint32(b[28:], binary.NativeEndian.Uint32(b[28:])|uint32(add))
	return true
}

// initMaxWrite: 3.14 bounds max_write by its buffer before init(), which may raise it again; purefuse bounds it after, and
// keeps the kernel's lower bound of one page.
func initMaxWrite(m *model, r *request, want, _ *step) (used bool) {
	for i, l := range want.Lines {
		if head, size, ok := strings.Cut(l, " | write="); ok && strings.HasPrefix(l, "init ") && size != fmt.Sprint(1<<20) {
			want.Lines[i] = head + fmt.Sprint(" | write=", 1<<20)
			used = true
		}
	}
	b := initReply(r, want)
	if len(b) < 16+24 || u32(b, 16) != 7 || u32(r.Body, 0) != 7 {
		return used
	}
	limit := uint32(1 << 20)
	if u32(r.Body, 4) >= 6 && u32(r.Body, 12)&uint32(wire.InitMaxPages) == 0 {
		limit = 32 * 4096
	}
	has := u32(b, 16+20)
	if size := min(max(has, 4096), limit); size != has {
		b = edit(want)
		binary.NativeEndian.PutUint32(b[16+20:], size)
		if len(b) >= 16+64 && u32(b, 16+12)&uint32(wire.InitMaxPages) != 0 {
			binary.NativeEndian.PutUint16(b[16+28:], uint16((size-1)/4096+1))
		}
		used = true
	}
	return used
}

// errnoRange: 3.14 lets every error below 1000 through, newer ones only those with a name.
func errnoRange(_ *model, _ *request, want, _ *step) (used bool) {
	for i, b := range want.Replies {
		switch e := -replyError(b); {
		case e == 41, e == 58, e > 133 && e < 1000:
			want.Replies[i] = errorReply(replyUnique(b), -int32(syscall.ERANGE))
			used = true
		}
	}
	return used
}
