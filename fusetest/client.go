//go:build linux

package fusetest

import (
	"strings"
	"syscall"
	"time"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

// Client makes system calls as somebody. Its methods send the request that the kernel would send, in the layout of its minor,
// and give the result that the caller would see: the server's errno, EIO for a reply that makes no sense, and where the kernel
// remembers that an operation is not there (ENOSYS), what it does then.
type Client struct {
	k *Kernel
	Caller
}

// As is a client with other ids.
func (k *Kernel) As(who Caller) *Client { return &Client{k, who} }

// Attr are attributes and how long the kernel may believe them.
type Attr struct {
	wire.Attr
	Timeout time.Duration
}

// call sends a request and checks the reply.
func (c *Client) call(op wire.Opcode, ino lowlevel.NodeID, arg, payload []byte) ([]byte, error) {
	return c.result(c.start(op, ino, arg, payload, nil))
}

func (c *Client) result(call *Call) ([]byte, error) {
	body, err := call.Wait()
	if err == nil {
		err = call.invalid
	}
	return body, err
}

// sticky sends a request unless the server is known not to have the operation; without it the result is err.
func (c *Client) sticky(op wire.Opcode, ino lowlevel.NodeID, arg, payload []byte, without error) ([]byte, error) {
	if c.k.without(op) {
		return nil, without
	}
	body, err := c.call(op, ino, arg, payload)
	if err == syscall.ENOSYS {
		c.k.remember(op)
		return nil, without
	}
	return body, err
}

// without reports whether an operation was answered with ENOSYS.
func (k *Kernel) without(op wire.Opcode) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sticky[op]
}

func (k *Kernel) remember(op wire.Opcode) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sticky[op] = true
}

// names are NUL-terminated names.
func names(list ...string) (b []byte) {
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	return b
}

func (c *Client) entry(body []byte, err error) (Entry, error) {
	if err != nil {
		return Entry{}, err
	}
	return entryOf(body), nil
}

// Lookup finds a name. A negative entry gives an Entry with NodeID 0 and no error.
func (c *Client) Lookup(parent lowlevel.NodeID, name string) (Entry, error) {
	if len(name) > wire.NameMax {
		return Entry{}, syscall.ENAMETOOLONG
	}
	return c.entry(c.call(wire.OpLookup, parent, nil, names(name)))
}

// Getattr is what stat(2) sends.
func (c *Client) Getattr(ino lowlevel.NodeID) (Attr, error) { return c.getattr(ino, wire.GetattrIn{}) }

func (c *Client) getattr(ino lowlevel.NodeID, in wire.GetattrIn) (Attr, error) {
	arg := sys.Bytes(&in)
	if c.k.layout() < 9 {
		arg = nil
	}
	return attrOf(c.call(wire.OpGetattr, ino, arg, nil))
}

func attrOf(body []byte, err error) (Attr, error) {
	if err != nil {
		return Attr{}, err
	}
	var o wire.AttrOut
	copy(sys.Bytes(&o), body)
	return Attr{o.Attr, timeout(o.AttrValid, o.AttrValidNsec)}, nil
}

// Setattr is what chmod, chown, truncate and utimensat send.
func (c *Client) Setattr(ino lowlevel.NodeID, in wire.SetattrIn) (Attr, error) {
	return attrOf(c.call(wire.OpSetattr, ino, sys.Bytes(&in), nil))
}

// Chmod is Setattr of a mode, without type bits.
func (c *Client) Chmod(ino lowlevel.NodeID, mode uint32) (Attr, error) {
	return c.Setattr(ino, wire.SetattrIn{Valid: uint32(wire.FattrMode), Mode: mode})
}

// Truncate is Setattr of a size.
func (c *Client) Truncate(ino lowlevel.NodeID, size uint64) (Attr, error) {
	return c.Setattr(ino, wire.SetattrIn{Valid: uint32(wire.FattrSize | wire.FattrLockOwner), Size: size})
}

// Statx is what statx(2) sends for the birth time. ENOSYS says that the kernel would fall back on Getattr.
func (c *Client) Statx(ino lowlevel.NodeID, in wire.StatxIn) (wire.StatxOut, error) {
	var o wire.StatxOut
	body, err := c.sticky(wire.OpStatx, ino, sys.Bytes(&in), nil, syscall.ENOSYS)
	copy(sys.Bytes(&o), body)
	return o, err
}

// Readlink is readlink(2).
func (c *Client) Readlink(ino lowlevel.NodeID) (string, error) {
	body, err := c.call(wire.OpReadlink, ino, nil, nil)
	return string(body), err
}

// create sends a request that makes something.
func (c *Client) create(op wire.Opcode, parent lowlevel.NodeID, arg, payload []byte) ([]byte, error) {
	return c.result(c.start(op, parent, arg, payload, c.extensions()))
}

// mode applies the caller's umask as the kernel does.
func (c *Client) mode(mode uint32) uint32 {
	if c.k.Flags()&wire.InitDontMask != 0 {
		return mode
	}
	return mode &^ c.Umask
}

// Mknod is mknod(2); mode has the type bits.
func (c *Client) Mknod(parent lowlevel.NodeID, name string, mode, rdev uint32) (Entry, error) {
	in := wire.MknodIn{Mode: c.mode(mode), Rdev: rdev, Umask: c.Umask}
	arg := sys.Bytes(&in)
	if c.k.layout() < 12 {
		arg = arg[:wire.CompatMknodInSize]
	}
	return c.entry(c.create(wire.OpMknod, parent, arg, names(name)))
}

// Mkdir is mkdir(2).
func (c *Client) Mkdir(parent lowlevel.NodeID, name string, mode uint32) (Entry, error) {
	return c.entry(c.create(wire.OpMkdir, parent, sys.Bytes(&wire.MkdirIn{Mode: c.mode(mode), Umask: c.Umask}), names(name)))
}

// Symlink is symlink(2).
func (c *Client) Symlink(parent lowlevel.NodeID, name, target string) (Entry, error) {
	return c.entry(c.create(wire.OpSymlink, parent, nil, names(name, target)))
}

// Link is link(2).
func (c *Client) Link(ino, newparent lowlevel.NodeID, newname string) (Entry, error) {
	body, err := c.sticky(wire.OpLink, newparent, sys.Bytes(&wire.LinkIn{OldNodeID: uint64(ino)}), names(newname), syscall.EPERM)
	return c.entry(body, err)
}

func (c *Client) nothing(_ []byte, err error) error { return err }

// Unlink is unlink(2).
func (c *Client) Unlink(parent lowlevel.NodeID, name string) error {
	return c.nothing(c.call(wire.OpUnlink, parent, nil, names(name)))
}

// Rmdir is rmdir(2).
func (c *Client) Rmdir(parent lowlevel.NodeID, name string) error {
	return c.nothing(c.call(wire.OpRmdir, parent, nil, names(name)))
}

// Rename is renameat2(2): RENAME without flags, else RENAME2.
func (c *Client) Rename(parent lowlevel.NodeID, name string, newparent lowlevel.NodeID, newname string, flags wire.RenameFlags) error {
	if flags == 0 {
		return c.nothing(c.call(wire.OpRename, parent, sys.Bytes(&wire.RenameIn{NewDir: uint64(newparent)}), names(name, newname)))
	}
	if flags&^(wire.RenameNoreplace|wire.RenameExchange|wire.RenameWhiteout) != 0 || c.k.layout() < 23 {
		return syscall.EINVAL
	}
	in := wire.Rename2In{NewDir: uint64(newparent), Flags: uint32(flags)}
	return c.nothing(c.sticky(wire.OpRename2, parent, sys.Bytes(&in), names(name, newname), syscall.EINVAL))
}

// Access is access(2): mask of 4, 2 and 1 for reading, writing and executing.
func (c *Client) Access(ino lowlevel.NodeID, mask uint32) error {
	return c.nothing(c.sticky(wire.OpAccess, ino, sys.Bytes(&wire.AccessIn{Mask: mask}), nil, nil))
}

// Statfs is statfs(2).
func (c *Client) Statfs(ino lowlevel.NodeID) (wire.Kstatfs, error) {
	var o wire.StatfsOut
	body, err := c.call(wire.OpStatfs, ino, nil, nil)
	copy(sys.Bytes(&o), body)
	return o.St, err
}

// Setxattr is setxattr(2).
func (c *Client) Setxattr(ino lowlevel.NodeID, name string, value []byte, flags uint32) error {
	in := wire.SetxattrIn{Size: uint32(len(value)), Flags: flags}
	arg := sys.Bytes(&in)
	if c.k.Flags()&wire.InitSetxattrExt == 0 {
		arg = arg[:wire.CompatSetxattrInSize]
	}
	return c.nothing(c.sticky(wire.OpSetxattr, ino, arg, append(names(name), value...), syscall.EOPNOTSUPP))
}

// Getxattr is getxattr(2) with a buffer of size bytes. With size 0 it returns nothing but the value's length.
func (c *Client) Getxattr(ino lowlevel.NodeID, name string, size int) (value []byte, length int, err error) {
	return sized(size)(c.sticky(wire.OpGetxattr, ino, sys.Bytes(&wire.GetxattrIn{Size: uint32(size)}), names(name), syscall.EOPNOTSUPP))
}

// Listxattr is listxattr(2), with size as in Getxattr.
func (c *Client) Listxattr(ino lowlevel.NodeID, size int) (list []string, length int, err error) {
	body, n, err := sized(size)(c.sticky(wire.OpListxattr, ino, sys.Bytes(&wire.GetxattrIn{Size: uint32(size)}), nil, syscall.EOPNOTSUPP))
	if len(body) > 0 {
		list = strings.Split(strings.TrimSuffix(string(body), "\x00"), "\x00")
	}
	return list, n, err
}

func sized(size int) func([]byte, error) ([]byte, int, error) {
	return func(body []byte, err error) ([]byte, int, error) {
		if err != nil {
			return nil, 0, err
		}
		if size > 0 {
			return body, len(body), nil
		}
		var o wire.GetxattrOut
		copy(sys.Bytes(&o), body)
		return nil, int(o.Size), nil
	}
}

// Removexattr is removexattr(2).
func (c *Client) Removexattr(ino lowlevel.NodeID, name string) error {
	return c.nothing(c.sticky(wire.OpRemovexattr, ino, nil, names(name), syscall.EOPNOTSUPP))
}

// Bmap is FIBMAP on a fuseblk mount.
func (c *Client) Bmap(ino lowlevel.NodeID, blocksize uint32, block uint64) (uint64, error) {
	var o wire.BmapOut
	body, err := c.sticky(wire.OpBmap, ino, sys.Bytes(&wire.BmapIn{Block: block, BlockSize: blocksize}), nil, nil)
	copy(sys.Bytes(&o), body)
	return o.Block, err
}

// Syncfs is syncfs(2) on a fuseblk mount.
func (c *Client) Syncfs(ino lowlevel.NodeID) error {
	return c.nothing(c.sticky(wire.OpSyncfs, ino, sys.Bytes(&wire.SyncfsIn{}), nil, nil))
}

// Destroy is what a fuseblk mount sends when it is unmounted.
func (c *Client) Destroy() error { return c.nothing(c.call(wire.OpDestroy, 0, nil, nil)) }
