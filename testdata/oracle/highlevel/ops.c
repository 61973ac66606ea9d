#define _GNU_SOURCE
#include "highlevel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

static const char *answer_data;

static uint32_t length(const char *s)
{
	return s ? strlen(s) : NO_STRING;
}

static struct file file(const struct fuse_file_info *fi)
{
	struct file f = {0};

	if (!fi)
		return f;
	f.there = 1;
	f.flags = fi->flags;
	f.fh = fi->fh;
	f.owner = fi->lock_owner;
	f.events = fi->poll_events;
	f.bits = (fi->writepage ? B_WRITEPAGE : 0) | (fi->flush ? B_FLUSH : 0) |
		 (fi->flock_release ? B_FLOCK_RELEASE : 0) | (fi->direct_io ? B_DIRECT_IO : 0) |
		 (fi->keep_cache ? B_KEEP_CACHE : 0) | (fi->nonseekable ? B_NONSEEKABLE : 0) |
		 (fi->cache_readdir ? B_CACHE_READDIR : 0) | (fi->noflush ? B_NOFLUSH : 0);
	return f;
}

/* ask sends a call and waits for its answer. What the call lacks (who asks, lengths) is filled in. */
static struct answer ask(struct call *c, const char *path, const char *path2, const char *name, const void *data)
{
	const struct fuse_context *ctx = fuse_get_context();
	struct answer a;
	uint32_t len;
	size_t total;
	char type;

	c->uid = ctx->uid;
	c->gid = ctx->gid;
	c->pid = ctx->pid;
	c->umask = ctx->umask;
	c->path_len = length(path);
	c->path2_len = length(path2);
	c->name_len = length(name);
	total = sizeof(*c) + (path ? c->path_len : 0) + (path2 ? c->path2_len : 0) + (name ? c->name_len : 0) + c->data_len;
	head('C', total);
	put(c, sizeof(*c));
	if (path)
		put(path, c->path_len);
	if (path2)
		put(path2, c->path2_len);
	if (name)
		put(name, c->name_len);
	put(data, c->data_len);
	if (!get_frame(&type, &len))
		exit(1);
	if (type != 'A' || len < sizeof(a)) {
		fprintf(stderr, "oracle: frame %c of %u bytes instead of an answer\n", type, len);
		exit(2);
	}
	memcpy(&a, frame, sizeof(a));
	answer_data = frame + sizeof(a);
	return a;
}

/* simple is for calls of which only the result comes back. */
static int64_t simple(struct call c, const char *path, const char *path2)
{
	return ask(&c, path, path2, NULL, NULL).result;
}

static void stat_of(struct stat *st, const struct attr *a)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = a->ino;
	st->st_size = a->size;
	st->st_blocks = a->blocks;
	st->st_atim.tv_sec = a->atime;
	st->st_atim.tv_nsec = a->atime_nsec;
	st->st_mtim.tv_sec = a->mtime;
	st->st_mtim.tv_nsec = a->mtime_nsec;
	st->st_ctim.tv_sec = a->ctime;
	st->st_ctim.tv_nsec = a->ctime_nsec;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_rdev = a->rdev;
	st->st_blksize = a->blksize;
}

static int p_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	struct call c = {.op = OP_GETATTR, .fi = file(fi)};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	if (a.result == 0)
		stat_of(st, &a.attr);
	return a.result;
}

static int p_readlink(const char *path, char *buf, size_t size)
{
	struct call c = {.op = OP_READLINK};
	struct answer a = ask(&c, path, NULL, NULL, NULL);
	size_t n = a.data_len < size ? a.data_len : size - 1;

	if (a.result == 0) {
		memcpy(buf, answer_data, n);
		buf[n] = 0;
	}
	return a.result;
}

static int p_mknod(const char *path, mode_t mode, dev_t rdev)
{
	return simple((struct call){.op = OP_MKNOD, .arg = {mode, rdev}}, path, NULL);
}

static int p_mkdir(const char *path, mode_t mode)
{
	return simple((struct call){.op = OP_MKDIR, .arg = {mode}}, path, NULL);
}

static int p_unlink(const char *path)
{
	return simple((struct call){.op = OP_UNLINK}, path, NULL);
}

static int p_rmdir(const char *path)
{
	return simple((struct call){.op = OP_RMDIR}, path, NULL);
}

static int p_symlink(const char *target, const char *path)
{
	return simple((struct call){.op = OP_SYMLINK}, target, path);
}

static int p_rename(const char *from, const char *to, unsigned flags)
{
	return simple((struct call){.op = OP_RENAME, .arg = {flags}}, from, to);
}

static int p_link(const char *from, const char *to)
{
	return simple((struct call){.op = OP_LINK}, from, to);
}

static int p_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_CHMOD, .arg = {mode}, .fi = file(fi)}, path, NULL);
}

static int p_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_CHOWN, .arg = {uid, gid}, .fi = file(fi)}, path, NULL);
}

static int p_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_TRUNCATE, .arg = {size}, .fi = file(fi)}, path, NULL);
}

static int p_utimens(const char *path, const struct timespec tv[2], struct fuse_file_info *fi)
{
	struct call c = {.op = OP_UTIMENS, .fi = file(fi)};

	for (int i = 0; i < 2; i++) {
		/* What stands beside these two has no meaning. */
		if (tv[i].tv_nsec != UTIME_NOW && tv[i].tv_nsec != UTIME_OMIT)
			c.arg[2 * i] = tv[i].tv_sec;
		c.arg[2 * i + 1] = tv[i].tv_nsec;
	}
	return simple(c, path, NULL);
}

static int opened(uint32_t op, const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct call c = {.op = op, .arg = {mode}, .fi = file(fi)};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	if (a.result == 0) {
		fi->fh = a.fh;
		fi->direct_io = !!(a.bits & B_DIRECT_IO);
		fi->keep_cache = !!(a.bits & B_KEEP_CACHE);
		fi->nonseekable = !!(a.bits & B_NONSEEKABLE);
		fi->cache_readdir = !!(a.bits & B_CACHE_READDIR);
		fi->noflush = !!(a.bits & B_NOFLUSH);
	}
	return a.result;
}

static int p_open(const char *path, struct fuse_file_info *fi)
{
	return opened(OP_OPEN, path, 0, fi);
}

static int p_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	return opened(OP_CREATE, path, mode, fi);
}

static int p_opendir(const char *path, struct fuse_file_info *fi)
{
	return opened(OP_OPENDIR, path, 0, fi);
}

static int p_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct call c = {.op = OP_READ, .arg = {size, off}, .fi = file(fi)};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	if (a.result > 0)
		memcpy(buf, answer_data, a.result);
	return a.result;
}

/* p_read_buf gives the data in as many pieces of memory as the answer says. */
static int p_read_buf(const char *path, struct fuse_bufvec **bufp, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct call c = {.op = OP_READ_BUF, .arg = {size, off}, .fi = file(fi)};
	struct answer a = ask(&c, path, NULL, NULL, NULL);
	size_t pieces = a.value[0], done = 0;
	struct fuse_bufvec *v;

	if (a.result < 0)
		return a.result;
	v = calloc(1, sizeof(*v) + pieces * sizeof(struct fuse_buf));
	v->count = pieces;
	for (size_t i = 0; i < pieces; i++) {
		size_t n = i + 1 == pieces ? a.data_len - done : a.data_len / pieces;

		v->buf[i] = (struct fuse_buf){.size = n, .mem = malloc(n)};
		memcpy(v->buf[i].mem, answer_data + done, n);
		done += n;
	}
	*bufp = v;
	return 0;
}

static int p_write(const char *path, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct call c = {.op = OP_WRITE, .data_len = size, .arg = {off}, .fi = file(fi)};

	return ask(&c, path, NULL, NULL, buf).result;
}

static int p_write_buf(const char *path, struct fuse_bufvec *v, off_t off, struct fuse_file_info *fi)
{
	size_t size = fuse_buf_size(v);
	struct call c = {.op = OP_WRITE_BUF, .data_len = size, .arg = {off}, .fi = file(fi)};
	struct fuse_bufvec flat = FUSE_BUFVEC_INIT(size);
	int64_t result;

	flat.buf[0].mem = malloc(size);
	if (fuse_buf_copy(&flat, v, 0) != (ssize_t)size) {
		fprintf(stderr, "oracle: short write_buf\n");
		exit(2);
	}
	result = ask(&c, path, NULL, NULL, flat.buf[0].mem).result;
	free(flat.buf[0].mem);
	return result;
}

static int p_statfs(const char *path, struct statvfs *st)
{
	struct call c = {.op = OP_STATFS};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	if (a.result == 0) {
		st->f_blocks = a.value[0];
		st->f_bfree = a.value[1];
		st->f_bavail = a.value[2];
		st->f_files = a.value[3];
		st->f_ffree = a.value[4];
		st->f_bsize = a.value[5];
		st->f_namemax = a.value[6];
		st->f_frsize = a.value[7];
	}
	return a.result;
}

static int p_flush(const char *path, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_FLUSH, .fi = file(fi)}, path, NULL);
}

static int p_release(const char *path, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_RELEASE, .fi = file(fi)}, path, NULL);
}

static int p_releasedir(const char *path, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_RELEASEDIR, .fi = file(fi)}, path, NULL);
}

static int p_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_FSYNC, .arg = {datasync}, .fi = file(fi)}, path, NULL);
}

static int p_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_FSYNCDIR, .arg = {datasync}, .fi = file(fi)}, path, NULL);
}

static int p_setxattr(const char *path, const char *name, const char *value, size_t size, int flags)
{
	struct call c = {.op = OP_SETXATTR, .data_len = size, .arg = {flags}};

	return ask(&c, path, NULL, name, value).result;
}

static int p_getxattr(const char *path, const char *name, char *value, size_t size)
{
	struct call c = {.op = OP_GETXATTR, .arg = {size}};
	struct answer a = ask(&c, path, NULL, name, NULL);

	memcpy(value, answer_data, a.data_len);
	return a.result;
}

static int p_listxattr(const char *path, char *list, size_t size)
{
	struct call c = {.op = OP_LISTXATTR, .arg = {size}};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	memcpy(list, answer_data, a.data_len);
	return a.result;
}

static int p_removexattr(const char *path, const char *name)
{
	struct call c = {.op = OP_REMOVEXATTR};

	return ask(&c, path, NULL, name, NULL).result;
}

/* p_readdir tells afterwards how many entries the library took. */
static int p_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off, struct fuse_file_info *fi,
		     enum fuse_readdir_flags flags)
{
	struct call c = {.op = OP_READDIR, .arg = {off, flags}, .fi = file(fi)};
	struct answer a = ask(&c, path, NULL, NULL, NULL);
	int taken = 0, stopped = 0;

	for (size_t at = 0; at < a.data_len && !stopped;) {
		struct entry e;
		struct stat st;
		char name[512];

		memcpy(&e, answer_data + at, sizeof(e));
		memcpy(name, answer_data + at + sizeof(e), e.name_len);
		name[e.name_len] = 0;
		at += sizeof(e) + e.name_len;
		stat_of(&st, &e.attr);
		stopped = fill(buf, name, e.flags & E_STAT ? &st : NULL, e.off, e.flags & E_PLUS ? FUSE_FILL_DIR_PLUS : 0);
		taken += !stopped;
	}
	line("taken=%d stopped=%d", taken, stopped);
	return a.result;
}

static void *p_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
	(void)conn;
	simple((struct call){.op = OP_INIT}, NULL, NULL);
	config->use_ino |= !!(cfg.flags & F_USE_INO);
	config->readdir_ino |= !!(cfg.flags & F_READDIR_INO);
	config->hard_remove |= !!(cfg.flags & F_HARD_REMOVE);
	config->nullpath_ok |= !!(cfg.flags & F_NULLPATH_OK);
	config->direct_io |= !!(cfg.flags & F_DIRECT_IO);
	config->kernel_cache |= !!(cfg.flags & F_KERNEL_CACHE);
	config->auto_cache |= !!(cfg.flags & F_AUTO_CACHE);
	config->no_rofd_flush |= !!(cfg.flags & F_NO_ROFD_FLUSH);
	if (cfg.flags & F_SET_MODE) {
		config->set_mode = 1;
		config->umask = cfg.umask;
	}
	if (cfg.flags & F_SET_UID) {
		config->set_uid = 1;
		config->uid = cfg.uid;
	}
	if (cfg.flags & F_SET_GID) {
		config->set_gid = 1;
		config->gid = cfg.gid;
	}
	if (cfg.entry_timeout != KEEP)
		config->entry_timeout = cfg.entry_timeout / 512.0;
	if (cfg.attr_timeout != KEEP)
		config->attr_timeout = cfg.attr_timeout / 512.0;
	if (cfg.negative_timeout != KEEP)
		config->negative_timeout = cfg.negative_timeout / 512.0;
	if (cfg.ac_attr_timeout != KEEP)
		config->ac_attr_timeout = cfg.ac_attr_timeout / 512.0;
	return NULL;
}

static void p_destroy(void *private_data)
{
	(void)private_data;
	simple((struct call){.op = OP_DESTROY}, NULL, NULL);
}

static int p_access(const char *path, int mask)
{
	return simple((struct call){.op = OP_ACCESS, .arg = {mask}}, path, NULL);
}

static int p_lock(const char *path, struct fuse_file_info *fi, int cmd, struct flock *l)
{
	struct call c = {.op = OP_LOCK, .arg = {cmd, l->l_type, l->l_start, l->l_len, l->l_pid}, .fi = file(fi)};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	if (a.result == 0 && cmd == F_GETLK) {
		l->l_type = a.value[0];
		l->l_start = a.value[1];
		l->l_len = a.value[2];
		l->l_pid = a.value[3];
	}
	return a.result;
}

static int p_bmap(const char *path, size_t blocksize, uint64_t *idx)
{
	struct call c = {.op = OP_BMAP, .arg = {blocksize, *idx}};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	*idx = a.value[0];
	return a.result;
}

/* p_ioctl knows from cmd how much data there are, and whose. */
static int p_ioctl(const char *path, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags, void *data)
{
	struct call c = {.op = OP_IOCTL, .arg = {cmd, (uintptr_t)arg, flags}, .fi = file(fi)};
	uint32_t size = cmd >> 16 & 0x3fff;
	int in = cmd >> 30 & 1, out = cmd >> 31;
	struct answer a;

	c.data_len = in ? size : 0;
	a = ask(&c, path, NULL, NULL, data);
	if (out && a.result >= 0)
		memcpy(data, answer_data, a.data_len);
	return a.result;
}

static int p_poll(const char *path, struct fuse_file_info *fi, struct fuse_pollhandle *ph, unsigned *revents)
{
	struct call c = {.op = OP_POLL, .arg = {ph != NULL}, .fi = file(fi)};
	struct answer a = ask(&c, path, NULL, NULL, NULL);

	*revents = a.value[0];
	if (ph && a.value[1])
		fuse_notify_poll(ph);
	if (ph)
		fuse_pollhandle_destroy(ph);
	return a.result;
}

static int p_flock(const char *path, struct fuse_file_info *fi, int op)
{
	return simple((struct call){.op = OP_FLOCK, .arg = {op}, .fi = file(fi)}, path, NULL);
}

static int p_fallocate(const char *path, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_FALLOCATE, .arg = {(uint32_t)mode, off, len}, .fi = file(fi)}, path, NULL);
}

static ssize_t p_copy_file_range(const char *from, struct fuse_file_info *fi, off_t off, const char *to,
				 struct fuse_file_info *fi2, off_t off2, size_t size, int flags)
{
	struct call c = {.op = OP_COPY_FILE_RANGE, .arg = {off, off2, size, (uint32_t)flags}, .fi = file(fi), .fi2 = file(fi2)};

	return ask(&c, from, to, NULL, NULL).result;
}

static off_t p_lseek(const char *path, off_t off, int whence, struct fuse_file_info *fi)
{
	return simple((struct call){.op = OP_LSEEK, .arg = {off, (uint32_t)whence}, .fi = file(fi)}, path, NULL);
}

const struct fuse_operations path_ops = {
	.getattr = p_getattr,
	.readlink = p_readlink,
	.mknod = p_mknod,
	.mkdir = p_mkdir,
	.unlink = p_unlink,
	.rmdir = p_rmdir,
	.symlink = p_symlink,
	.rename = p_rename,
	.link = p_link,
	.chmod = p_chmod,
	.chown = p_chown,
	.truncate = p_truncate,
	.open = p_open,
	.read = p_read,
	.write = p_write,
	.statfs = p_statfs,
	.flush = p_flush,
	.release = p_release,
	.fsync = p_fsync,
	.setxattr = p_setxattr,
	.getxattr = p_getxattr,
	.listxattr = p_listxattr,
	.removexattr = p_removexattr,
	.opendir = p_opendir,
	.readdir = p_readdir,
	.releasedir = p_releasedir,
	.fsyncdir = p_fsyncdir,
	.init = p_init,
	.destroy = p_destroy,
	.access = p_access,
	.create = p_create,
	.lock = p_lock,
	.utimens = p_utimens,
	.bmap = p_bmap,
	.ioctl = p_ioctl,
	.poll = p_poll,
	.write_buf = p_write_buf,
	.read_buf = p_read_buf,
	.flock = p_flock,
	.fallocate = p_fallocate,
	.copy_file_range = p_copy_file_range,
	.lseek = p_lseek,
};
