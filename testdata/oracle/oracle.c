#define _GNU_SOURCE
#include "oracle.h"

#include <fuse3/fuse_log.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config cfg;
int malformed;

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
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = script_ops;
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
	attach(se);
	script_start(se);
	for (;;) {
		if (!get_frame(&type, &len))
			exit(1);
		if (type == 'E')
			break;
		malformed = type == 'M';
		if (type != 'N')
			process(se, len);
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
