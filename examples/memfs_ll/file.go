//go:build linux

package main

import (
	"math"
	"syscall"
	"time"

	ll "github.com/purefuse/purefuse/lowlevel"
)

// chunkSize is the granularity of contents: a file has chunks where it was written, and holes elsewhere.
const chunkSize = 64 << 10

type chunk [chunkSize]byte

// pieces cuts n bytes at off where chunks meet, and calls f with each: the number of its chunk, where in that chunk it
// begins, and where in the n bytes it begins and ends.
func pieces(off int64, n int, f func(number int64, at, from, to int)) {
	for from := 0; from < n; {
		at := int((off + int64(from)) % chunkSize)
		to := min(from+chunkSize-at, n)
		f((off+int64(from))/chunkSize, at, from, to)
		from = to
	}
}

// regular returns a regular file.
func (fs *memFS) regular(ino ll.NodeID) (*inode, ll.Errno) {
	in, ok := fs.nodes.Get(ino)
	switch {
	case !ok:
		return nil, syscall.ESTALE
	case in.isDir():
		return nil, syscall.EISDIR
	}
	return in, 0
}

func (fs *memFS) open(r ll.OpenReq, ino ll.NodeID, fi *ll.FileInfo) {
	in, e := fs.regular(ino)
	if e == 0 && fi.Flags&syscall.O_TRUNC != 0 {
		e = fs.truncate(in, 0)
	}
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	fs.openFlags(fi)
	r.ReplyOpen(fi)
}

// openFlags says how the kernel is to treat an open file. There is no handle: a file's inode is all there is to it.
func (fs *memFS) openFlags(fi *ll.FileInfo) {
	fi.DirectIO = fs.directIO
	fi.ParallelDirectWrites = fs.directIO
}

func (fs *memFS) read(r ll.DataReq, ino ll.NodeID, size int, off int64, _ *ll.FileInfo) {
	in, e := fs.regular(ino)
	if e == 0 && off < 0 {
		e = syscall.EINVAL
	}
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	room := r.Room(size) // the reply is built where it leaves from
	if fs.nullIO {
		for b := room; len(b) > 0; b = b[copy(b, fs.noise):] {
		}
		r.ReplyBuf(room)
		return
	}
	in.mu.RLock()
	n := int(min(int64(size), max(int64(in.attr.Size)-off, 0)))
	pieces(off, n, func(number int64, at, from, to int) {
		if c := in.chunks[number]; c != nil {
			copy(room[from:to], c[at:])
		} else {
			clear(room[from:to])
		}
	})
	in.mu.RUnlock()
	r.ReplyBuf(room[:n])
}

func (fs *memFS) write(r ll.WriteReq, ino ll.NodeID, data []byte, off int64, _ *ll.FileInfo) {
	in, e := fs.regular(ino)
	switch {
	case e != 0:
	case off < 0:
		e = syscall.EINVAL
	case off > math.MaxInt64-int64(len(data)):
		e = syscall.EFBIG
	}
	if e != 0 {
		r.ReplyErr(e)
		return
	}
	if fs.nullIO {
		var sum byte
		for _, b := range data { // as storing them would
			sum ^= b
		}
		fs.sink.Store(uint32(sum))
		r.ReplyWrite(len(data))
		return
	}
	in.mu.Lock()
	if in.chunks == nil {
		in.chunks = map[int64]*chunk{}
	}
	pieces(off, len(data), func(number int64, at, from, to int) {
		c := in.chunks[number]
		if c == nil {
			c = new(chunk)
			in.chunks[number] = c
			fs.tree.chunks.Add(1)
		}
		copy(c[at:], data[from:to])
	})
	in.attr.Size = max(in.attr.Size, uint64(off)+uint64(len(data)))
	in.attr.Mtime = ll.TimeOf(time.Now())
	in.attr.Ctime = in.attr.Mtime
	in.mu.Unlock()
	r.ReplyWrite(len(data))
}

// truncate cuts a file, or makes it longer by a hole.
func (fs *memFS) truncate(in *inode, size uint64) ll.Errno {
	if in.format != syscall.S_IFREG {
		return syscall.EINVAL
	}
	if size > math.MaxInt64 {
		return syscall.EFBIG
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if size < in.attr.Size {
		last := int64(size / chunkSize)
		for number := range in.chunks {
			if number > last || number == last && size%chunkSize == 0 {
				delete(in.chunks, number)
				fs.tree.chunks.Add(-1)
			}
		}
		if c := in.chunks[last]; c != nil {
			clear(c[size%chunkSize:]) // what is cut off must not come back when the file grows again
		}
	}
	in.attr.Size = size
	in.attr.Mtime = ll.TimeOf(time.Now())
	in.attr.Ctime = in.attr.Mtime
	return 0
}
