/*
 * The oracle: a scripted file system on C libfuse, driven frame by frame.
 *
 * Every operation writes down what reached it as one line of text. A hash of
 * that line and the session's seed starts a random stream which decides the
 * answer, so the Go twin answers alike exactly if it was told alike.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "channel.h"

/* Bits of struct config.flags. */
enum {
	F_ALLOW_ROOT = 1,  /* pass -o allow_root */
	F_FRACTIONS = 2,   /* timeouts that no double can hold exactly */
	F_FORCE_WANT = 4,  /* want capabilities the kernel did not offer */
	F_ODD_ERRNO = 8,   /* errors outside of errno.h */
	F_HOLD = 16,       /* keep some requests for later */
	F_OVERSIZE = 32,   /* answer more data than was asked for */
	F_DEBUG = 64,      /* send libfuse's log as 'D' frames */
};

/* Body of an 'S' frame: one session. Zero in a limit leaves libfuse's default. */
struct config {
	uint64_t seed;
	uint64_t ops; /* bit n: entry n of struct fuse_lowlevel_ops is set */
	uint32_t want, unwant;
	uint32_t max_write, max_readahead, max_background, congestion, time_gran;
	uint32_t max_read_opt, max_read_conn;
	uint32_t flags;
};

/* Frames to the oracle beside those of channel.h: 'S' config, 'M' request that is
 * malformed and must leave nothing behind, 'N' nothing. From it: 'D' libfuse's log. */
extern struct config cfg;
extern const struct fuse_lowlevel_ops script_ops;

void script_start(struct fuse_session *se);
void script_release_held(int reverse);

/* The current request is one that libfuse should have refused. */
extern int malformed;

/* script.c: the random stream, the line, and the answers that operations share. */
#define U(x) ((unsigned long long)(x))

extern struct fuse_session *session;
extern intptr_t retrieves; /* asked for so far; each is the cookie of its answer */
extern int kind; /* of answer, drawn by begin */
extern char data[];

uint64_t next(void);
void fill(void *p, size_t len, uint64_t pattern);
size_t min_size(size_t a, size_t b);

void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_name(const char *key, const char *name);
void say_data(const char *key, const void *p, size_t len);
void say_file(const char *key, const struct fuse_file_info *fi);
void begin(fuse_req_t req, const char *extra);

int early(fuse_req_t req);
void entry(fuse_req_t req);
void attr(fuse_req_t req);
void ok(fuse_req_t req);
void opened(fuse_req_t req, struct fuse_file_info *fi);
void created(fuse_req_t req, struct fuse_file_info *fi);
void written(fuse_req_t req, size_t asked);
void bytes(fuse_req_t req, size_t asked);
void listing(fuse_req_t req, size_t asked, int plus);
void xattr(fuse_req_t req, size_t asked);

#endif
