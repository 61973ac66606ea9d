#define _GNU_SOURCE
#include "channel.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHANNEL = 3, ROOM = 4 << 20 };

const char *request_end;

static char out[1 << 20];
static size_t out_len;
static char in[1 << 16];
static size_t in_pos, in_len;

void die(const char *what)
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

void put(const void *p, size_t len)
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

void head(char type, size_t len)
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

char frame[ROOM];

int get_frame(char *type, uint32_t *len)
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

void attach(struct fuse_session *se)
{
	static const struct fuse_custom_io io = {.read = io_read, .writev = io_writev};

	if (!se || fuse_session_custom_io(se, &io, dup(CHANNEL)) != 0) {
		fprintf(stderr, "oracle: no session\n");
		exit(2);
	}
}

void process(struct fuse_session *se, uint32_t len)
{
	static struct fuse_buf buf;

	if (!buf.mem) {
		buf.mem = calloc(1, ROOM);
		if (!buf.mem)
			die("oracle: calloc");
	}
	pending = len;
	if (fuse_session_receive_buf(se, &buf) > 0)
		fuse_session_process_buf(se, &buf);
}
