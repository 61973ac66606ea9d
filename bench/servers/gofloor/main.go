//go:build linux

// Command gofloor is the C floor in Go: goroutines that read a request, write its answer, and know nothing else. The
// difference between the two is what the Go runtime costs; the difference from it to purefuse is what the library costs.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 1 << 20
	fileSize  = 64 << 20
	timeout   = 60
	inHeader  = 40
	outHeader = 16
)

// block holds its bytes twice, so that a read of any offset within blockSize is one slice.
var block = bytes.Repeat([]byte{'n'}, 2*blockSize)

var (
	le = binary.LittleEndian // the C floor's hosts are little-endian too: see main

	readers = flag.Int("readers", 1, "goroutines that read the device")
	yield   = flag.Duration("yield", 4*time.Millisecond, "longest time without a visit to the scheduler, 0: never yield")
	raw     = flag.Bool("raw", true, "write small replies without telling the scheduler")
)

// reader is one goroutine's memory.
type reader struct {
	fd  int
	buf []byte
	out [160]byte
}

// reply sends the first n bytes of out, header included, and after them data.
func (r *reader) reply(in []byte, errno syscall.Errno, n int, data []byte) {
	le.PutUint32(r.out[0:], uint32(n+len(data)))
	le.PutUint32(r.out[4:], uint32(-int32(errno)))
	copy(r.out[8:16], in[8:16])
	switch {
	case len(data) > 0:
		if _, err := unix.Writev(r.fd, [][]byte{r.out[:n], data}); err != nil && !errors.Is(err, unix.ENOENT) {
			log.Print("reply: ", err)
		}
	case *raw:
		syscall.RawSyscall(syscall.SYS_WRITE, uintptr(r.fd), uintptr(unsafe.Pointer(&r.out)), uintptr(n))
	default:
		unix.Write(r.fd, r.out[:n])
	}
}

func attr(b []byte, ino uint64) syscall.Errno {
	clear(b[:88])
	le.PutUint64(b, ino)
	switch ino {
	case 1:
		le.PutUint32(b[60:], syscall.S_IFDIR|0o755)
		le.PutUint32(b[64:], 2)
	case 2:
		le.PutUint64(b[8:], fileSize)
		le.PutUint32(b[60:], syscall.S_IFREG|0o644)
		le.PutUint32(b[64:], 1)
	default:
		return syscall.ENOENT
	}
	return 0
}

func (r *reader) answer(in []byte) {
	node, arg, out := le.Uint64(in[16:]), in[inHeader:], r.out[outHeader:]
	switch le.Uint32(in[4:]) {
	case 1: // LOOKUP
		if node != 1 || string(arg) != "data\x00" {
			r.reply(in, syscall.ENOENT, outHeader, nil)
			return
		}
		clear(out[:40])
		le.PutUint64(out, 2)
		le.PutUint64(out[16:], timeout)
		le.PutUint64(out[24:], timeout)
		attr(out[40:], 2)
		r.reply(in, 0, outHeader+128, nil)
	case 3: // GETATTR
		clear(out[:16])
		le.PutUint64(out, timeout)
		if errno := attr(out[16:], node); errno != 0 {
			r.reply(in, errno, outHeader, nil)
			return
		}
		r.reply(in, 0, outHeader+104, nil)
	case 14: // OPEN
		clear(out[:16])
		r.reply(in, 0, outHeader+16, nil)
	case 15: // READ
		off := le.Uint64(arg[8:])
		at, n := off%blockSize, min(uint64(le.Uint32(arg[16:])), blockSize, fileSize-min(off, fileSize))
		r.reply(in, 0, outHeader, block[at:at+n])
	case 16: // WRITE
		clear(out[:8])
		copy(out[:4], arg[16:20])
		r.reply(in, 0, outHeader+8, nil)
	case 18: // RELEASE
		r.reply(in, 0, outHeader, nil)
	case 26: // INIT
		clear(out[:64])
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], min(31, le.Uint32(arg[4:])))
		copy(out[8:12], arg[8:12])                                          // max_readahead
		le.PutUint32(out[12:], le.Uint32(arg[12:])&(1<<0|1<<5|1<<18|1<<22)) // ASYNC_READ, BIG_WRITES, PARALLEL_DIROPS, MAX_PAGES
		le.PutUint16(out[16:], 12)
		le.PutUint16(out[18:], 9)
		le.PutUint32(out[20:], blockSize)
		le.PutUint32(out[24:], 1)
		le.PutUint16(out[28:], blockSize/4096)
		r.reply(in, 0, outHeader+64, nil)
	case 2, 36, 42: // FORGET, INTERRUPT, BATCH_FORGET
	default:
		r.reply(in, syscall.ENOSYS, outHeader, nil)
	}
}

func (r *reader) loop() {
	last := time.Now()
	for turn := 0; ; turn++ {
		n, err := unix.Read(r.fd, r.buf)
		switch {
		case err == nil:
			r.answer(r.buf[:n])
		case errors.Is(err, unix.ENODEV):
			return
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOENT):
			log.Fatal("read: ", err)
		}
		// sysmon takes the P of a goroutine that passed no scheduling point for 10 ms, and keeps doing so.
		if *yield > 0 && turn%8 == 0 {
			if now := time.Now(); now.Sub(last) >= *yield {
				last = now
				runtime.Gosched()
			}
		}
	}
}

func main() {
	flag.Parse()
	if x := uint16(1); *(*byte)(unsafe.Pointer(&x)) != 1 {
		log.Fatal("gofloor: this host is big-endian")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		log.Fatal("/dev/fuse: ", err)
	}
	opts := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("gofloor", flag.Arg(0), "fuse.gofloor", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		log.Fatal("mount: ", err)
	}
	var wg sync.WaitGroup
	for range *readers {
		buf, err := unix.Mmap(-1, 0, blockSize+4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			log.Fatal("mmap: ", err)
		}
		wg.Go((&reader{fd: fd, buf: buf}).loop)
	}
	wg.Wait()
}
