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
	wire.OpReaddirplus:   {fixed: 40},
	wire.OpRename2:       {fixed: 16, names: 2},
	wire.OpLseek:         {fixed: 24},
	wire.OpCopyFileRange: {fixed: 56},
	// Newer than 3.14.
	wire.OpSyncfs:          {fixed: 8},
	wire.OpTmpfile:         {fixed: 16},
	wire.OpStatx:           {fixed: 24},
	wire.OpCopyFileRange64: {fixed: 56},
}

// size is the fixed part's size for a minor.
func (s shape) size(minor uint32) int {
	if s.old != 0 && minor < s.since {
		return max(s.old, 0)
	}
	return s.fixed
}

// defect is how a request promises more than it has, so that a server that does not look reads behind its end.
type defect int

const (
	sound   defect = iota
	short          // the fixed part is not there
	endless        // a name has no end
	overrun        // a count or size says more than there is
)

func defects(minor uint32, r *request) defect {
	s := shapes[r.Opcode]
	fixed := s.size(minor)
	if len(r.Body) < fixed {
		return short
	}
	rest := bodyOf(r, minor)[fixed:]
	for range s.names {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			return endless
		}
		rest = rest[i+1:]
	}
	promised := uint32(0)
	switch r.Opcode {
	case wire.OpWrite:
		promised = u32(r.Body, 16)
	case wire.OpSetxattr:
		promised = u32(r.Body, 0)
	case wire.OpIoctl:
		promised = u32(r.Body, 24)
	case wire.OpBatchForget:
		if uint64(u32(r.Body, 0)) > uint64(len(rest)/16) {
			return overrun
		}
	}
	if uint64(promised) > uint64(len(rest)) {
		return overrun
	}
	return sound
}
