//go:build linux

package oracle

import (
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/lowlevel"
)

// This is script.c again: the same lines, the same stream, the same answers.

const (
	fileSize     = 100000
	maxData      = 1 << 16
	maxHeld      = 64
	retrieveMask = 0x2000
	releaseMask  = 0x4000
)

// script is the state of one session's file system.
type script struct {
	cfg       *config
	file      *os.File // holds fileSize bytes of filePattern
	line      func(string)
	kept      func(unique uint64) // a request was put aside
	text      []byte
	state     uint64
	kind      int
	held      []*held
	number    int // of requests held so far
	retrieves int // asked for so far; each is the cookie of its answer
}

const filePattern = 0x0123456789abcdef

func (s *script) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func hash(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h
}

func pattern(n int, v uint64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v>>(i%8*8)) ^ byte(i)
	}
	return b
}

// ---- what reached the operation ---------------------------------------------------------------------------------------

func (s *script) say(format string, args ...any) { s.text = fmt.Appendf(s.text, format, args...) }

func (s *script) sayName(key string, n lowlevel.Name) { s.say(" %s=%x", key, n.Bytes()) }

func (s *script) sayData(key string, b []byte) { s.say(" %s=%d:%016x", key, len(b), hash(b)) }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *script) sayFile(key string, fi *lowlevel.FileInfo) {
	if fi == nil {
		s.say(" %s=nil", key)
		return
	}
	s.say(" %s={flags=%d fh=%x owner=%x page=%d flush=%d unlock=%d events=%x rest=%d}", key, fi.Flags, fi.FH, fi.LockOwner,
		bit(fi.WritePage), bit(fi.Flush), bit(fi.FlockRelease), fi.PollEvents,
		bit(fi.DirectIO || fi.KeepCache || fi.NonSeekable || fi.CacheReaddir || fi.NoFlush || fi.ParallelDirectWrites || fi.Stream || fi.Backing != 0))
}

func (s *script) begin(r lowlevel.Req, extra string) {
	c := r.Caller()
	s.say(" ctx=%d/%d/%d/%o", c.UID, c.GID, int32(c.PID), c.Umask)
	s.state = s.cfg.Seed ^ hash(s.text)
	s.kind = int(s.next() % 16)
	s.line(string(s.text) + extra)
	s.text = s.text[:0]
}

// ---- answers that every operation may give ------------------------------------------------------------------------------

// held is a request that waits for its answer.
type held struct {
	r           lowlevel.Req
	number      int
	interrupted bool
}

func (s *script) hold(r lowlevel.Req) bool {
	if s.cfg.Flags&fHold == 0 || s.kind != 15 || len(s.held) == maxHeld {
		return false
	}
	h := &held{r: r, number: s.number}
	s.number++
	s.line(fmt.Sprintf("hold #%d", h.number))
	s.held = append(s.held, h)
	r.OnInterrupt(func() {
		h.interrupted = true
		s.line(fmt.Sprintf("interrupt #%d", h.number))
	})
	s.kept(r.Unique())
	return true
}

func (s *script) releaseHeld(reverse bool) {
	for n := range s.held {
		h := s.held[n]
		if reverse {
			h = s.held[len(s.held)-1-n]
		}
		s.line(fmt.Sprintf("release #%d interrupted=%d", h.number, bit(h.r.Interrupted())))
		switch {
		case h.interrupted:
			h.r.ReplyErr(syscall.EINTR)
		case h.number%3 != 0:
			h.r.ReplyErr(0)
		default:
			h.r.ReplyErr(syscall.ETIMEDOUT)
		}
	}
	s.held = s.held[:0]
}

var oddErrnos = [16]int32{0, 41, 58, 134, 200, 511, 512, 513, 523, 999, 1000, 100000, -2, -61, math.MaxInt32, -math.MaxInt32}

func (s *script) errno() syscall.Errno {
	v := s.next()
	if s.cfg.Flags&fOddErrno != 0 && v%4 == 0 {
		return syscall.Errno(oddErrnos[v/4%16])
	}
	e := 1 + v/4%133
	if e == 41 || e == 58 {
		e--
	}
	return syscall.Errno(e)
}

// early holds the request or fails it, if that is its kind.
func (s *script) early(r lowlevel.Req) bool {
	if r.Interrupted() {
		s.line("interrupted")
	}
	if s.hold(r) {
		return true
	}
	if s.kind < 3 {
		r.ReplyErr(s.errno())
		return true
	}
	return false
}

func (s *script) timeout() time.Duration {
	v := s.next()
	const tick = time.Second / 512 // exact in a double and in nanoseconds
	switch v % 8 {
	case 0:
		return 0
	case 1:
		return -time.Duration(v/8%1000000) * tick
	case 2:
		return 9000000000 * time.Second
	case 3:
		return time.Duration(v/8%1000000) * time.Second
	}
	if s.cfg.Flags&fFractions != 0 {
		return time.Duration(v / 8 % 10000000000000)
	}
	return time.Duration(v/8%(1<<20)) * tick
}

func (s *script) stat() (st lowlevel.Stat) {
	st.Ino = s.next()
	st.Size = s.next()
	st.Blocks = s.next()
	st.Atime.Sec = int64(s.next())
	st.Mtime.Sec = int64(s.next())
	st.Ctime.Sec = int64(s.next())
	v := s.next()
	st.Atime.Nsec, st.Mtime.Nsec = uint32(v), uint32(v>>32)
	v = s.next()
	st.Ctime.Nsec, st.Mode = uint32(v), uint32(v>>32)
	v = s.next()
	st.Nlink, st.UID = uint32(v), uint32(v>>32)
	v = s.next()
	st.GID, st.Rdev = uint32(v), uint32(v>>32)
	st.Blksize = uint32(s.next())
	return st
}

func (s *script) entry() (e lowlevel.Entry) {
	e.NodeID = lowlevel.NodeID(s.next())
	if s.kind == 3 {
		e.NodeID = 0
	}
	e.Generation = s.next()
	e.EntryTimeout = s.timeout()
	e.AttrTimeout = s.timeout()
	e.Attr = s.stat()
	return e
}

func (s *script) open(fi *lowlevel.FileInfo) *lowlevel.FileInfo {
	fi.FH = s.next()
	v := s.next()
	fi.DirectIO = v&1 != 0
	fi.KeepCache = v>>1&1 != 0
	fi.NonSeekable = v>>2&1 != 0
	fi.CacheReaddir = v>>3&1 != 0
	fi.NoFlush = v>>4&1 != 0
	return fi
}

func (s *script) size(asked int) int {
	v := s.next()
	switch {
	case s.kind == 4 && s.cfg.Flags&fOversize != 0:
		return min(asked, maxData) + 1 + int(v%64)
	case s.kind == 5:
		return min(asked, maxData)
	}
	return int(v % uint64(min(asked, 4096)+1))
}

// name is the next name of a listing.
func (s *script) name() string {
	v := s.next()
	n := int(1 + v/16%20)
	if v%16 == 0 {
		n = int(200 + v/16%100)
	}
	if v>>60 == 0 {
		n = int(1 + v>>59&1)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = '.'
		if v>>60 != 0 {
			b[i] = 'a' + byte((v>>(i%40))%26)
		}
	}
	return string(b)
}
