/*
 * floor: the least that a server over /dev/fuse can cost. One thread, read(2) and write(2) or writev(2), no library,
 * answering the few opcodes that the null rows need. Nothing that decodes, dispatches and keeps state can beat it by more than noise.
 *
 * usage: floor MOUNTPOINT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK (1 << 20)
#define FILE_SIZE (64ll << 20)
#define TIMEOUT 60

static char block[2 * BLOCK];
static int dev;

static void reply(uint64_t unique, int err, const void *data, size_t n)
{
	struct fuse_out_header h = { .len = sizeof h + n, .error = -err, .unique = unique };
	struct iovec v[2] = { { &h, sizeof h }, { (void *)data, n } };
	ssize_t res = n ? writev(dev, v, 2) : write(dev, &h, sizeof h);

	if (res < 0 && errno != ENOENT && errno != ENODEV)
		perror("reply");
}

static int fill(uint64_t ino, struct fuse_attr *a)
{
	memset(a, 0, sizeof *a);
	a->ino = ino;
	a->nlink = ino == 1 ? 2 : 1;
	a->mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
	a->size = ino == 2 ? FILE_SIZE : 0;
	a->blksize = 4096;
	return ino == 1 || ino == 2 ? 0 : ENOENT;
}

static void answer(struct fuse_in_header *in)
{
	void *arg = in + 1;

	switch (in->opcode) {
	case FUSE_INIT: {
		struct fuse_init_in *ask = arg;
		struct fuse_init_out out = {
			.major = FUSE_KERNEL_VERSION,
			.minor = ask->minor < FUSE_KERNEL_MINOR_VERSION ? ask->minor : FUSE_KERNEL_MINOR_VERSION,
			.max_readahead = ask->max_readahead,
			.flags = ask->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS),
			.max_background = 12,
			.congestion_threshold = 9,
			.max_write = BLOCK,
			.time_gran = 1,
			.max_pages = BLOCK / 4096,
		};
		reply(in->unique, 0, &out, sizeof out);
		return;
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out e = { .nodeid = 2, .entry_valid = TIMEOUT, .attr_valid = TIMEOUT };

		if (in->nodeid != 1 || strcmp(arg, "data")) {
			reply(in->unique, ENOENT, NULL, 0);
			return;
		}
		fill(2, &e.attr);
		reply(in->unique, 0, &e, sizeof e);
		return;
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out a = { .attr_valid = TIMEOUT };
		int err = fill(in->nodeid, &a.attr);

		reply(in->unique, err, &a, err ? 0 : sizeof a);
		return;
	}
	case FUSE_OPEN: {
		struct fuse_open_out o = { 0 };

		reply(in->unique, 0, &o, sizeof o);
		return;
	}
	case FUSE_READ: {
		struct fuse_read_in *r = arg;
		size_t n = r->size;

		if (r->offset >= FILE_SIZE)
			n = 0;
		else if (n > FILE_SIZE - r->offset)
			n = FILE_SIZE - r->offset;
		reply(in->unique, 0, block + r->offset % BLOCK, n);
		return;
	}
	case FUSE_WRITE: {
		struct fuse_write_out w = { .size = ((struct fuse_write_in *)arg)->size };

		reply(in->unique, 0, &w, sizeof w);
		return;
	}
	case FUSE_RELEASE:
		reply(in->unique, 0, NULL, 0);
		return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		reply(in->unique, ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	size_t room = BLOCK + 4096;
	char opts[128], *buf;

	if (argc != 2) {
		fprintf(stderr, "usage: floor MOUNTPOINT\n");
		return 2;
	}
	memset(block, 'n', sizeof block);
	if (posix_memalign((void **)&buf, 4096, room))
		return 1;
	dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		perror("/dev/fuse");
		return 1;
	}
	snprintf(opts, sizeof opts, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", dev, getuid(), getgid());
	if (mount("floor", argv[1], "fuse.floor", MS_NOSUID | MS_NODEV, opts)) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		ssize_t n = read(dev, buf, room);

		if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
			answer((struct fuse_in_header *)buf);
		} else if (n < 0 && errno == ENODEV) {
			return 0;
		} else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT) {
			perror("read");
			return 1;
		}
	}
}
