//go:build linux

package oracle

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/purefuse/purefuse/wire"
)

// Minors of the kernels that the sequences play: every one of them as often as any other.
const (
	minMinor = 8
	maxMinor = 40
)

// generator makes one sequence out of a seed.
type generator struct {
	*rand.Rand
	seq    sequence
	minor  uint32
	large  bool // requests may exceed a page
	over   bool // DESTROY was sent
	unique uint64
}

// generate returns sequence number i of a seed: the same for the same numbers.
func generate(seed, i uint64) sequence {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, i)), minor: minMinor + uint32(i%(maxMinor-minMinor+1)), unique: 1000}
	g.config()
	g.opening()
	for range 3 + g.IntN(20) {
		g.add(g.any())
	}
	return g.seq
}

// one is true in one of n cases.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) config() {
	c := &g.seq.Config
	c.Seed = g.Uint64()
	c.Ops = 1<<opCount - 1
	switch g.IntN(16) {
	case 0:
		c.Ops &= g.Uint64()
	case 1:
		c.Ops &= g.Uint64() & g.Uint64()
	case 2:
		c.Ops &^= 1<<opWriteBuf | 1<<opForgetMulti | 1<<opFlock
	case 3:
		c.Ops &= 1<<opInit | 1<<opDestroy
	case 4:
		c.Ops = 0
	default:
		if g.one(2) {
			c.Ops &^= 1 << opWriteBuf
		}
		if g.one(2) {
			c.Ops &^= 1 << opForgetMulti
		}
	}
	if g.one(3) {
		c.Want = g.Uint32() & oracleCaps
		if g.one(2) {
			c.Want &= g.Uint32()
		}
	}
	if g.one(3) {
		c.Unwant = g.Uint32() & g.Uint32()
	}
	if g.one(3) {
		c.MaxWrite = pick[uint32](g, 100, 4095, 4096, 4097, 8192, 65536, 131072, 131073, 1<<20-1, 1<<20, 1<<20+1, 1<<24, math.MaxUint32)
	}
	if g.one(4) {
		c.MaxReadahead = pick(g, 1, 4096, 131072, g.Uint32(), math.MaxUint32)
	}
	if g.one(4) {
		c.MaxBackground = pick(g, 1, 4, 65535, 65536, g.Uint32(), g.Uint32N(70000))
	}
	if g.one(4) {
		c.Congestion = pick(g, 1, 3, 65535, 65536, g.Uint32(), g.Uint32N(70000))
	}
	if g.one(4) {
		c.TimeGran = pick(g, 1, 1000, 1e9, g.Uint32())
	}
	if g.one(40) && c.has(opInit) {
		c.MaxReadOption = pick[uint32](g, 4096, 65536)
		c.MaxReadConn = pick[uint32](g, 4096, 65536)
	} else if g.one(80) {
		c.MaxReadConn = 65536
	}
	for _, f := range []struct{ bit, oneIn uint32 }{{fHold, 2}, {fOddErrno, 4}, {fFractions, 16}, {fForceWant, 30}, {fAllowRoot, 12}, {fOversize, 8}} {
		if g.one(int(f.oneIn)) {
			c.Flags |= f.bit
		}
	}
	if c.Flags&fForceWant != 0 {
		c.Want &^= 1 << 26 // 3.14 does not find it among the flags
	}
	g.large = c.MaxWrite == 0 || c.MaxWrite >= 131072
}

// opening is what a kernel starts with, and what a broken one might.
func (g *generator) opening() {
	switch g.IntN(40) {
	case 0: // something before INIT
		for range 1 + g.IntN(3) {
			g.add(g.any())
		}
	case 1: // a kernel of another major version
		r := g.init()
		binary.NativeEndian.PutUint32(r.Body, pick[uint32](g, 0, 6, 8, 9, math.MaxUint32))
		g.add(r)
	case 2: // never
		return
	case 3:
		r := g.init()
		r.Body = r.Body[:g.IntN(len(r.Body)+1)]
		g.add(r)
		return
	}
	g.add(g.init())
	if g.one(60) {
		g.add(g.init())
	}
}

func (g *generator) init() request {
	in := wire.InitIn{Major: 7, Minor: g.minor, MaxReadahead: pick(g, 0, 4096, 131072, 1<<20, math.MaxUint32, g.Uint32())}
	switch g.IntN(4) {
	case 0:
		in.Flags = g.Uint32()
	case 1:
		in.Flags = g.Uint32() & g.Uint32()
	case 2:
		in.Flags = math.MaxUint32
	default:
		in.Flags = 0x7fffffff
	}
	if g.one(2) {
		in.Flags2 = g.Uint32() & 0xfff
	}
	b := pack(&in)
	if g.minor < 36 && g.one(2) {
		b = b[:16]
	}
	return request{Opcode: wire.OpInit, Body: b}
}

// add gives the request its identity and appends it.
func (g *generator) add(r request) {
	if g.over && r.Opcode == wire.OpInit {
		return // purefuse would start again
	}
	g.over = g.over || r.Opcode == wire.OpDestroy
	if r.Unique == 0 {
		r.Unique = g.unique
		switch g.IntN(50) {
		case 0:
			r.Unique |= 1 << 63 // resent by the kernel
		case 1:
			r.Unique = g.Uint64()
		}
	}
	g.unique += 2
	if r.NodeID == 0 {
		r.NodeID = pick(g, 0, 1, 1, 2, g.Uint64N(1000), g.Uint64())
	}
	r.UID = pick(g, 0, 0, 1000, 65534, math.MaxUint32, g.Uint32())
	r.GID = pick(g, 0, 1000, math.MaxUint32, g.Uint32())
	r.PID = pick(g, 0, 1, 4242, g.Uint32()>>1)
	g.seq.Requests = append(g.seq.Requests, r)
}

// any is some request: mostly one that a kernel could send.
func (g *generator) any() request {
	switch g.IntN(60) {
	case 0:
		return request{Opcode: g.unknown(), Body: g.raw(g.IntN(200))}
	case 1:
		return request{Opcode: wire.Opcode(1 + g.IntN(53)), Body: g.raw(g.IntN(200))}
	case 2:
		if g.one(4) {
			return request{Opcode: wire.OpDestroy}
		}
	case 3, 4, 5, 6:
		return g.interrupt()
	}
	r := g.valid(pick(g, opcodes...))
	if g.one(8) {
		g.damage(&r)
	}
	return r
}

func (g *generator) unknown() wire.Opcode {
	return wire.Opcode(pick(g, 0, 7, 19, 48, 49, 50, 51, 52, 53, 54, 63, 64, 255, 4095, 4096, 4097, 4200, 1048576, 436207616,
		math.MaxInt32, math.MaxUint32, g.Uint32N(4300), g.Uint32()))
}

// interrupt aims at a request that was, or that will be.
func (g *generator) interrupt() request {
	target := g.unique
	if n := len(g.seq.Requests); n > 0 && !g.one(4) {
		r := &g.seq.Requests[n-1-g.IntN(min(n, 8))]
		if r.Opcode == wire.OpNotifyReply { // 3.14 believes that one it did not ask for is still in flight
			return g.valid(wire.OpInterrupt)
		}
		target = r.Unique
	} else {
		target += 2 * g.Uint64N(6)
	}
	r := g.valid(wire.OpInterrupt)
	r.Unique = target | 1
	binary.NativeEndian.PutUint64(r.Body, target)
	return r
}

// damage breaks a request as no kernel would.
func (g *generator) damage(r *request) {
	switch g.IntN(9) {
	case 0, 1, 2:
		r.Body = r.Body[:g.IntN(len(r.Body)+1)]
	case 3:
		if n := len(r.Body); n > 0 {
			r.Body = r.Body[:n-1]
		}
	case 4:
		r.Body = append(r.Body, g.raw(1+g.IntN(40))...)
	case 5:
		for range 1 + g.IntN(4) {
			if n := len(r.Body); n > 0 {
				r.Body[g.IntN(n)] = pick(g, 0, 1, 0x7f, 0x80, 0xff, byte(g.Uint32()))
			}
		}
	case 6:
		r.ExtLen = uint16(pick(g, 1, 2, 3, len(r.Body)/8, len(r.Body)/8+1, math.MaxUint16))
	case 7:
		r.LenOff = pick[int32](g, -41, -8, -1, 1, 8, 100000)
	case 8:
		for i := range r.Body {
			if r.Body[i] == 0 && g.one(3) {
				r.Body[i] = 'x'
			}
		}
	}
}

func (g *generator) raw(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
		if g.one(4) {
			b[i] = 0
		}
	}
	return b
}

// opcodes that sequences are made of; repeated ones come more often.
var opcodes = func() (o []wire.Opcode) {
	for op := range wire.Opcode(54) {
		switch op {
		case 0, 7, 19, wire.OpInit, wire.OpDestroy:
			continue
		case wire.OpLookup, wire.OpRead, wire.OpWrite, wire.OpGetattr, wire.OpReaddir, wire.OpReaddirplus, wire.OpIoctl, wire.OpCreate:
			o = append(o, op, op)
		case wire.OpAccess, wire.OpNotifyReply: // asks for data and lets held requests go; the data
			o = append(o, op, op, op)
		}
		o = append(o, op)
	}
	return append(o, wire.OpCuseInit)
}()

func pack(v any) []byte {
	b, err := binary.Append(nil, binary.NativeEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

func (g *generator) u32() uint32 {
	return pick(g, 0, 1, 2, 0x7fffffff, 0x80000000, math.MaxUint32, g.Uint32(), g.Uint32N(5000))
}

func (g *generator) u64() uint64 {
	return pick(g, 0, 1, 4096, math.MaxInt64, 1<<63, math.MaxUint64, g.Uint64(), g.Uint64N(1<<40), 0xfffff000, 0xfffff001, 1<<32)
}

func (g *generator) size() uint32 {
	return pick(g, 0, 1, 24, 152, 160, 4095, 4096, 8192, 65536, 131072, math.MaxUint32, g.Uint32(), g.Uint32N(10000), g.Uint32N(600))
}

// name is a name with its NUL.
func (g *generator) name() []byte {
	n := pick(g, 1+g.IntN(12), 1+g.IntN(12), 1+g.IntN(12), 255, 256, 300)
	if g.one(40) {
		n = 0
	}
	b := make([]byte, n, n+1)
	wild := g.one(3)
	for i := range b {
		b[i] = byte('a' + g.IntN(26))
		if wild {
			b[i] = byte(1 + g.IntN(255))
		}
		if b[i] == '/' && !g.one(10) {
			b[i] = '.'
		}
	}
	if g.one(30) && n > 0 {
		b[0], b = '.', b[:1]
		if g.one(2) {
			b = append(b, '.')
		}
	}
	return append(b, 0)
}

// extended adds what the kernel adds to requests that create something, if it was negotiated; the header alone is enough
// for it to be there.
func (g *generator) extended(r request) request {
	if !g.one(6) {
		return r
	}
	var ext []byte
	if g.one(2) { // a security context
		value := g.raw(g.IntN(40))
		one := append(pack(&wire.Secctx{Size: uint32(len(value))}), "security.selinux\x00"...)
		one = append(one, value...)
		for len(one)%8 != 0 {
			one = append(one, 0)
		}
		ext = append(pack(&wire.SecctxHeader{Size: uint32(8 + len(one)), NrSecctx: 1}), one...)
	} else if g.one(2) {
		ext = pack(&wire.SecctxHeader{Size: 8})
	}
	if g.one(2) { // a supplementary group
		ext = append(ext, pack(&wire.ExtHeader{Size: 16, Type: 32})...)
		ext = append(ext, pack([]uint32{1, g.Uint32()})...)
	}
	r.ExtLen = uint16(len(ext) / 8)
	r.Body = append(r.Body, ext...)
	return r
}
