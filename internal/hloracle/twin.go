//go:build linux

package hloracle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/highlevel"
	"github.com/purefuse/purefuse/internal/oracle/rig"
	"github.com/purefuse/purefuse/lowlevel"
)

// twin is ops.c again: every call goes to the tree.
type twin struct {
	tree *tree
	line func(string)
}

// fileOf is what an operation was told of an open file.
func fileOf(fi *highlevel.FileInfo) file {
	if fi == nil {
		return file{}
	}
	f := file{Flags: fi.Flags, FH: fi.FH, Owner: fi.LockOwner, Events: fi.PollEvents, There: 1}
	for _, b := range []struct {
		on  bool
		bit uint32
	}{{fi.WritePage, bWritePage}, {fi.Flush, bFlush}, {fi.FlockRelease, bFlockRelease}, {fi.DirectIO, bDirectIO}, {fi.KeepCache, bKeepCache},
		{fi.NonSeekable, bNonSeekable}, {fi.CacheReaddir, bCacheReaddir}, {fi.NoFlush, bNoFlush},
		{fi.ParallelDirectWrites || fi.Stream || fi.Backing != 0, bOther}} {
		if b.on {
			f.Bits |= b.bit
		}
	}
	return f
}

func (w *twin) ask(c *highlevel.Context, o op, path string, fi *highlevel.FileInfo, arg ...uint64) (answer, error) {
	k := call{op: o, path: path, fi: fileOf(fi)}
	copy(k.arg[:], arg)
	return w.send(c, &k)
}

func (w *twin) send(c *highlevel.Context, k *call) (answer, error) {
	if c != nil {
		k.uid, k.gid, k.pid, k.umask = c.UID, c.GID, c.PID, c.Umask
	}
	a := w.tree.serve(k)
	if a.err != 0 {
		return a, a.err
	}
	return a, nil
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (w *twin) open(c *highlevel.Context, o op, path string, fi *highlevel.FileInfo, mode uint32) error {
	a, err := w.ask(c, o, path, fi, uint64(mode))
	if err == nil {
		fi.FH = a.fh
		fi.DirectIO, fi.KeepCache, fi.NonSeekable = a.bits&bDirectIO != 0, a.bits&bKeepCache != 0, a.bits&bNonSeekable != 0
		fi.CacheReaddir, fi.NoFlush = a.bits&bCacheReaddir != 0, a.bits&bNoFlush != 0
	}
	return err
}

func (w *twin) write(c *highlevel.Context, o op, path string, data []byte, off int64, fi *highlevel.FileInfo) (int, error) {
	k := call{op: o, path: path, fi: fileOf(fi), arg: [5]uint64{uint64(off)}}
	if len(data) > 0 {
		k.data = data
	}
	a, err := w.send(c, &k)
	return int(a.n), err
}

func (w *twin) xattr(c *highlevel.Context, o op, path, name string, dst []byte) (int, error) {
	a, err := w.send(c, &call{op: o, path: path, name: name, arg: [5]uint64{uint64(len(dst))}})
	copy(dst, a.data)
	return int(a.n), err
}

func (w *twin) times(c *highlevel.Context, path string, atime, mtime highlevel.Time, fi *highlevel.FileInfo) error {
	arg := func(t highlevel.Time) (sec, nsec uint64) {
		// What stands beside these two has no meaning.
		if t.Nsec != highlevel.UtimeNow && t.Nsec != highlevel.UtimeOmit {
			sec = uint64(t.Sec)
		}
		return sec, uint64(t.Nsec)
	}
	as, an := arg(atime)
	ms, mn := arg(mtime)
	_, err := w.ask(c, opUtimens, path, fi, as, an, ms, mn)
	return err
}

func (w *twin) readdir(c *highlevel.Context, path string, fill highlevel.Filler, off uint64, fi *highlevel.FileInfo, plus bool) error {
	a, err := w.ask(c, opReaddir, path, fi, off, bit(plus))
	taken, stopped := 0, false
	for _, e := range a.entries {
		add := fill.Add
		if e.plus {
			add = fill.AddPlus
		}
		if !add(e.name, e.st, e.off) {
			stopped = true
			break
		}
		taken++
	}
	w.line(fmt.Sprintf("taken=%d stopped=%d", taken, bit(stopped)))
	return err
}

func (w *twin) readBuf(c *highlevel.Context, path string, size int, off int64, fi *highlevel.FileInfo) (*highlevel.BufVec, error) {
	a, err := w.ask(c, opReadBuf, path, fi, uint64(size), uint64(off))
	if err != nil {
		return nil, err
	}
	v, pieces := &highlevel.BufVec{}, int(a.value[0])
	for i := range pieces {
		n := len(a.data)
		if i+1 < pieces {
			n = int(a.n) / pieces
		}
		v.Bufs = append(v.Bufs, highlevel.Buf{Mem: a.data[:n]})
		a.data = a.data[n:]
	}
	return v, nil
}

func (w *twin) lock(c *highlevel.Context, path string, fi *highlevel.FileInfo, cmd int, l *highlevel.Flock) error {
	a, err := w.ask(c, opLock, path, fi, uint64(cmd), uint64(l.Type), l.Start, uint64(l.Len()), uint64(l.PID))
	if err == nil && cmd == syscall.F_GETLK {
		l.Type, l.Start, l.PID, l.End = int16(a.value[0]), a.value[1], uint32(a.value[3]), lowlevel.LockEOF
		if a.value[2] != 0 {
			l.End = l.Start + a.value[2] - 1
		}
	}
	return err
}

func (w *twin) ioctl(c *highlevel.Context, path string, cmd uint32, arg uint64, fi *highlevel.FileInfo, flags uint32, data []byte) (int32, error) {
	k := call{op: opIoctl, path: path, fi: fileOf(fi), arg: [5]uint64{uint64(cmd), arg, uint64(flags)}}
	if cmd>>30&1 != 0 && cmd>>16&0x3fff != 0 {
		k.data = append(k.data, data...)
	}
	a, err := w.send(c, &k)
	copy(data, a.data)
	return int32(a.n), err
}

// operations are those of the session's mask.
func (w *twin) operations(cfg *config) *highlevel.Operations {
	type (
		ctx  = highlevel.Context
		info = highlevel.FileInfo
	)
	one := func(a answer, err error) error { return err }
	o := &highlevel.Operations{
		Getattr: func(c *ctx, path string, st *highlevel.Stat, fi *info) error {
			a, err := w.ask(c, opGetattr, path, fi)
			if err == nil {
				*st = a.attr
			}
			return err
		},
		Readlink: func(c *ctx, path string) (string, error) {
			a, err := w.ask(c, opReadlink, path, nil)
			return string(a.data), err
		},
		Mknod: func(c *ctx, path string, mode, rdev uint32) error {
			return one(w.ask(c, opMknod, path, nil, uint64(mode), uint64(rdev)))
		},
		Mkdir:  func(c *ctx, path string, mode uint32) error { return one(w.ask(c, opMkdir, path, nil, uint64(mode))) },
		Unlink: func(c *ctx, path string) error { return one(w.ask(c, opUnlink, path, nil)) },
		Rmdir:  func(c *ctx, path string) error { return one(w.ask(c, opRmdir, path, nil)) },
		Symlink: func(c *ctx, target, path string) error {
			return one(w.send(c, &call{op: opSymlink, path: target, path2: path}))
		},
		Rename: func(c *ctx, from, to string, flags uint32) error {
			return one(w.send(c, &call{op: opRename, path: from, path2: to, arg: [5]uint64{uint64(flags)}}))
		},
		Link: func(c *ctx, from, to string) error { return one(w.send(c, &call{op: opLink, path: from, path2: to})) },
		Chmod: func(c *ctx, path string, mode uint32, fi *info) error {
			return one(w.ask(c, opChmod, path, fi, uint64(mode)))
		},
		Chown: func(c *ctx, path string, uid, gid uint32, fi *info) error {
			return one(w.ask(c, opChown, path, fi, uint64(uid), uint64(gid)))
		},
		Truncate: func(c *ctx, path string, size int64, fi *info) error {
			return one(w.ask(c, opTruncate, path, fi, uint64(size)))
		},
		Utimens: w.times,
		Open:    func(c *ctx, path string, fi *info) error { return w.open(c, opOpen, path, fi, 0) },
		Create:  func(c *ctx, path string, mode uint32, fi *info) error { return w.open(c, opCreate, path, fi, mode) },
		Opendir: func(c *ctx, path string, fi *info) error { return w.open(c, opOpendir, path, fi, 0) },
		Read: func(c *ctx, path string, p []byte, off int64, fi *info) (int, error) {
			a, err := w.ask(c, opRead, path, fi, uint64(len(p)), uint64(off))
			return copy(p, a.data), err
		},
		ReadBuf: w.readBuf,
		Write: func(c *ctx, path string, p []byte, off int64, fi *info) (int, error) {
			return w.write(c, opWrite, path, p, off, fi)
		},
		WriteBuf: func(c *ctx, path string, v *highlevel.BufVec, off int64, fi *info) (int, error) {
			p := make([]byte, v.Size())
			if n, err := lowlevel.Copy(lowlevel.MemVec(p), v, 0); n != len(p) {
				return n, err
			}
			return w.write(c, opWriteBuf, path, p, off, fi)
		},
		Statfs: func(c *ctx, path string, st *highlevel.Statfs) error {
			a, err := w.ask(c, opStatfs, path, nil)
			v := a.value
			*st = highlevel.Statfs{Blocks: v[0], Bfree: v[1], Bavail: v[2], Files: v[3], Ffree: v[4], Bsize: uint32(v[5]),
				NameMax: uint32(v[6]), Frsize: uint32(v[7])}
			return err
		},
		Flush:      func(c *ctx, path string, fi *info) error { return one(w.ask(c, opFlush, path, fi)) },
		Release:    func(c *ctx, path string, fi *info) error { return one(w.ask(c, opRelease, path, fi)) },
		Releasedir: func(c *ctx, path string, fi *info) error { return one(w.ask(c, opReleasedir, path, fi)) },
		Fsync:      func(c *ctx, path string, d bool, fi *info) error { return one(w.ask(c, opFsync, path, fi, bit(d))) },
		Fsyncdir:   func(c *ctx, path string, d bool, fi *info) error { return one(w.ask(c, opFsyncdir, path, fi, bit(d))) },
		Setxattr: func(c *ctx, path, name string, value []byte, flags int) error {
			k := call{op: opSetxattr, path: path, name: name, arg: [5]uint64{uint64(flags)}}
			if len(value) > 0 {
				k.data = value
			}
			return one(w.send(c, &k))
		},
		Getxattr: func(c *ctx, path, name string, dst []byte) (int, error) {
			return w.xattr(c, opGetxattr, path, name, dst)
		},
		Listxattr: func(c *ctx, path string, dst []byte) (int, error) {
			return w.xattr(c, opListxattr, path, "", dst)
		},
		Removexattr: func(c *ctx, path, name string) error {
			return one(w.send(c, &call{op: opRemovexattr, path: path, name: name}))
		},
		Readdir: w.readdir,
		Destroy: func(any) { w.send(nil, &call{op: opDestroy}) },
		Access:  func(c *ctx, path string, mask uint32) error { return one(w.ask(c, opAccess, path, nil, uint64(mask))) },
		Lock:    w.lock,
		Bmap: func(c *ctx, path string, blocksize int, idx uint64) (uint64, error) {
			a, err := w.ask(c, opBmap, path, nil, uint64(blocksize), idx)
			return a.value[0], err
		},
		Ioctl: w.ioctl,
		Poll: func(c *ctx, path string, fi *info, ph *highlevel.PollHandle) (uint32, error) {
			a, err := w.ask(c, opPoll, path, fi, bit(ph != nil))
			if a.value[1] != 0 {
				ph.Notify()
			}
			return uint32(a.value[0]), err
		},
		Flock: func(c *ctx, path string, fi *info, how int) error {
			return one(w.ask(c, opFlock, path, fi, uint64(how)))
		},
		Fallocate: func(c *ctx, path string, mode uint32, off, length int64, fi *info) error {
			return one(w.ask(c, opFallocate, path, fi, uint64(mode), uint64(off), uint64(length)))
		},
		CopyFileRange: func(c *ctx, from string, fi *info, off int64, to string, fo *info, offo int64, n int, flags int) (int, error) {
			a, err := w.send(c, &call{op: opCopyFileRange, path: from, path2: to, fi: fileOf(fi), fi2: fileOf(fo),
				arg: [5]uint64{uint64(off), uint64(offo), uint64(n), uint64(flags)}})
			return int(a.n), err
		},
		Lseek: func(c *ctx, path string, off int64, whence int, fi *info) (int64, error) {
			a, err := w.ask(c, opLseek, path, fi, uint64(off), uint64(whence))
			return a.n, err
		},
		Init: func(_ *highlevel.Conn, live *highlevel.Config) (any, error) {
			w.send(nil, &call{op: opInit})
			cfg.apply(live)
			return nil, nil
		},
	}
	for i, clear := range []func(){
		opGetattr: func() { o.Getattr = nil }, opReadlink: func() { o.Readlink = nil }, opMknod: func() { o.Mknod = nil },
		opMkdir: func() { o.Mkdir = nil }, opUnlink: func() { o.Unlink = nil }, opRmdir: func() { o.Rmdir = nil },
		opSymlink: func() { o.Symlink = nil }, opRename: func() { o.Rename = nil }, opLink: func() { o.Link = nil },
		opChmod: func() { o.Chmod = nil }, opChown: func() { o.Chown = nil }, opTruncate: func() { o.Truncate = nil },
		opOpen: func() { o.Open = nil }, opRead: func() { o.Read = nil }, opWrite: func() { o.Write = nil },
		opStatfs: func() { o.Statfs = nil }, opFlush: func() { o.Flush = nil }, opRelease: func() { o.Release = nil },
		opFsync: func() { o.Fsync = nil }, opSetxattr: func() { o.Setxattr = nil }, opGetxattr: func() { o.Getxattr = nil },
		opListxattr: func() { o.Listxattr = nil }, opRemovexattr: func() { o.Removexattr = nil }, opOpendir: func() { o.Opendir = nil },
		opReaddir: func() { o.Readdir = nil }, opReleasedir: func() { o.Releasedir = nil }, opFsyncdir: func() { o.Fsyncdir = nil },
		opInit: func() { o.Init = nil }, opDestroy: func() { o.Destroy = nil }, opAccess: func() { o.Access = nil },
		opCreate: func() { o.Create = nil }, opLock: func() { o.Lock = nil }, opUtimens: func() { o.Utimens = nil },
		opBmap: func() { o.Bmap = nil }, opIoctl: func() { o.Ioctl = nil }, opPoll: func() { o.Poll = nil },
		opWriteBuf: func() { o.WriteBuf = nil }, opReadBuf: func() { o.ReadBuf = nil }, opFlock: func() { o.Flock = nil },
		opFallocate: func() { o.Fallocate = nil }, opCopyFileRange: func() { o.CopyFileRange = nil }, opLseek: func() { o.Lseek = nil },
	} {
		if cfg.without(op(i)) {
			clear()
		}
	}
	return o
}

// apply is what init() of the C side does.
func (c *config) apply(live *highlevel.Config) {
	for _, f := range []struct {
		bit uint32
		to  *bool
	}{{fUseIno, &live.UseIno}, {fReaddirIno, &live.ReaddirIno}, {fHardRemove, &live.HardRemove}, {fNullpathOK, &live.NullPathOK},
		{fDirectIO, &live.DirectIO}, {fKernelCache, &live.KernelCache}, {fAutoCache, &live.AutoCache}, {fNoRofdFlush, &live.NoRofdFlush}} {
		*f.to = *f.to || c.is(f.bit)
	}
	if c.is(fSetMode) {
		live.SetMode, live.Umask = true, c.Umask
	}
	if c.is(fSetUID) {
		live.SetUID, live.UID = true, c.UID
	}
	if c.is(fSetGID) {
		live.SetGID, live.GID = true, c.GID
	}
	for _, t := range []struct {
		v  uint32
		to *time.Duration
	}{{c.EntryTimeout, &live.EntryTimeout}, {c.AttrTimeout, &live.AttrTimeout}, {c.NegativeTimeout, &live.NegativeTimeout},
		{c.ACAttrTimeout, &live.ACAttrTimeout}} {
		if t.v != keep {
			*t.to = time.Duration(t.v) * (time.Second / 512)
		}
	}
}

// goSide is a purefuse session that is driven step by step.
type goSide struct {
	tree    *tree
	fs      *highlevel.FS
	player  *rig.Player
	feed    chan []byte   // the next request; closed at the end
	idle    chan struct{} // the request is done
	done    chan error    // the session is over
	steps   int
	ended   bool
	deleted []uint64 // nodes since the last request
}

// trace looks for the line about a deleted node among purefuse's debug lines, which are libfuse's.
type trace struct{ deleted func(uint64) }

func (*trace) Enabled(context.Context, slog.Level) bool { return true }
func (h *trace) Handle(_ context.Context, r slog.Record) error {
	if s, ok := strings.CutPrefix(r.Message, "DELETE: "); ok {
		id, err := strconv.ParseUint(s, 10, 64)
		h.deleted(id)
		return err
	}
	return nil
}
func (h *trace) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *trace) WithGroup(string) slog.Handler      { return h }

func newGoSide(cfg *config) (*goSide, error) {
	g := &goSide{feed: make(chan []byte), idle: make(chan struct{}), done: make(chan error, 1)}
	g.player = rig.NewPlayer(func() []byte {
		g.idle <- struct{}{}
		return <-g.feed
	})
	g.tree = newTree(cfg, g.player.Line)
	w := &twin{g.tree, g.player.Line}
	hc := &highlevel.Config{Interrupts: highlevel.InterruptOff}
	hc.Workers, hc.Debug = 1, true
	hc.Logger = slog.New(&trace{func(id uint64) { g.deleted = append(g.deleted, id) }})
	if cfg.Options != "" {
		hc.Options = strings.Split(cfg.Options, ",")
	}
	fs, err := highlevel.New(w.operations(cfg), hc, nil)
	if err != nil {
		return nil, err
	}
	g.fs = fs
	go func() {
		g.done <- g.player.Play(fs, fs.Session().Use, nil)
	}()
	<-g.idle
	return g, nil
}

// request plays one message.
func (g *goSide) request(m []byte) (rig.Step, error) {
	select {
	case g.feed <- m:
	case err := <-g.done:
		g.done <- err
		return rig.Step{}, fmt.Errorf("the session is over: %v", err)
	}
	select {
	case <-g.idle:
	case err := <-g.done:
		g.done <- err
		return rig.Step{}, fmt.Errorf("the session is over: %v", err)
	case <-time.After(hangs):
		return rig.Step{}, fmt.Errorf("no end of the request after %v", hangs)
	}
	g.steps++
	return g.player.Take(g.steps - 1), nil
}

// invalidate lets the server invalidate a path.
func (g *goSide) invalidate(path string) (rig.Step, error) {
	var e syscall.Errno
	if err := g.fs.InvalidatePath(path); err != nil && !errors.As(err, &e) {
		return rig.Step{}, err
	}
	g.player.Line(fmt.Sprintf("invalidate = %d", -int(e)))
	return g.player.Take(g.steps), nil
}

// end ends the session and returns what that led to.
func (g *goSide) end() (rig.Step, error) {
	if g.ended {
		return rig.Step{}, nil
	}
	g.ended = true
	close(g.feed)
	err := <-g.done
	return g.player.Take(g.steps), err
}
