//go:build linux

// Memfs_ll is a read-write file system in memory: directories, files with holes, hard links, symlinks, device nodes.
//
//	memfs_ll [-o null_io] [-o fuse_dio] [-o writeback_cache] [-o no_timeout] [options] <mountpoint>
//
// It shows a complete tree on the low-level API: lowlevel.Nodes counts what the kernel knows, lowlevel.Handles keeps what
// belongs to an open directory, and requests are handled at the same time. Main.go has the options, tree.go names and
// directories, file.go contents.
package main

import (
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/compat"
	"github.com/purefuse/purefuse/compat/opt"
	ll "github.com/purefuse/purefuse/lowlevel"
)

const help = `File-system specific options:
    -o opt,[opt...]        mount options
    -o null_io             bypass the content store for
                           read/write benchmarking
    -o fuse_dio            enable direct I/O and parallel
                           direct writes
    -o writeback_cache     enable the kernel writeback cache
    -o no_timeout          cache attrs and dentries
                           indefinitely (default timeout is 0)
    -h   --help            print help

`

func main() {
	fs := newFS()
	os.Exit(compat.LowlevelMain(os.Args, &compat.LowlevelProgram{
		Help: help,
		Options: []opt.Opt{
			opt.Set("null_io", &fs.nullIO, true),
			opt.Set("fuse_dio", &fs.directIO, true),
			opt.Set("writeback_cache", &fs.writeback, true),
			opt.Set("no_timeout", &fs.noTimeout, true),
		},
		New: func(*compat.CmdlineOpts, *ll.Config) (*ll.Operations, error) { return fs.operations(), nil },
	}))
}

// memFS is the file system.
type memFS struct {
	nullIO, directIO, writeback, noTimeout bool

	tree  tree
	nodes ll.Nodes[uint64, *inode] // what the kernel knows, by inode number
	dirs  ll.Handles[*listing]     // open directories
	noise []byte                   // what reads return with nullIO
	sink  atomic.Uint32            // where writes go then
}

func newFS() *memFS {
	fs := &memFS{}
	root := fs.tree.newInode(syscall.S_IFDIR|0o755, ll.Caller{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	root.parent, root.attr.Nlink = root, 2
	fs.nodes.SetRoot(root.ino, root)
	return fs
}

func (fs *memFS) operations() *ll.Operations {
	if fs.nullIO {
		fs.noise = make([]byte, 1<<20)
		rand.NewChaCha8([32]byte{}).Read(fs.noise)
	}
	return &ll.Operations{
		Init:       fs.init,
		Lookup:     fs.lookup,
		Forget:     fs.forget,
		Getattr:    fs.getattr,
		Setattr:    fs.setattr,
		Readlink:   fs.readlink,
		Mknod:      fs.mknod,
		Mkdir:      fs.mkdir,
		Unlink:     fs.unlink,
		Rmdir:      fs.rmdir,
		Symlink:    fs.symlink,
		Rename:     fs.rename,
		Link:       fs.link,
		Open:       fs.open,
		Read:       fs.read,
		Write:      fs.write,
		Opendir:    fs.opendir,
		Readdir:    fs.readdir,
		Releasedir: fs.releasedir,
		Statfs:     fs.statfs,
		Create:     fs.create,
	}
}

func (fs *memFS) init(c *ll.Conn) error {
	c.NoInterrupt = true // nothing here takes long
	if fs.writeback {
		c.WantIfCapable(ll.CapWritebackCache)
	}
	if fs.directIO {
		c.WantIfCapable(ll.CapDirectIOAllowMmap)
	}
	return nil
}

// timeout is how long the kernel may believe what it is told.
func (fs *memFS) timeout() time.Duration {
	if fs.noTimeout {
		return 24 * time.Hour
	}
	return 0
}

func (fs *memFS) statfs(r ll.StatfsReq, _ ll.NodeID) {
	const free = 1e6 // of blocks, and of inodes; as good as any number
	used := uint64(fs.tree.chunks.Load()) * (chunkSize / 4096)
	files := uint64(fs.tree.inodes.Load())
	r.ReplyStatfs(&ll.Statfs{
		Bsize: 4096, Frsize: 4096, NameMax: nameMax,
		Blocks: used + free, Bfree: free, Bavail: free, Files: files + free, Ffree: free,
	})
}
