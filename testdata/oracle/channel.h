/*
 * How a test talks to an oracle: frames on descriptor 3, through which the
 * requests of the fuse session travel, too.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#define FUSE_USE_VERSION 314

#include <fuse3/fuse_lowlevel.h>
#include <stddef.h>
#include <stdint.h>

/* A frame is one byte of type, the body's length as a little-endian u32, the body.
 * To every oracle: 'R' request, 'E' end. From it: 'R' reply, 'L' line of text,
 * 'I' request done, 'X' session over. */
void emit(char type, const void *body, size_t len);
void line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void head(char type, size_t len); /* the body follows with put */
void put(const void *p, size_t len);

/* get_frame reads a frame into frame; 0 at the end. */
int get_frame(char *type, uint32_t *len);
extern char frame[];

/* attach makes a session read its requests from here and write its replies here. */
void attach(struct fuse_session *se);

/* process serves the request of len bytes in frame, which is free as soon as an
 * operation is called. */
void process(struct fuse_session *se, uint32_t len);

/* Where the current request ends in memory; bytes behind it are zero. */
extern const char *request_end;

void die(const char *what) __attribute__((noreturn));

#endif
