/*
 * The oracle of the path API: C libfuse's high-level library without a file
 * system of its own. Every call that reaches an operation goes to the test,
 * which keeps the file system, and comes back with the answer.
 */
#ifndef HIGHLEVEL_H
#define HIGHLEVEL_H

#include "../channel.h"

#include <fuse3/fuse.h>

/* Bits of struct config.flags: what init() sets in struct fuse_config. */
enum {
	F_USE_INO = 1,
	F_READDIR_INO = 2,
	F_HARD_REMOVE = 4,
	F_NULLPATH_OK = 8,
	F_DIRECT_IO = 16,
	F_KERNEL_CACHE = 32,
	F_AUTO_CACHE = 64,
	F_NO_ROFD_FLUSH = 128,
	F_SET_MODE = 256,
	F_SET_UID = 512,
	F_SET_GID = 1024,
};

enum { KEEP = 0xffffffff }; /* a timeout that init() leaves alone */

/* Body of an 'S' frame: one session; the -o options follow as text. Timeouts are 512ths of a second. */
struct config {
	uint64_t ops; /* bit n: entry n of struct fuse_operations is set */
	uint32_t flags;
	uint32_t umask, uid, gid;
	uint32_t entry_timeout, attr_timeout, negative_timeout, ac_attr_timeout;
};

/* Other frames to the oracle: 'P' path to invalidate, answered by a line; 'A' answer.
 * From it: 'C' call; 'D' number of a node that was deleted, as text. */

/* Bits of struct file.bits. */
enum {
	B_WRITEPAGE = 1,
	B_FLUSH = 2,
	B_FLOCK_RELEASE = 4,
	B_DIRECT_IO = 8,
	B_KEEP_CACHE = 16,
	B_NONSEEKABLE = 32,
	B_CACHE_READDIR = 64,
	B_NOFLUSH = 128,
};

struct file {
	int32_t flags;
	uint32_t bits;
	uint64_t fh, owner;
	uint32_t events, there;
};

/* Head of a 'C' frame: what reached an operation. Two paths, a name and data follow. */
struct call {
	uint32_t op; /* place in struct fuse_operations */
	uint32_t uid, gid, pid, umask;
	uint32_t path_len, path2_len, name_len, data_len; /* NO_STRING: NULL */
	uint32_t pad;
	uint64_t arg[5];
	struct file fi, fi2;
};

enum { NO_STRING = 0xffffffff };

struct attr {
	uint64_t ino, size, blocks;
	int64_t atime, mtime, ctime;
	uint32_t atime_nsec, mtime_nsec, ctime_nsec;
	uint32_t mode, nlink, uid, gid, rdev, blksize, pad;
};

/* Head of an 'A' frame: what the operation returns. Data follow. */
struct answer {
	int64_t result; /* as the operation returns it */
	uint64_t value[8];
	uint64_t fh;
	uint32_t bits; /* of struct file */
	uint32_t data_len;
	struct attr attr;
};

/* An entry of a directory, in the data of readdir's answer. Its name follows. */
struct entry {
	uint64_t off;
	uint32_t flags; /* E_* */
	uint32_t name_len;
	struct attr attr;
};

enum { E_STAT = 1, E_PLUS = 2 };

/* Entries of struct fuse_operations. */
enum {
	OP_GETATTR, OP_READLINK, OP_MKNOD, OP_MKDIR, OP_UNLINK, OP_RMDIR, OP_SYMLINK, OP_RENAME, OP_LINK, OP_CHMOD, OP_CHOWN,
	OP_TRUNCATE, OP_OPEN, OP_READ, OP_WRITE, OP_STATFS, OP_FLUSH, OP_RELEASE, OP_FSYNC, OP_SETXATTR, OP_GETXATTR,
	OP_LISTXATTR, OP_REMOVEXATTR, OP_OPENDIR, OP_READDIR, OP_RELEASEDIR, OP_FSYNCDIR, OP_INIT, OP_DESTROY, OP_ACCESS,
	OP_CREATE, OP_LOCK, OP_UTIMENS, OP_BMAP, OP_IOCTL, OP_POLL, OP_WRITE_BUF, OP_READ_BUF, OP_FLOCK, OP_FALLOCATE,
	OP_COPY_FILE_RANGE, OP_LSEEK, OP_COUNT,
};

extern struct config cfg;
extern const struct fuse_operations path_ops;

#endif
