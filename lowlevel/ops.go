//go:build linux

package lowlevel

// Operations is the table of a file system: libfuse's struct fuse_lowlevel_ops, in its order. A nil field means what a NULL
// pointer means there: the request is answered with ENOSYS, or as its comment says, and the capabilities that need the
// operation stay off.
type Operations struct {
	// Init is called while FUSE_INIT is answered; it may change what c offers and wants. An error fails the mount.
	Init func(c *Conn) error
	// Destroy is called once, when the kernel says so (fuseblk) or at Session.Close, if Init was answered.
	Destroy func()

	// Lookup finds name in the directory parent and adds one to the lookup count of what it finds. Every path walk leads
	// here unless the kernel has the entry cached.
	Lookup func(r EntryReq, parent NodeID, name Name)
	// Forget takes n off the lookup count of ino; at zero the kernel knows it no more. nil: nothing.
	Forget func(r NoneReq, ino NodeID, n uint64)
	// Getattr answers stat(2), and much that the kernel does on its own. fi is nil unless an open file is meant (minor 9).
	Getattr func(r AttrReq, ino NodeID, fi *FileInfo)
	// Setattr answers chmod, chown, truncate, utimensat and their kind. fi is nil unless an open file is meant.
	Setattr func(r AttrReq, ino NodeID, a *SetAttr, fi *FileInfo)
	// Readlink answers readlink(2) and path walks over the symlink.
	Readlink func(r LinkReq, ino NodeID)
	// Mknod answers mknod(2), and creates regular files if Create is nil. Counts one lookup.
	Mknod func(r EntryReq, parent NodeID, name Name, mode, rdev uint32)
	// Mkdir answers mkdir(2). mode lacks the type bits. Counts one lookup.
	Mkdir func(r EntryReq, parent NodeID, name Name, mode uint32)
	// Unlink answers unlink(2). The inode stays valid until its lookup count is zero.
	Unlink func(r ErrReq, parent NodeID, name Name)
	// Rmdir answers rmdir(2).
	Rmdir func(r ErrReq, parent NodeID, name Name)
	// Symlink answers symlink(2). Counts one lookup.
	Symlink func(r EntryReq, target Name, parent NodeID, name Name)
	// Rename answers rename(2) and renameat2(2); flags are RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT; others must get EINVAL.
	Rename func(r ErrReq, parent NodeID, name Name, newparent NodeID, newname Name, flags uint32)
	// Link answers link(2). Counts one lookup.
	Link func(r EntryReq, ino, newparent NodeID, newname Name)
	// Open answers open(2) of anything but directories. fi.Flags lack O_CREAT, O_EXCL, O_NOCTTY, and O_TRUNC without CapAtomicOTrunc.
	// nil: success with a zero FileInfo, or ENOSYS if CapNoOpenSupport is wanted, after which the kernel opens by itself.
	Open func(r OpenReq, ino NodeID, fi *FileInfo)
	// Read answers read(2) and the page cache. Fewer bytes than size mean the end of the file, unless DirectIO.
	Read func(r DataReq, ino NodeID, size int, off int64, fi *FileInfo)
	// Write answers write(2) and write-back. All of data must be written, unless DirectIO.
	Write func(r WriteReq, ino NodeID, data []byte, off int64, fi *FileInfo)
	// Flush answers each close(2) of a descriptor, any number of times for one open; its error is close's.
	Flush func(r ErrReq, ino NodeID, fi *FileInfo)
	// Release is sent once for each open when the last descriptor is gone; its error goes nowhere. nil: success.
	Release func(r ErrReq, ino NodeID, fi *FileInfo)
	// Fsync answers fsync(2) and, with datasync, fdatasync(2).
	Fsync func(r ErrReq, ino NodeID, datasync bool, fi *FileInfo)
	// Opendir answers open(2) of a directory. nil: success with a zero FileInfo, or ENOSYS if CapNoOpendirSupport is wanted.
	Opendir func(r OpenReq, ino NodeID, fi *FileInfo)
	// Readdir answers getdents(2) from off on, 0 or the offset that an entry came with; no entries mean the end.
	Readdir func(r DirReq, ino NodeID, size int, off uint64, fi *FileInfo)
	// Releasedir is to Opendir what Release is to Open. nil: success.
	Releasedir func(r ErrReq, ino NodeID, fi *FileInfo)
	// Fsyncdir answers fsync(2) of a directory.
	Fsyncdir func(r ErrReq, ino NodeID, datasync bool, fi *FileInfo)
	// Statfs answers statfs(2). nil: name length 255, block size 512.
	Statfs func(r StatfsReq, ino NodeID)
	// Setxattr answers setxattr(2); flags are XATTR_CREATE and XATTR_REPLACE.
	Setxattr func(r ErrReq, ino NodeID, name Name, value []byte, flags uint32)
	// Getxattr answers getxattr(2): with size 0 by the value's size, else by the value, or ERANGE if that is longer than size.
	Getxattr func(r XattrReq, ino NodeID, name Name, size int)
	// Listxattr answers listxattr(2), by NUL-terminated names, as Getxattr does.
	Listxattr func(r XattrReq, ino NodeID, size int)
	// Removexattr answers removexattr(2).
	Removexattr func(r ErrReq, ino NodeID, name Name)
	// Access answers access(2) and chdir(2), unless the mount has default_permissions.
	Access func(r ErrReq, ino NodeID, mask uint32)
	// Create creates and opens a regular file. nil, or ENOSYS: the kernel uses Mknod and Open. Counts one lookup.
	Create func(r CreateReq, parent NodeID, name Name, mode uint32, fi *FileInfo)
	// Getlk answers F_GETLK: the lock that stands in the way of lk, or lk with F_UNLCK.
	Getlk func(r LockReq, ino NodeID, fi *FileInfo, lk *Flock)
	// Setlk answers F_SETLK and, with sleep, F_SETLKW. When it may wait it runs on a goroutine of its own.
	Setlk func(r ErrReq, ino NodeID, fi *FileInfo, lk *Flock, sleep bool)
	// Bmap answers FIBMAP, on fuseblk mounts only.
	Bmap func(r BmapReq, ino NodeID, blocksize int, idx uint64)
	// Ioctl answers ioctl(2). in is what the kernel copied from the caller, outSize what it will copy back at most.
	Ioctl func(r IoctlReq, ino NodeID, cmd uint32, arg uint64, fi *FileInfo, flags uint32, in []byte, outSize int)
	// Poll answers poll(2) and epoll. ph is nil unless the caller waits; it may be kept, and wakes the caller.
	Poll func(r PollReq, ino NodeID, fi *FileInfo, ph *PollHandle)
	// WriteBuf is Write with the data as a BufVec, and is called in its place if set.
	WriteBuf func(r WriteReq, ino NodeID, buf *BufVec, off int64, fi *FileInfo)
	// RetrieveReply is the kernel's answer to a retrieve notification, with the cookie that was given then.
	RetrieveReply func(r NoneReq, cookie any, ino NodeID, off int64, buf *BufVec)
	// ForgetMulti is a batch of forgets. nil: Forget is called for each. Single forgets go to Forget, or here if that is nil.
	ForgetMulti func(r NoneReq, f []Forget)
	// Flock answers flock(2); op is LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB unless it may wait, on a goroutine of its own.
	Flock func(r ErrReq, ino NodeID, fi *FileInfo, op int)
	// Fallocate answers fallocate(2).
	Fallocate func(r ErrReq, ino NodeID, mode uint32, off, length int64, fi *FileInfo)
	// Readdirplus is Readdir with what Lookup would tell of each entry; all but "." and ".." count one lookup each.
	Readdirplus func(r PlusReq, ino NodeID, size int, off uint64, fi *FileInfo)
	// CopyFileRange answers copy_file_range(2) within the mount.
	CopyFileRange func(r WriteReq, ino NodeID, off int64, fi *FileInfo, out NodeID, outOff int64, outFi *FileInfo, n uint64, flags uint32)
	// Lseek answers lseek(2) with SEEK_DATA and SEEK_HOLE.
	Lseek func(r SeekReq, ino NodeID, off int64, whence int, fi *FileInfo)
	// Tmpfile answers open(2) with O_TMPFILE. Counts one lookup.
	Tmpfile func(r CreateReq, parent NodeID, mode uint32, fi *FileInfo)
	// Statx answers statx(2) when the birth time is asked for; nil, or ENOSYS: the kernel uses Getattr.
	Statx func(r StatxReq, ino NodeID, flags, mask uint32, fi *FileInfo)
	// Syncfs answers syncfs(2), on fuseblk mounts only.
	Syncfs func(r ErrReq, ino NodeID)
}
