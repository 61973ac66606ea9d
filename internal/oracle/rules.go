//go:build linux

package oracle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
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
	{"init-old-major", initOldMajor},
	{"after-destroy", afterDestroy},
	{"short-request", shortRequest},
	{"malformed-request", malformedRequest},
	{"no-reply-refused", noReplyRefused},
	{"init-version", initVersion},
	{"init-capable", initCapable},
	{"init-flags", initFlags},
	{"init-max-write", initMaxWrite},
	{"init-readahead", initReadahead},
	{"init-failed", initFailed},
	{"errno-range", errnoRange},
	{"newer-operation", newerOperation},
	{"copy-length", copyLength},
	{"no-open", noOpen},
	{"forget-multi", forgetMulti},
	{"batch-forget-caller", batchForgetCaller},
	{"timeouts", timeouts},
}

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

// initMaxWrite: 3.14 bounds max_write by its buffer before init(), which may raise it again, even to what max_pages cannot
// say; purefuse bounds it after, and keeps the kernel's lower bound of one page.
func initMaxWrite(m *model, r *request, want, _ *step) (used bool) {
	if r.Opcode != wire.OpInit {
		return false
	}
	for i, l := range want.Lines {
		if head, _, ok := strings.Cut(l, " | "); ok {
			want.Lines[i] = fmt.Sprintf("%s | read=%d write=%d", head, m.cfg.MaxReadOption, 1<<20)
			used = used || want.Lines[i] != l
		}
	}
	b := initReply(r, want)
	if len(b) < 16+24 || u32(r.Body, 0) != 7 {
		return used
	}
	paged := u32(r.Body, 4) >= 6 && u32(r.Body, 12)&uint32(wire.InitMaxPages) != 0
	limit := uint32(32 * 4096)
	if paged {
		limit = math.MaxUint16 * 4096
	}
	has := u32(b, 16+20)
	size := min(max(has, 4096), limit)
	pages := (size-1)/4096 + 1
	long := len(b) >= 16+64 && paged
	if size == has && (!long || uint32(binary.NativeEndian.Uint16(b[16+28:])) == pages) {
		return used
	}
	b = edit(want)
	binary.NativeEndian.PutUint32(b[16+20:], size)
	if long {
		binary.NativeEndian.PutUint16(b[16+28:], uint16(pages))
	}
	return true
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

// initReadahead: 3.14 lets init() raise max_readahead over the kernel's offer, of which the kernel takes the smaller.
func initReadahead(_ *model, r *request, want, _ *step) bool {
	b := initReply(r, want)
	if len(b) < 16+24 || u32(r.Body, 0) != 7 {
		return false
	}
	var offered uint32
	if u32(r.Body, 4) >= 6 {
		offered = u32(r.Body, 8)
	}
	if u32(b, 16+8) <= offered {
		return false
	}
	binary.NativeEndian.PutUint32(edit(want)[16+8:], offered)
	return true
}

// initFailed: 3.14 calls destroy() of a file system whose INIT failed.
func initFailed(m *model, r *request, want, _ *step) bool {
	if n := len(want.Lines); n > 0 && m.failed && want.Lines[n-1] == "destroy" {
		want.Lines = want.Lines[:n-1]
		return true
	}
	return false
}

// noReply reports whether nothing may be answered to the opcode.
func noReply(op wire.Opcode) bool {
	return op == wire.OpForget || op == wire.OpBatchForget || op == wire.OpNotifyReply
}

// fails makes the request's only effect an error, or none if nothing may be answered.
func fails(r *request, want *step, code syscall.Errno) {
	*want = step{}
	if !noReply(r.Opcode) {
		want.Replies = [][]byte{errorReply(r.Unique, -int32(code))}
	}
}

// initOldMajor: a kernel with a major version before 7 gets EPROTO; 3.14 then waits for requests that cannot come, purefuse's
// Serve returns the reason.
func initOldMajor(m *model, r *request, want, _ *step) bool {
	switch {
	case m.fate == over:
		*want = step{}
		return true
	case m.end && m.tooOld:
		for i, l := range want.Lines {
			if l == "end exited=0" {
				want.Lines[i] = "end exited=1"
			}
		}
		return true
	}
	return false
}

// afterDestroy: 3.14 goes on serving after DESTROY, purefuse, as libfuse since, answers EIO until the next INIT.
func afterDestroy(m *model, r *request, want, _ *step) bool {
	if m.fate != destroyed {
		return false
	}
	fails(r, want, syscall.EIO)
	return true
}

// shortRequest: libfuse reads the missing part of a request from whatever is in its buffer, purefuse answers EIO, or EPROTO
// to INIT. Nothing else about the session changes.
func shortRequest(m *model, r *request, want, _ *step) bool {
	if m.fate != withheld {
		return false
	}
	code := syscall.EIO
	switch {
	case m.cfg.denies(r):
		code = syscall.EACCES
	case r.Opcode == wire.OpInit:
		code = syscall.EPROTO
	}
	fails(r, want, code)
	return true
}

// malformedRequest: libfuse takes what is behind its request for the rest of a name or of data, purefuse answers EIO and does
// not call the operation. The oracle's script fails such requests with EIO, too, so that only the call remains.
func malformedRequest(m *model, r *request, want, _ *step) bool {
	if m.fate != refused || len(want.Lines) == 0 {
		return false
	}
	want.Lines = nil
	return true
}

// noReplyRefused: 3.14 answers EIO and EACCES to requests to which nothing may be answered.
func noReplyRefused(_ *model, r *request, want, _ *step) bool {
	if !noReply(r.Opcode) {
		return false
	}
	n := len(want.Replies)
	want.Replies = slices.DeleteFunc(want.Replies, func(b []byte) bool { return replyUnique(b) == r.Unique && replyError(b) != 0 })
	return len(want.Replies) != n
}

// initCapable: 3.14 knows EXPIRE_ONLY only by the kernel's minor, purefuse by its INIT flag as well.
func initCapable(_ *model, r *request, want, _ *step) bool {
	if r.Opcode != wire.OpInit || len(want.Lines) != 1 || u32(r.Body, 4) < 6 || u32(r.Body, 12)&uint32(wire.InitExt) == 0 ||
		wire.InitFlags(u32(r.Body, 16))<<32&wire.InitHasExpireOnly == 0 || u32(r.Body, 4) >= 38 {
		return false
	}
	head, rest, ok := strings.Cut(want.Lines[0], " capable=")
	if !ok {
		return false
	}
	have, err := strconv.ParseUint(rest[:8], 16, 32)
	if err != nil {
		return false
	}
	want.Lines[0] = fmt.Sprintf("%s capable=%08x%s", head, have|1<<26, rest[8:])
	return true
}

// newerOperation: SYNCFS, TMPFILE and STATX are not in 3.14's table, which makes them unknown; in purefuse they are
// operations that the script does not have.
func newerOperation(m *model, r *request, want, _ *step) bool {
	if m.fate != unknown || m.cfg.denies(r) {
		return false
	}
	answer := errorReply(r.Unique, -int32(syscall.ENOSYS))
	last := len(want.Replies) - 1
	if len(want.Lines) == 0 && bytes.Equal(want.Replies[last], answer) {
		return false
	}
	want.Lines, want.Replies[last] = nil, answer
	return true
}

// copyLength: the length of COPY_FILE_RANGE is bounded to what its answer can say, that of COPY_FILE_RANGE_64 is not.
func copyLength(_ *model, r *request, want, _ *step) bool {
	if r.Opcode != wire.OpCopyFileRange || len(want.Lines) == 0 {
		return false
	}
	last := len(want.Lines) - 1
	for ; last > 0 && !strings.HasPrefix(want.Lines[last], "copy_file_range "); last-- {
	}
	head, size, ok := strings.Cut(want.Lines[last], " | len=")
	if n, err := strconv.ParseUint(size, 10, 64); !ok || err != nil || n <= 0xfffff000 {
		return false
	}
	want.Lines[last] = fmt.Sprint(head, " | len=", uint32(0xfffff000))
	return true
}

// noOpen: a nil Open or Opendir answers ENOSYS if the file system wants NO_OPEN_SUPPORT or NO_OPENDIR_SUPPORT, since 3.17.
func noOpen(m *model, r *request, want, _ *step) bool {
	var op, bit int
	switch r.Opcode {
	case wire.OpOpen:
		op, bit = opOpen, 17
	case wire.OpOpendir:
		op, bit = opOpendir, 24
	default:
		return false
	}
	n := len(want.Replies) - 1
	if n < 0 || m.cfg.has(op) || !m.cfg.has(opInit) || m.cfg.Want>>bit&1 == 0 || m.cfg.Unwant>>bit&1 != 0 || m.offered>>bit&1 == 0 ||
		replyUnique(want.Replies[n]) != r.Unique || replyError(want.Replies[n]) != 0 {
		return false
	}
	want.Replies[n] = errorReply(r.Unique, -int32(syscall.ENOSYS))
	return true
}

// forgetMulti: libfuse gives a single FORGET only to forget(), so that a file system with forget_multi() alone misses it.
func forgetMulti(m *model, r *request, want, _ *step) bool {
	if r.Opcode != wire.OpForget || m.fate != same && m.fate != cut || !m.gotInit || m.cfg.has(opForget) || !m.cfg.has(opForgetMulti) || m.cfg.denies(r) || m.exited {
		return false
	}
	want.Lines = append(want.Lines, fmt.Sprintf("forget_multi count=1 %x:%x ctx=%d/%d/%d/0", r.NodeID, binary.NativeEndian.Uint64(r.Body),
		r.UID, r.GID, int32(r.PID)))
	return true
}

// batchForgetCaller: the elements of a batch that go to forget() one by one have no caller; the kernel sends none either.
func batchForgetCaller(m *model, r *request, want, _ *step) (used bool) {
	if r.Opcode != wire.OpBatchForget {
		return false
	}
	for i, l := range want.Lines {
		if head, ctx, ok := strings.Cut(l, " ctx="); ok && strings.HasPrefix(l, "forget ") && ctx != "0/0/0/0" {
			want.Lines[i] = head + " ctx=0/0/0/0"
			used = true
		}
	}
	return used
}

// timeouts: libfuse's timeouts are doubles, of which it cuts off what is below a nanosecond; purefuse's are whole nanoseconds
// and travel as they are.
func timeouts(m *model, r *request, want, got *step) (used bool) {
	if m.cfg.Flags&fFractions == 0 || len(want.Replies) != len(got.Replies) {
		return false
	}
	for i, w := range want.Replies {
		g := got.Replies[i]
		if len(w) != len(g) || bytes.Equal(w, g) {
			continue
		}
		var at []int // of seconds and nanoseconds
		switch {
		case r.Opcode == wire.OpGetattr || r.Opcode == wire.OpSetattr:
			at = []int{16, 24}
		case r.Opcode == wire.OpReaddirplus:
			for off := 16; off+152 <= len(w); {
				at = append(at, off+16, off+32, off+24, off+36)
				off += wire.DirentplusSize(int(u32(w, off+144)))
			}
		default:
			at = []int{32, 48, 40, 52}
		}
		b := slices.Clone(w)
		for k := 0; k+1 < len(at) && at[k+1]+4 <= len(b); k += 2 {
			sec, nsec := at[k], at[k+1]
			ns := func(b []byte) int64 { return int64(binary.NativeEndian.Uint64(b[sec:]))*1e9 + int64(u32(b, nsec)) }
			// Ten thousand seconds in a double leave 2^-39 of a second, two picoseconds; what is cut off is one nanosecond.
			if d := ns(g) - ns(b); d == 1 && ns(g) < 10000e9 {
				copy(b[sec:sec+8], g[sec:])
				copy(b[nsec:nsec+4], g[nsec:])
				used = true
			}
		}
		want.Replies[i] = b
	}
	return used
}
