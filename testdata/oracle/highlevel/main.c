#define _GNU_SOURCE
#include "highlevel.h"

#include <fuse3/fuse_log.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config cfg;

/* logger tells which nodes libfuse deletes: that shows every lookup that was counted and not given back. */
static void logger(enum fuse_log_level level, const char *fmt, va_list ap)
{
	static const char deleted[] = "DELETE: ";
	char text[64];
	int n;

	(void)level;
	if (strncmp(fmt, deleted, sizeof(deleted) - 1) != 0)
		return;
	n = vsnprintf(text, sizeof(text), fmt + sizeof(deleted) - 1, ap);
	emit('D', text, n - 1);
}

static void serve(const char *options)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_operations ops = path_ops;
	struct fuse_session *se;
	struct fuse *f;
	uint32_t len;
	char type;

	for (size_t i = 0; i < OP_COUNT; i++)
		if (!(cfg.ops >> i & 1))
			memset((char *)&ops + i * sizeof(void *), 0, sizeof(void *));
	fuse_opt_add_arg(&args, "oracle");
	fuse_opt_add_arg(&args, "-odebug");
	if (*options) {
		fuse_opt_add_arg(&args, "-o");
		fuse_opt_add_arg(&args, options);
	}
	f = fuse_new(&args, &ops, sizeof(ops), NULL);
	if (!f) {
		fprintf(stderr, "oracle: fuse_new with %s\n", options);
		exit(2);
	}
	se = fuse_get_session(f);
	attach(se);
	for (;;) {
		if (!get_frame(&type, &len))
			exit(1);
		if (type == 'E')
			break;
		if (type == 'P') {
			char *path = strndup(frame, len);

			line("invalidate = %d", fuse_invalidate_path(f, path));
			free(path);
		} else {
			process(se, len);
		}
		emit('I', NULL, 0);
	}
	fuse_destroy(f);
	fuse_opt_free_args(&args);
	emit('X', NULL, 0);
}

int main(void)
{
	char *options;
	uint32_t len;
	char type;

	_Static_assert(sizeof(struct fuse_operations) == OP_COUNT * sizeof(void *), "operations");
	fuse_set_log_func(logger);
	while (get_frame(&type, &len)) {
		if (type != 'S' || len < sizeof(cfg)) {
			fprintf(stderr, "oracle: frame %c of %u bytes instead of a session\n", type, len);
			return 2;
		}
		memcpy(&cfg, frame, sizeof(cfg));
		options = strndup(frame + sizeof(cfg), len - sizeof(cfg));
		serve(options);
		free(options);
	}
	return 0;
}
