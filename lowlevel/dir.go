//go:build linux

package lowlevel

import (
	"encoding/binary"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/session"
	"github.com/purefuse/purefuse/wire"
)

// Add appends an entry of which st gives the inode number and the file type; off is where the listing goes on after it. It
// returns false, and adds nothing, if there is no room: the kernel asks again from the last offset.
func (r DirReq) Add(name string, st *Stat, off uint64) bool {
	return addDirent(r.p, nil, name, st.Ino, st.Mode, off)
}

// AddBytes is Add for a name in bytes.
func (r DirReq) AddBytes(name []byte, st *Stat, off uint64) bool {
	return addDirent(r.p, nil, name, st.Ino, st.Mode, off)
}

// Reply sends the entries that were added.
func (r DirReq) Reply() error { return r.replyDir() }

// ReplyBuf answers with entries that were built elsewhere, by wire.AppendDirent or AddDirent.
func (r DirReq) ReplyBuf(b []byte) error { return r.replyParts(b) }

// Add appends an entry with all that Lookup would say of it, and so adds one to its lookup count unless it is "." or "..".
// A NodeID of 0 gives none of that, but the entry. It returns false, and adds and counts nothing, if there is no room.
func (r PlusReq) Add(name string, e *Entry, off uint64) bool {
	return addDirent(r.p, e, name, e.Attr.Ino, e.Attr.Mode, off)
}

// AddBytes is Add for a name in bytes.
func (r PlusReq) AddBytes(name []byte, e *Entry, off uint64) bool {
	return addDirent(r.p, e, name, e.Attr.Ino, e.Attr.Mode, off)
}

// Fits reports whether an entry with a name of n bytes would still fit, so that it need not be looked up in vain.
func (r PlusReq) Fits(n int) bool { return r.p.used+wire.DirentplusSize(n) <= r.p.dirSize() }

// Reply sends the entries that were added.
func (r PlusReq) Reply() error { return r.replyDir() }

// ReplyBuf answers with entries that were built elsewhere.
func (r PlusReq) ReplyBuf(b []byte) error { return r.replyParts(b) }

func (r Req) replyDir() error {
	p, err := r.claim()
	if err != nil {
		return err
	}
	p.iov[0] = p.room[:p.used]
	return p.send(0, 0, 1)
}

// dirSize is how many bytes of entries the kernel takes; a request for more than any kernel asks for gets a bounded listing.
func (p *Request) dirSize() int { return int(min(arg[wire.ReadIn](p).Size, session.DefaultMaxWrite)) }

func addDirent[S ~string | ~[]byte](p *Request, e *Entry, name S, ino uint64, mode uint32, off uint64) bool {
	size := wire.DirentSize(len(name))
	if e != nil {
		size = wire.DirentplusSize(len(name))
	}
	limit := p.dirSize()
	if p.used+size > limit {
		return false
	}
	if p.room == nil {
		p.room = p.q.Room(p.f, limit)
	}
	putDirent(p.room[p.used:p.used+size], e, name, ino, mode, off)
	p.used += size
	return true
}

// putDirent writes one record that fills b.
func putDirent[S ~string | ~[]byte](b []byte, e *Entry, name S, ino uint64, mode uint32, off uint64) {
	if e != nil {
		o := sys.As[wire.EntryOut](b)
		e.put(o)
		b = b[entryOutSize:]
	}
	ne := binary.NativeEndian
	ne.PutUint64(b, ino)
	ne.PutUint64(b[8:], off)
	ne.PutUint32(b[16:], uint32(len(name)))
	ne.PutUint32(b[20:], mode&0o170000>>12)
	n := copy(b[wire.NameOffset:], name)
	clear(b[wire.NameOffset+n:])
}
