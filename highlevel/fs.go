//go:build linux

package highlevel

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
)

// FS is one mount of a file system, libfuse's struct fuse.
type FS struct {
	s     *lowlevel.Session
	cfg   Config // live
	top   *Filesystem
	log   *slog.Logger
	debug bool
	epoch time.Time
	seed  maphash.Seed

	mu         sync.Mutex
	root       *node
	ids, names table
	lastID     uint32
	generation uint32
	hidden     atomic.Uint32 // how many hidden names were made up
	waiting    []*waiter
	lru        struct{ first, last *node } // remembered nodes, the oldest first

	dirs lowlevel.Handles[*dir]

	cleanMu sync.Mutex
	cleaner chan struct{} // closed to stop it; nil: none
	cleaned sync.WaitGroup
	gone    sync.Once
}

// New makes a session of a file system, libfuse's fuse_new. cfg may be nil; it and ops are copied. private becomes
// Context.Private unless ops.Init returns something else.
func New(ops *Operations, cfg *Config, private any) (*FS, error) {
	if ops == nil {
		return nil, errors.New("fuse: no operations")
	}
	f := &FS{epoch: time.Now(), seed: maphash.MakeSeed()}
	if cfg != nil {
		f.cfg = *cfg
		f.cfg.Mount.Raw = slices.Clone(cfg.Mount.Raw)
	}
	rest, err := f.options()
	if err != nil {
		return nil, err
	}
	f.cfg.settle()
	f.debug = f.cfg.Debug
	if f.log = f.cfg.Logger; f.log == nil {
		f.log = slog.Default()
	}
	f.top = NewFilesystem(ops, private)
	f.top.fs = f
	if err := f.push(&rest); err != nil {
		return nil, err
	}
	f.top.debug = f.debug
	if err := f.mountOptions(rest); err != nil {
		return nil, err
	}
	f.ids.init(f, false)
	f.names.init(f, true)
	f.root = &node{id: uint32(rootID), nlookup: 1, refs: 1}
	f.ids.insert(f.root)
	if f.s, err = lowlevel.New(f.operations(ops.Lock != nil), &f.cfg.Config); err != nil {
		return nil, err
	}
	return f, nil
}

// options takes the words of this package out of Config.Options and returns the others.
func (f *FS) options() (rest []string, err error) {
	words := f.cfg.Options
	f.cfg.Options = nil
	for _, w := range words {
		known, err := f.cfg.parseOwn(w)
		if err != nil {
			return nil, err
		}
		if !known {
			rest = append(rest, w)
		}
	}
	return rest, nil
}

// mountOptions gives the words that are left to the mount.
func (f *FS) mountOptions(words []string) error {
	var unknown []string
	for _, w := range words {
		known, err := f.cfg.Mount.ParseOption(w)
		if err != nil {
			return err
		}
		if !known {
			unknown = append(unknown, w)
		}
	}
	if unknown != nil {
		return fmt.Errorf("fuse: unknown option(s): `-o %s'", strings.Join(unknown, ","))
	}
	return nil
}

// operations are those of the low level. locks says whether the file system keeps POSIX locks.
func (f *FS) operations(locks bool) *lowlevel.Operations {
	o := &lowlevel.Operations{
		Init: f.init, Destroy: f.destroy,
		Lookup: f.doLookup, Forget: f.doForget, ForgetMulti: f.doForgetMulti,
		Getattr: f.doGetattr, Setattr: f.doSetattr, Statx: f.doStatx, Access: f.doAccess, Readlink: f.doReadlink,
		Mknod: f.doMknod, Mkdir: f.doMkdir, Symlink: f.doSymlink, Link: f.doLink,
		Unlink: f.doUnlink, Rmdir: f.doRmdir, Rename: f.doRename,
		Open: f.doOpen, Create: f.doCreate, Read: f.doRead, WriteBuf: f.doWrite, Flush: f.doFlush, Release: f.doRelease, Fsync: f.doFsync,
		Opendir: f.doOpendir, Readdir: f.doReaddir, Readdirplus: f.doReaddirplus, Releasedir: f.doReleasedir, Fsyncdir: f.doFsyncdir,
		Statfs: f.doStatfs, Syncfs: f.doSyncfs,
		Setxattr: f.doSetxattr, Getxattr: f.doGetxattr, Listxattr: f.doListxattr, Removexattr: f.doRemovexattr,
		Flock: f.doFlock, Bmap: f.doBmap, Ioctl: f.doIoctl, Poll: f.doPoll, Fallocate: f.doFallocate,
		CopyFileRange: f.doCopyFileRange, Lseek: f.doLseek,
	}
	if locks {
		o.Getlk, o.Setlk = f.doGetlk, f.doSetlk
	}
	return o
}

// Session is the low-level session, libfuse's fuse_get_session: for Mount, Ready, Exit, Unmount and what else it has. It is
// served by Serve and closed by Close of the FS.
func (f *FS) Session() *lowlevel.Session { return f.s }

// Filesystem is the topmost layer.
func (f *FS) Filesystem() *Filesystem { return f.top }

// init answers FUSE_INIT.
func (f *FS) init(conn *lowlevel.Conn) error {
	conn.WantIfCapable(lowlevel.CapExportSupport)
	if err := f.top.Init(conn, &f.cfg); err != nil {
		return err
	}
	if f.cfg.Interrupts == InterruptOff {
		conn.NoInterrupt = true
	}
	return nil
}

// destroy ends the file system: what is still hidden is unlinked first.
func (f *FS) destroy() {
	f.gone.Do(func() {
		c := &Context{FS: f, Private: f.top.private}
		for _, path := range f.stillHidden() {
			if err := f.top.Unlink(c, path); err != nil {
				f.log.Warn("fuse: hidden file is left behind", "path", path, "err", err)
			}
		}
		f.top.Destroy()
	})
}

func (f *FS) stillHidden() (paths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, seg := range f.ids.segments {
		for _, n := range seg {
			for ; n != nil; n = n.idNext {
				if !n.is(nodeHidden) {
					continue
				}
				n.flags &^= nodeHidden
				if p, ok := f.pathNow(n, nil); ok {
					paths = append(paths, p)
				}
			}
		}
	}
	return paths
}

// Mount mounts the file system on dir, libfuse's fuse_mount.
func (f *FS) Mount(ctx context.Context, dir string) error { return f.s.Mount(ctx, dir) }

// Serve handles requests as session.Session.Serve does, libfuse's fuse_loop and fuse_loop_mt, and cleans up remembered nodes
// meanwhile.
func (f *FS) Serve(ctx context.Context) error {
	f.StartCleanup()
	defer f.StopCleanup()
	return f.s.Serve(ctx)
}

// Unmount unmounts what Mount mounted, see session.Session.Unmount.
func (f *FS) Unmount(ctx context.Context, flags session.UnmountFlags) error {
	return f.s.Unmount(ctx, flags)
}

// Close ends the session, see session.Session.Close. Files that are still hidden are unlinked, and Operations.Destroy is
// called, if FUSE_INIT was answered.
func (f *FS) Close() error {
	f.StopCleanup()
	return f.s.Close()
}

// Run mounts the file system on dir and serves it until ctx ends, which is no error, or it is unmounted. It unmounts what is
// still mounted.
func Run(ctx context.Context, dir string, ops *Operations, cfg *Config) error {
	f, err := New(ops, cfg, nil)
	if err != nil {
		return err
	}
	if err := f.Mount(ctx, dir); err != nil {
		return errors.Join(err, f.Close())
	}
	err = f.Serve(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// InvalidatePath makes the kernel drop what it has cached of a file: data and attributes, but not the name. ENOENT: there is
// no node for the path, so that the kernel has nothing. It must not be called by an operation on the same file.
func (f *FS) InvalidatePath(path string) error {
	f.mu.Lock()
	n := f.root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if n = f.child(n, name); n == nil || n.id == 0 {
			f.mu.Unlock()
			return syscall.ENOENT
		}
	}
	id := n.id
	f.mu.Unlock()
	return f.s.Notify().InvalInode(lowlevel.NodeID(id), 0, 0)
}

func (f *FS) now() int64 { return int64(time.Since(f.epoch)) }

func (f *FS) trace(format string, args ...any) {
	f.log.Log(context.Background(), lowlevel.LevelTrace, fmt.Sprintf(format, args...))
}

// errno is Errno, and notes errors that the kernel will not hear of in full.
func (f *FS) errno(c *call, err error) syscall.Errno {
	switch e := err.(type) {
	case nil:
		return 0
	case syscall.Errno:
		return e
	}
	e := Errno(err)
	if e == syscall.EIO && c.req != (lowlevel.Req{}) {
		f.log.Debug("fuse: I/O error", "op", c.req.Op(), "err", err)
	}
	return e
}
