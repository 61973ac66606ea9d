#define _GNU_SOURCE
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_log.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHANNEL = 3, ROOM = 4 << 20 };

struct config cfg;
const char *request_end;
int malformed;

static char out[1 << 20];
static size_t out_len;
static char in[1 << 16];
static size_t in_pos, in_len;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void flush(void)
{
	size_t done = 0;

	while (done < out_len) {
		ssize_t n = write(CHANNEL, out + done, out_len - done);
		if (n < 0)
			die("oracle: write");
		done += n;
	}
	out_len = 0;
}

static void put(const void *p, size_t len)
{
	while (len > 0) {
		size_t n = sizeof(out) - out_len;

		if (n > len)
			n = len;
		memcpy(out + out_len, p, n);
		out_len += n;
		p = (const char *)p + n;
		len -= n;
		if (out_len == sizeof(out))
			flush();
	}
}

static void head(char type, size_t len)
{
	uint32_t n = len;

	put(&type, 1);
	put(&n, sizeof(n));
}

void emit(char type, const void *body, size_t len)
{
	head(type, len);
	put(body, len);
}

void line(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		die("oracle: vasprintf");
	emit('L', text, n);
	free(text);
}

/* get reads exactly len bytes; what is answered so far goes out before it waits. */
static int get(void *p, size_t len)
{
	while (len > 0) {
		size_t n = in_len - in_pos;

		if (n == 0) {
			flush();
			ssize_t r = read(CHANNEL, in, sizeof(in));
			if (r < 0)
				die("oracle: read");
			if (r == 0)
				return 0;
			in_pos = 0;
			in_len = r;
			continue;
		}
		if (n > len)
			n = len;
		memcpy(p, in + in_pos, n);
		in_pos += n;
		p = (char *)p + n;
		len -= n;
	}
	return 1;
}

static char frame[ROOM];

static int get_frame(char *type, uint32_t *len)
{
	if (!get(type, 1) || !get(len, sizeof(*len)))
		return 0;
	if (*len > ROOM) {
		fprintf(stderr, "oracle: frame of %u bytes\n", *len);
		exit(2);
	}
	return get(frame, *len);
}

static uint32_t pending; /* bytes of the request that io_read delivers next */
static char *receive;
static size_t dirty;

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)fd, (void)userdata;
	if (pending > len) {
		fprintf(stderr, "oracle: request of %u bytes, buffer of %zu\n", pending, len);
		exit(2);
	}
	memcpy(buf, frame, pending);
	if (dirty > pending)
		memset((char *)buf + pending, 0, dirty - pending);
	dirty = pending;
	request_end = (char *)buf + pending;
	return pending;
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	size_t len = 0;

	(void)fd, (void)userdata;
	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	head('R', len);
	for (int i = 0; i < count; i++)
		put(iov[i].iov_base, iov[i].iov_len);
	return len;
}

static void logger(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char *text;
	int n;

	(void)level;
	if (!(cfg.flags & F_DEBUG))
		return;
	n = vasprintf(&text, fmt, ap);
	if (n < 0)
		die("oracle: vasprintf");
	emit('D', text, n);
	free(text);
}

static void serve(void)
{
	static const struct fuse_custom_io io = {.read = io_read, .writev = io_writev};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = script_ops;
	struct fuse_buf buf = {.mem = receive};
	struct fuse_session *se;
	char type, text[64];
	uint32_t len;

	for (size_t i = 0; i < sizeof(ops) / sizeof(void *); i++)
		if (!(cfg.ops >> i & 1))
			memset((char *)&ops + i * sizeof(void *), 0, sizeof(void *));
	fuse_opt_add_arg(&args, "oracle");
	if (cfg.flags & F_DEBUG)
		fuse_opt_add_arg(&args, "-d");
	if (cfg.flags & F_ALLOW_ROOT)
		fuse_opt_add_arg(&args, "-oallow_root");
	if (cfg.max_read_opt) {
		snprintf(text, sizeof(text), "-omax_read=%u", cfg.max_read_opt);
		fuse_opt_add_arg(&args, text);
	}
	se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!se || fuse_session_custom_io(se, &io, dup(CHANNEL)) != 0) {
		fprintf(stderr, "oracle: no session\n");
		exit(2);
	}
	script_start(se);
	for (;;) {
		if (!get_frame(&type, &len))
			exit(1);
		if (type == 'E')
			break;
		pending = len;
		malformed = type == 'M';
		if (type != 'N' && fuse_session_receive_buf(se, &buf) > 0)
			fuse_session_process_buf(se, &buf);
		emit('I', NULL, 0);
	}
	script_release_held(0);
	line("end exited=%d", fuse_session_exited(se));
	fuse_session_destroy(se);
	fuse_opt_free_args(&args);
	emit('X', NULL, 0);
}

int main(void)
{
	uint32_t len;
	char type;

	receive = calloc(1, ROOM);
	if (!receive)
		die("oracle: calloc");
	fuse_set_log_func(logger);
	while (get_frame(&type, &len)) {
		if (type != 'S' || len != sizeof(cfg)) {
			fprintf(stderr, "oracle: frame %c of %u bytes instead of a session\n", type, len);
			return 2;
		}
		memcpy(&cfg, frame, sizeof(cfg));
		serve();
	}
	return 0;
}
