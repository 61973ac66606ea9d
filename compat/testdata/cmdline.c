/* Runs command lines through libfuse's own parsers, for TestAgainstLibfuse. Each line of standard input is a letter, o for
 * fuse_opt_parse and c for fuse_parse_cmdline, and arguments, each after a byte 1. The answer is a line of fields in the
 * same form, in which a newline of a message is a byte 2. */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <fuse_log.h>
#include <fuse_opt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct target {
	unsigned u, o;
	char *s, *x;
	int flag, two, i;
	double f;
};

#define AT(t, m, v) { t, offsetof(struct target, m), v }

static const struct fuse_opt opts[] = {
	AT("u=%u", u, 0), AT("s=%s", s, 0), AT("-x %s", x, 0),
	AT("flag", flag, 1), AT("noflag", flag, 0),
	AT("multi", flag, 7), AT("multi", two, 9),
	AT("f=%lf", f, 0), AT("o=%o", o, 0), AT("mode=ro", i, 5), AT("set=", i, 3),
	AT("--long=%s", s, 0),
	FUSE_OPT_KEY("keep", FUSE_OPT_KEY_KEEP), FUSE_OPT_KEY("drop", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("k=", 42), FUSE_OPT_KEY("-y ", 43),
	FUSE_OPT_END
};

static char log_text[1 << 16];

static void to_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	size_t n = strlen(log_text);
	(void) level;
	vsnprintf(log_text + n, sizeof(log_text) - n, fmt, ap);
}

static void field(const char *s)
{
	putchar(1);
	for (; *s; s++)
		putchar(*s == '\n' ? 2 : *s);
}

static int proc(void *data, const char *arg, int key, struct fuse_args *out)
{
	char b[32];
	(void) data; (void) out;
	snprintf(b, sizeof(b), "call %d", key);
	field(b);
	field(arg);
	return strchr(arg, 'Z') ? -1 : strchr(arg, 'D') ? 0 : 1;
}

int main(void)
{
	static char line[1 << 16];

	fuse_set_log_func(to_log);
	while (fgets(line, sizeof(line), stdin)) {
		struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
		char b[200], *p = line;
		int rc, i;

		line[strcspn(line, "\n")] = '\0';
		log_text[0] = '\0';
		while ((p = strchr(p, 1))) {
			char *end;
			*p++ = '\0';
			end = strchr(p, 1);
			if (end)
				*end = '\0';
			fuse_opt_add_arg(&args, p);
			if (!end)
				break;
			*end = 1;
			p = end;
		}
		if (line[0] == 'o') {
			struct target t;
			memset(&t, 0, sizeof(t));
			rc = fuse_opt_parse(&args, &t, opts, proc);
			snprintf(b, sizeof(b), "rc %d u %u o %u flag %d two %d i %d f %g", rc, t.u, t.o, t.flag, t.two, t.i, t.f);
			field(b);
			field(t.s ? t.s : "");
			field(t.x ? t.x : "");
		} else {
			struct fuse_cmdline_opts o;
			rc = fuse_parse_cmdline(&args, &o);
			if (rc == 0) {
				snprintf(b, sizeof(b), "s %d f %d d %d n %d v %d h %d c %d idle %u max %u", o.singlethread, o.foreground, o.debug,
					 o.nodefault_subtype, o.show_version, o.show_help, o.clone_fd, o.max_idle_threads, o.max_threads);
				field(b);
				field(o.mountpoint ? o.mountpoint : "");
			}
		}
		field(log_text);
		for (i = 0; i < args.argc; i++)
			field(args.argv[i]);
		putchar('\n');
		fuse_opt_free_args(&args);
	}
	return 0;
}
