//go:build linux

package oracle

import (
	"bytes"

	"github.com/purefuse/purefuse/wire"
)

// shape is what a request of an opcode must have at least.
type shape struct {
	fixed int // bytes of the fixed struct
	old   int // what it had before minor since; 0: the same
	since uint32
	names int // NUL-terminated strings behind it
}

var shapes = map[wire.Opcode]shape{
	wire.OpLookup:        {names: 1},
	wire.OpForget:        {fixed: 8},
	wire.OpGetattr:       {fixed: 16, old: -1, since: 9},
	wire.OpSetattr:       {fixed: 88},
	wire.OpSymlink:       {names: 2},
	wire.OpMknod:         {fixed: 16, old: 8, since: 12, names: 1},
	wire.OpMkdir:         {fixed: 8, names: 1},
	wire.OpUnlink:        {names: 1},
	wire.OpRmdir:         {names: 1},
	wire.OpRename:        {fixed: 8, names: 2},
	wire.OpLink:          {fixed: 8, names: 1},
	wire.OpOpen:          {fixed: 8},
	wire.OpRead:          {fixed: 40, old: 24, since: 9},
	wire.OpWrite:         {fixed: 40, old: 24, since: 9},
	wire.OpRelease:       {fixed: 24},
	wire.OpFsync:         {fixed: 16},
	wire.OpSetxattr:      {fixed: 8, names: 1},
	wire.OpGetxattr:      {fixed: 8, names: 1},
	wire.OpListxattr:     {fixed: 8},
	wire.OpRemovexattr:   {names: 1},
	wire.OpFlush:         {fixed: 24},
	wire.OpOpendir:       {fixed: 8},
	wire.OpReaddir:       {fixed: 40, old: 24, since: 9},
	wire.OpReleasedir:    {fixed: 24},
	wire.OpFsyncdir:      {fixed: 16},
	wire.OpGetlk:         {fixed: 48, old: 40, since: 9},
	wire.OpSetlk:         {fixed: 48, old: 40, since: 9},
	wire.OpSetlkw:        {fixed: 48, old: 40, since: 9},
	wire.OpAccess:        {fixed: 8},
	wire.OpCreate:        {fixed: 16, old: 8, since: 12, names: 1},
	wire.OpInterrupt:     {fixed: 8},
	wire.OpBmap:          {fixed: 16},
	wire.OpIoctl:         {fixed: 32},
	wire.OpPoll:          {fixed: 24},
	wire.OpNotifyReply:   {fixed: 40},
	wire.OpBatchForget:   {fixed: 8},
	wire.OpFallocate:     {fixed: 32},
	wire.OpReaddirplus:   {fixed: 40, old: 24, since: 9},
	wire.OpRename2:       {fixed: 16, names: 2},
	wire.OpLseek:         {fixed: 24},
	wire.OpCopyFileRange: {fixed: 56},
}

// defective reports whether the request promises more than it has, so that a server that does not look reads behind its
// end: the fixed part is short, a name has no end, or a count or size says more than there is.
func defective(minor uint32, r *request) bool {
	s := shapes[r.Opcode]
	fixed := s.fixed
	if s.old != 0 && minor < s.since {
		fixed = max(s.old, 0)
	}
	if len(r.Body) < fixed {
		return true
	}
	rest := r.Body[fixed:]
	for range s.names {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			return true
		}
		rest = rest[i+1:]
	}
	switch r.Opcode {
	case wire.OpWrite:
		return uint64(u32(r.Body, 16)) > uint64(len(rest))
	case wire.OpNotifyReply:
		return uint64(u32(r.Body, 16)) > uint64(len(rest))
	case wire.OpSetxattr:
		return uint64(u32(r.Body, 0)) > uint64(len(rest))
	case wire.OpIoctl:
		return uint64(u32(r.Body, 24)) > uint64(len(rest))
	case wire.OpBatchForget:
		return uint64(u32(r.Body, 0)) > uint64(len(rest)/16)
	}
	return false
}
