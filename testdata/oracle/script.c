#define _GNU_SOURCE
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILE_SIZE = 100000, MAX_DATA = 1 << 16, MAX_HELD = 64 };

/* ---- the random stream ---------------------------------------------------- */

static uint64_t state;

uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t hash(const void *p, size_t len)
{
	const unsigned char *b = p;
	uint64_t h = 0xcbf29ce484222325;

	while (len--)
		h = (h ^ *b++) * 0x100000001b3;
	return h;
}

void fill(void *p, size_t len, uint64_t pattern)
{
	unsigned char *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = pattern >> i % 8 * 8 ^ i;
}

size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* ---- what reached the operation -------------------------------------------- */

static char text[1 << 17];
static size_t text_len;

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_len += vsnprintf(text + text_len, sizeof(text) - text_len, fmt, ap);
	va_end(ap);
}

void say_name(const char *key, const char *name)
{
	say(" %s=", key);
	for (size_t i = 0; name[i] && i < 8192; i++)
		say("%02x", (unsigned char)name[i]);
}

/* say_data stops where the request does: a size that promises more is the
 * caller's to notice. */
void say_data(const char *key, const void *p, size_t len)
{
	size_t have = p && (const char *)p < request_end ? (size_t)(request_end - (const char *)p) : 0;

	say(" %s=%zu:%016llx", key, len, (unsigned long long)hash(p, min_size(len, have)));
}

void say_file(const char *key, const struct fuse_file_info *fi)
{
	if (!fi) {
		say(" %s=nil", key);
		return;
	}
	say(" %s={flags=%d fh=%llx owner=%llx page=%d flush=%d unlock=%d events=%x", key, fi->flags,
	    (unsigned long long)fi->fh, (unsigned long long)fi->lock_owner, fi->writepage, fi->flush,
	    fi->flock_release, fi->poll_events);
	say(" rest=%d}", fi->direct_io || fi->keep_cache || fi->nonseekable || fi->cache_readdir || fi->noflush);
}

int kind;
struct fuse_session *session;
intptr_t retrieves;

/* begin ends the line, seeds the stream with it and draws the kind of answer. */
void begin(fuse_req_t req, const char *extra)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	say(" ctx=%u/%u/%d/%o", c->uid, c->gid, c->pid, c->umask);
	state = cfg.seed ^ hash(text, text_len);
	kind = next() % 16;
	line("%.*s%s", (int)text_len, text, extra);
	text_len = 0;
}

/* ---- answers every operation may give ------------------------------------- */

struct held {
	fuse_req_t req;
	int number, interrupted;
};

static struct held held[MAX_HELD];
static int held_count, held_total;

static void on_interrupt(fuse_req_t req, void *data)
{
	struct held *h = data;

	(void)req;
	h->interrupted++;
	line("interrupt #%d", h->number);
}

static int hold(fuse_req_t req)
{
	struct held *h = &held[held_count];

	if (!(cfg.flags & F_HOLD) || kind != 15 || held_count == MAX_HELD)
		return 0;
	*h = (struct held){.req = req, .number = held_total};
	line("hold #%d", h->number);
	held_count++;
	held_total++;
	fuse_req_interrupt_func(req, on_interrupt, h);
	return 1;
}

void script_release_held(int reverse)
{
	for (int n = 0; n < held_count; n++) {
		struct held *h = &held[reverse ? held_count - 1 - n : n];

		line("release #%d interrupted=%d", h->number, fuse_req_interrupted(h->req));
		fuse_reply_err(h->req, h->interrupted ? EINTR : h->number % 3 ? 0 : ETIMEDOUT);
	}
	held_count = 0;
}

void script_start(struct fuse_session *se)
{
	session = se;
	retrieves = 0;
	held_count = held_total = 0;
	text_len = 0;
}

static int draw_errno(void)
{
	static const int odd[] = {0,   41,  58,   134,    200, 511, 512,       513,
				  523, 999, 1000, 100000, -2,  -61, INT32_MAX, -INT32_MAX};
	uint64_t v = next();
	int e;

	if (cfg.flags & F_ODD_ERRNO && v % 4 == 0)
		return odd[v / 4 % 16];
	e = 1 + v / 4 % 133;
	return e == 41 || e == 58 ? e - 1 : e;
}

/* early answers when the kind says error or hold. */
int early(fuse_req_t req)
{
	if (fuse_req_interrupted(req))
		line("interrupted");
	if (malformed) {
		fuse_reply_err(req, EIO);
		return 1;
	}
	if (hold(req))
		return 1;
	if (kind < 3) {
		fuse_reply_err(req, draw_errno());
		return 1;
	}
	return 0;
}

static double draw_timeout(void)
{
	uint64_t v = next();
	int64_t ns;

	switch (v % 8) {
	case 0:
		return 0;
	case 1:
		return -(double)(v / 8 % 1000000) / 512;
	case 2:
		return 9000000000.0;
	case 3:
		return v / 8 % 1000000;
	}
	/* Doubles hold 512ths of a second exactly, and 512ths are whole nanoseconds. */
	ns = v / 8 % (1 << 20) * 1953125;
	if (cfg.flags & F_FRACTIONS)
		ns = v / 8 % 10000000000000;
	return (double)ns / 1e9;
}

static void draw_stat(struct stat *st)
{
	uint64_t v;

	memset(st, 0, sizeof(*st));
	st->st_ino = next();
	st->st_size = next();
	st->st_blocks = next();
	st->st_atim.tv_sec = next();
	st->st_mtim.tv_sec = next();
	st->st_ctim.tv_sec = next();
	v = next();
	st->st_atim.tv_nsec = (uint32_t)v;
	st->st_mtim.tv_nsec = v >> 32;
	v = next();
	st->st_ctim.tv_nsec = (uint32_t)v;
	st->st_mode = v >> 32;
	v = next();
	st->st_nlink = (uint32_t)v;
	st->st_uid = v >> 32;
	v = next();
	st->st_gid = (uint32_t)v;
	st->st_rdev = v >> 32;
	st->st_blksize = (uint32_t)next();
}

static void draw_entry(struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = next();
	if (kind == 3)
		e->ino = 0;
	e->generation = next();
	e->entry_timeout = draw_timeout();
	e->attr_timeout = draw_timeout();
	draw_stat(&e->attr);
}

static void draw_file(struct fuse_file_info *fi)
{
	uint64_t v;

	fi->fh = next();
	v = next();
	fi->direct_io = v & 1;
	fi->keep_cache = v >> 1 & 1;
	fi->nonseekable = v >> 2 & 1;
	fi->cache_readdir = v >> 3 & 1;
	fi->noflush = v >> 4 & 1;
}

static size_t draw_size(size_t asked)
{
	uint64_t v = next();

	if (kind == 4 && cfg.flags & F_OVERSIZE)
		return min_size(asked, MAX_DATA) + 1 + v % 64;
	if (kind == 5)
		return min_size(asked, MAX_DATA);
	return v % (min_size(asked, 4096) + 1);
}

char data[MAX_DATA + 64];

static int pattern_file(void)
{
	static int fd = -1;

	if (fd < 0) {
		char *p = malloc(FILE_SIZE);

		fd = memfd_create("oracle", MFD_CLOEXEC);
		fill(p, FILE_SIZE, 0x0123456789abcdef);
		if (fd < 0 || write(fd, p, FILE_SIZE) != FILE_SIZE) {
			perror("oracle: memfd");
			exit(2);
		}
		free(p);
	}
	return fd;
}

void entry(fuse_req_t req)
{
	struct fuse_entry_param e;

	if (early(req))
		return;
	draw_entry(&e);
	fuse_reply_entry(req, &e);
}

void attr(fuse_req_t req)
{
	struct stat st;
	double timeout;

	if (early(req))
		return;
	timeout = draw_timeout();
	draw_stat(&st);
	fuse_reply_attr(req, &st, timeout);
}

void ok(fuse_req_t req)
{
	if (!early(req))
		fuse_reply_err(req, 0);
}

void opened(fuse_req_t req, struct fuse_file_info *fi)
{
	if (early(req))
		return;
	draw_file(fi);
	fuse_reply_open(req, fi);
}

void created(fuse_req_t req, struct fuse_file_info *fi)
{
	struct fuse_entry_param e;

	if (early(req))
		return;
	draw_entry(&e);
	draw_file(fi);
	fuse_reply_create(req, &e, fi);
}

void written(fuse_req_t req, size_t asked)
{
	uint64_t v;

	if (early(req))
		return;
	v = next();
	fuse_reply_write(req, kind < 6 ? v >> 32 : v % (asked + 1));
}

/* vector answers n bytes of data through fuse_reply_data in one of six shapes. */
static void vector(fuse_req_t req, size_t n, uint64_t v)
{
	struct fuse_bufvec *vec = calloc(1, sizeof(*vec) + 2 * sizeof(struct fuse_buf));
	size_t a = n / 3, b = 2 * n / 3;
	enum fuse_buf_flags seek = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;

	vec->count = 3;
	vec->buf[0] = (struct fuse_buf){.mem = data, .size = a, .fd = -1};
	vec->buf[1] = (struct fuse_buf){.mem = data + a, .size = b - a, .fd = -1};
	vec->buf[2] = (struct fuse_buf){.mem = data + b, .size = n - b, .fd = -1};
	switch (v % 6) {
	case 0:
		vec->count = 1;
		vec->buf[0].size = n;
		break;
	case 1:
		break;
	case 2: /* the whole from the file, perhaps over its end */
		vec->count = 1;
		vec->buf[0] = (struct fuse_buf){.flags = seek | FUSE_BUF_FD_RETRY,
						.fd = pattern_file(),
						.pos = v / 6 % (FILE_SIZE + 100),
						.size = n};
		break;
	case 3: /* memory, file, memory */
		vec->buf[1] = (struct fuse_buf){.flags = seek | FUSE_BUF_FD_RETRY,
						.fd = pattern_file(),
						.pos = v / 6 % FILE_SIZE,
						.size = b - a};
		break;
	case 4: /* a descriptor that cannot be read */
		vec->count = 1;
		vec->buf[0] = (struct fuse_buf){.flags = FUSE_BUF_IS_FD, .fd = -1, .size = n};
		break;
	case 5: /* starts in the second buffer */
		vec->idx = 1;
		vec->off = (b - a) / 2;
		break;
	}
	fuse_reply_data(req, vec, v >> 32 & 1 ? FUSE_BUF_NO_SPLICE : 0);
	free(vec);
}

void bytes(fuse_req_t req, size_t asked)
{
	size_t n = draw_size(asked), a = n / 3, b = 2 * n / 3;
	uint64_t v;

	fill(data, n, next());
	v = next();
	switch (v % 3) {
	case 0:
		fuse_reply_buf(req, data, n);
		break;
	case 1: {
		struct iovec iov[] = {{data, a}, {data + a, b - a}, {data + b, n - b}};

		fuse_reply_iov(req, iov, 3);
		break;
	}
	default:
		vector(req, n, v / 3);
	}
}

static size_t draw_name(char *name)
{
	uint64_t v = next();
	size_t n = v % 16 ? 1 + v / 16 % 20 : 200 + v / 16 % 100;

	if (v >> 60 == 0)
		n = 1 + (v >> 59 & 1), memset(name, '.', n);
	else
		for (size_t i = 0; i < n; i++)
			name[i] = 'a' + (v >> i % 40) % 26;
	name[n] = 0;
	return n;
}

void listing(fuse_req_t req, size_t asked, int plus)
{
	size_t room = min_size(asked, MAX_DATA), used = 0;
	char name[512];
	int count;

	if (early(req))
		return;
	if (kind == 4) {
		size_t n = next() % (min_size(asked, 200) + 1);

		fill(data, n, next());
		fuse_reply_buf(req, data, n);
		return;
	}
	count = next() % 24;
	while (count--) {
		struct fuse_entry_param e;
		off_t off = next();
		size_t need;

		draw_name(name);
		if (plus) {
			draw_entry(&e);
			need = fuse_add_direntry_plus(req, data + used, room - used, name, &e, off);
		} else {
			draw_stat(&e.attr);
			need = fuse_add_direntry(req, data + used, room - used, name, &e.attr, off);
		}
		if (need > room - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, data, used);
}

void xattr(fuse_req_t req, size_t asked)
{
	uint64_t v;
	size_t n;

	if (early(req))
		return;
	v = next();
	if (asked == 0 || kind == 4) {
		fuse_reply_xattr(req, v % 70000);
		return;
	}
	n = v % 200;
	if (n > asked && !(cfg.flags & F_OVERSIZE)) {
		fuse_reply_err(req, ERANGE);
		return;
	}
	fill(data, n, next());
	fuse_reply_buf(req, data, n);
}

