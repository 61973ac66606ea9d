#define _GNU_SOURCE
#include "oracle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

enum { RETRIEVE_MASK = 0x2000, RELEASE_MASK = 0x4000 };

static void op_init(void *userdata, struct fuse_conn_info *c)
{
	const unsigned splice = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE;

	(void)userdata;
	line("init %u.%u capable=%08x readahead=%u background=%u congestion=%u gran=%u | read=%u write=%u",
	     c->proto_major, c->proto_minor, c->capable & ~splice, c->max_readahead, c->max_background,
	     c->congestion_threshold, c->time_gran, c->max_read, c->max_write);
	c->want |= cfg.flags & F_FORCE_WANT ? cfg.want : cfg.want & c->capable;
	c->want &= ~cfg.unwant;
	if (cfg.max_write)
		c->max_write = cfg.max_write;
	if (cfg.max_readahead)
		c->max_readahead = cfg.max_readahead;
	if (cfg.max_background)
		c->max_background = cfg.max_background;
	if (cfg.congestion)
		c->congestion_threshold = cfg.congestion;
	if (cfg.time_gran)
		c->time_gran = cfg.time_gran;
	if (cfg.max_read_conn)
		c->max_read = cfg.max_read_conn;
}

static void op_destroy(void *userdata)
{
	(void)userdata;
	line("destroy");
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	say("lookup parent=%llx", U(parent));
	say_name("name", name);
	begin(req, "");
	entry(req);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	say("forget ino=%llx n=%llx", U(ino), U(nlookup));
	begin(req, "");
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	say("forget_multi count=%zu", count);
	for (size_t i = 0; i < count; i++)
		say(" %llx:%llx", U(f[i].ino), U(f[i].nlookup));
	begin(req, "");
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	say("getattr ino=%llx", U(ino));
	say_file("fi", fi);
	begin(req, "");
	attr(req);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	say("setattr ino=%llx set=%x mode=%o uid=%u gid=%u size=%llx", U(ino), to_set, st->st_mode, st->st_uid,
	    st->st_gid, U(st->st_size));
	say(" atime=%lld.%u mtime=%lld.%u ctime=%lld.%u", (long long)st->st_atim.tv_sec,
	    (unsigned)st->st_atim.tv_nsec, (long long)st->st_mtim.tv_sec, (unsigned)st->st_mtim.tv_nsec,
	    (long long)st->st_ctim.tv_sec, (unsigned)st->st_ctim.tv_nsec);
	say(" rest=%d", st->st_ino || st->st_dev || st->st_nlink || st->st_rdev || st->st_blksize || st->st_blocks);
	say_file("fi", fi);
	begin(req, "");
	attr(req);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	size_t n;
	uint64_t v;

	say("readlink ino=%llx", U(ino));
	begin(req, "");
	if (early(req))
		return;
	v = next();
	n = kind == 4 ? 4095 : v % 100;
	for (size_t i = 0; i < n; i++)
		data[i] = 1 + (v >> i % 40) % 255;
	data[n] = 0;
	fuse_reply_readlink(req, data);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	say("mknod parent=%llx mode=%o rdev=%llx", U(parent), mode, U(rdev));
	say_name("name", name);
	begin(req, "");
	entry(req);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	say("mkdir parent=%llx mode=%o", U(parent), mode);
	say_name("name", name);
	begin(req, "");
	entry(req);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	say("unlink parent=%llx", U(parent));
	say_name("name", name);
	begin(req, "");
	ok(req);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	say("rmdir parent=%llx", U(parent));
	say_name("name", name);
	begin(req, "");
	ok(req);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	say("symlink parent=%llx", U(parent));
	say_name("name", name);
	say_name("target", link);
	begin(req, "");
	entry(req);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	say("rename parent=%llx newparent=%llx flags=%x", U(parent), U(newparent), flags);
	say_name("name", name);
	say_name("newname", newname);
	begin(req, "");
	ok(req);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	say("link ino=%llx newparent=%llx", U(ino), U(newparent));
	say_name("newname", newname);
	begin(req, "");
	entry(req);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	say("open ino=%llx", U(ino));
	say_file("fi", fi);
	begin(req, "");
	opened(req, fi);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	say("opendir ino=%llx", U(ino));
	say_file("fi", fi);
	begin(req, "");
	opened(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	say("read ino=%llx size=%zu off=%lld", U(ino), size, (long long)off);
	say_file("fi", fi);
	begin(req, "");
	if (!early(req))
		bytes(req, size);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	say("write ino=%llx off=%lld", U(ino), (long long)off);
	say_data("data", buf, size);
	say_file("fi", fi);
	begin(req, "");
	written(req, size);
}

static void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *bufv, off_t off,
			 struct fuse_file_info *fi)
{
	say("write_buf ino=%llx off=%lld count=%zu idx=%zu skip=%zu", U(ino), (long long)off, bufv->count, bufv->idx,
	    bufv->off);
	say_data("data", bufv->buf[0].mem, bufv->buf[0].size);
	say_file("fi", fi);
	begin(req, "");
	written(req, bufv->buf[0].size);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	say("flush ino=%llx", U(ino));
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	say("release ino=%llx", U(ino));
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	say("releasedir ino=%llx", U(ino));
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	say("fsync ino=%llx datasync=%d", U(ino), datasync);
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	say("fsyncdir ino=%llx datasync=%d", U(ino), datasync);
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	say("readdir ino=%llx size=%zu off=%llu", U(ino), size, U(off));
	say_file("fi", fi);
	begin(req, "");
	listing(req, size, 0);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	say("readdirplus ino=%llx size=%zu off=%llu", U(ino), size, U(off));
	say_file("fi", fi);
	begin(req, "");
	listing(req, size, 1);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {0};
	uint64_t v;

	say("statfs ino=%llx", U(ino));
	begin(req, "");
	if (early(req))
		return;
	st.f_blocks = next();
	st.f_bfree = next();
	st.f_bavail = next();
	st.f_files = next();
	st.f_ffree = next();
	v = next();
	st.f_bsize = (uint32_t)v;
	st.f_frsize = v >> 32;
	st.f_namemax = (uint32_t)next();
	fuse_reply_statfs(req, &st);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	say("setxattr ino=%llx flags=%d", U(ino), flags);
	say_name("name", name);
	say_data("value", value, size);
	begin(req, "");
	ok(req);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	say("getxattr ino=%llx size=%zu", U(ino), size);
	say_name("name", name);
	begin(req, "");
	xattr(req, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	say("listxattr ino=%llx size=%zu", U(ino), size);
	begin(req, "");
	xattr(req, size);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	say("removexattr ino=%llx", U(ino));
	say_name("name", name);
	begin(req, "");
	ok(req);
}

/* Masks that no access(2) has ask for cached data, and let the held requests go first. */
static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	say("access ino=%llx mask=%x", U(ino), mask);
	begin(req, "");
	if (mask & RETRIEVE_MASK && !malformed) {
		size_t size = next() % 100000;
		off_t off = next() >> 1;

		line("retrieve %d", fuse_lowlevel_notify_retrieve(session, ino, size, off, (void *)++retrieves));
	}
	if (mask & RELEASE_MASK && !malformed) {
		script_release_held(mask & 1);
		kind = 14;
	}
	ok(req);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	say("create parent=%llx mode=%o", U(parent), mode);
	say_name("name", name);
	say_file("fi", fi);
	begin(req, "");
	created(req, fi);
}

static void say_lock(const struct flock *l)
{
	say(" type=%d whence=%d start=%llx len=%llx pid=%d", l->l_type, l->l_whence, U(l->l_start), U(l->l_len),
	    l->l_pid);
}

static void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct flock l = {0};
	uint64_t v;

	say("getlk ino=%llx", U(ino));
	say_lock(lock);
	say_file("fi", fi);
	begin(req, "");
	if (early(req))
		return;
	v = next();
	l.l_type = v % 3;
	l.l_pid = v >> 32;
	l.l_start = next() >> 2;
	v = next();
	l.l_len = v % 4 ? 1 + (v >> 34) : 0;
	fuse_reply_lock(req, &l);
}

static void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	say("setlk ino=%llx sleep=%d", U(ino), sleep);
	say_lock(lock);
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	say("flock ino=%llx op=%x", U(ino), op);
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_bmap(fuse_req_t req, fuse_ino_t ino, size_t blocksize, uint64_t idx)
{
	say("bmap ino=%llx blocksize=%zu idx=%llx", U(ino), blocksize, U(idx));
	begin(req, "");
	if (!early(req))
		fuse_reply_bmap(req, next());
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
		     unsigned flags, const void *in_buf, size_t in_size, size_t out_size)
{
	struct iovec iov[10];
	size_t n;
	int32_t result;
	uint64_t v;

	say("ioctl ino=%llx cmd=%x arg=%llx flags=%x out=%zu", U(ino), cmd, U((uintptr_t)arg), flags, out_size);
	say(" nil=%d", in_buf == NULL);
	say_data("in", in_buf, in_size);
	say_file("fi", fi);
	begin(req, "");
	if (early(req))
		return;
	v = next();
	if (kind == 3) {
		for (int i = 0; i < 10; i++) {
			iov[i].iov_base = (void *)(uintptr_t)next();
			iov[i].iov_len = next();
		}
		fuse_reply_ioctl_retry(req, iov, v % 6, iov + 5, v / 6 % 6);
		return;
	}
	result = v >> 32;
	n = v % (min_size(out_size, 300) + 1);
	fill(data, n, next());
	if (kind < 8) {
		iov[0] = (struct iovec){data, n / 2};
		iov[1] = (struct iovec){data + n / 2, n - n / 2};
		fuse_reply_ioctl_iov(req, result, iov, 2);
		return;
	}
	fuse_reply_ioctl(req, result, data, n);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	say("poll ino=%llx handle=%d", U(ino), ph != NULL);
	say_file("fi", fi);
	begin(req, "");
	if (ph && kind % 2 && !malformed)
		line("wake %d", fuse_lowlevel_notify_poll(ph));
	fuse_pollhandle_destroy(ph);
	if (!early(req))
		fuse_reply_poll(req, next());
}

static void op_retrieve_reply(fuse_req_t req, void *cookie, fuse_ino_t ino, off_t off, struct fuse_bufvec *bufv)
{
	say("retrieve_reply cookie=%lld ino=%llx off=%lld", (long long)(intptr_t)cookie, U(ino), (long long)off);
	say_data("data", bufv->buf[0].mem, bufv->buf[0].size);
	begin(req, "");
	fuse_reply_none(req);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	say("fallocate ino=%llx mode=%x off=%lld len=%lld", U(ino), mode, (long long)off, (long long)len);
	say_file("fi", fi);
	begin(req, "");
	ok(req);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t off, struct fuse_file_info *fi, fuse_ino_t out,
			       off_t out_off, struct fuse_file_info *out_fi, size_t len, int flags)
{
	char extra[32];

	/* 3.14 does not clamp the length; hash the clamped one so that the answers stay comparable. */
	snprintf(extra, sizeof(extra), " | len=%zu", len);
	len = min_size(len, 0xfffff000);
	say("copy_file_range ino=%llx off=%lld out=%llx outoff=%lld flags=%x len=%zu", U(ino), (long long)off, U(out),
	    (long long)out_off, flags, len);
	say_file("fi", fi);
	say_file("outfi", out_fi);
	begin(req, extra);
	written(req, len);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	say("lseek ino=%llx off=%lld whence=%d", U(ino), (long long)off, whence);
	say_file("fi", fi);
	begin(req, "");
	if (!early(req))
		fuse_reply_lseek(req, next());
}

const struct fuse_lowlevel_ops script_ops = {
	.init = op_init,
	.destroy = op_destroy,
	.lookup = op_lookup,
	.forget = op_forget,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.access = op_access,
	.create = op_create,
	.getlk = op_getlk,
	.setlk = op_setlk,
	.bmap = op_bmap,
	.ioctl = op_ioctl,
	.poll = op_poll,
	.write_buf = op_write_buf,
	.retrieve_reply = op_retrieve_reply,
	.forget_multi = op_forget_multi,
	.flock = op_flock,
	.fallocate = op_fallocate,
	.readdirplus = op_readdirplus,
	.copy_file_range = op_copy_file_range,
	.lseek = op_lseek,
};
