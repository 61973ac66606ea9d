/*
 * client: one load on one mounted directory, measured.
 *
 * Statically linked and small, so that the side that asks costs the same for every server. It opens what it needs,
 * warms up, prints "ready", waits for one byte on stdin, runs for the asked time and prints one line of JSON:
 * ops, bytes, ns (of measured time, per thread), cpu (its own CPU ns), p50, p99 and max in ns an operation.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 64
#define SUB 64 /* histogram cells in a power of two */
#define CELLS (60 * SUB)

struct worker {
	pthread_t tid;
	int id;
	int fd;
	char *buf;
	off_t pos;
	uint64_t rnd, serial;
	uint64_t ops, bytes, ns, max;
	uint64_t deadline;
	uint64_t hist[CELLS];
};

static const char *load_name = "getattr", *dir = ".";
static size_t block = 4096, window = 32 << 20;
static int direct, threads = 1, ms = 300, warm_ms = 40, cpu = -1;
static pthread_barrier_t gate;
static struct worker workers[MAX_THREADS];

static void die(const char *fmt, ...)
{
	int e = errno;
	va_list ap;

	printf("{\"error\":\"");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\"}\n", strerror(e));
	fflush(stdout);
	_exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static unsigned cell(uint64_t v)
{
	int e;

	if (v < SUB)
		return v;
	e = 63 - __builtin_clzll(v);
	return (e - 5) * SUB + ((v >> (e - 6)) & (SUB - 1));
}

static uint64_t cell_value(unsigned i)
{
	unsigned e = i / SUB + 5;

	if (i < SUB)
		return i;
	return ((uint64_t)SUB + i % SUB) * (1ull << (e - 6)) + (1ull << (e - 6)) / 2;
}

static void record(struct worker *w, uint64_t ns)
{
	w->hist[cell(ns)]++;
	if (ns > w->max)
		w->max = ns;
}

static void path_of(char *out, size_t n, const char *name)
{
	if ((size_t)snprintf(out, n, "%s/%s", dir, name) >= n) {
		errno = ENAMETOOLONG;
		die("%s", name);
	}
}

/* Each step does one measured unit and returns when its measurement began, so that set-up between units stays outside. */
typedef uint64_t (*step_fn)(struct worker *w, uint64_t t);

static uint64_t step_getattr(struct worker *w, uint64_t t)
{
	struct statx sx;

	if (statx(w->fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &sx))
		die("statx");
	w->ops++;
	return t;
}

static off_t advance(struct worker *w)
{
	off_t p = w->pos;

	w->pos += block;
	if (w->pos + block > window)
		w->pos = 0;
	return p;
}

static off_t jump(struct worker *w)
{
	w->rnd ^= w->rnd << 13;
	w->rnd ^= w->rnd >> 7;
	w->rnd ^= w->rnd << 17;
	return w->rnd % (window / block) * block;
}

static void get(struct worker *w, off_t at)
{
	ssize_t n = pread(w->fd, w->buf, block, at);

	if (n != (ssize_t)block) {
		if (n >= 0)
			errno = ENODATA;
		die("pread of %zu at %lld gave %zd", block, (long long)at, n);
	}
	w->ops++;
	w->bytes += block;
}

static void put(struct worker *w, off_t at)
{
	ssize_t n = pwrite(w->fd, w->buf, block, at);

	if (n != (ssize_t)block) {
		if (n >= 0)
			errno = ENOSPC;
		die("pwrite of %zu at %lld gave %zd", block, (long long)at, n);
	}
	w->ops++;
	w->bytes += block;
}

static uint64_t step_rread(struct worker *w, uint64_t t)
{
	get(w, jump(w));
	return t;
}

static uint64_t step_rwrite(struct worker *w, uint64_t t)
{
	put(w, jump(w));
	return t;
}

/* Buffered units are whole passes: a read pass starts with the window's pages dropped, a write pass ends on disk. */
static uint64_t step_read(struct worker *w, uint64_t t)
{
	if (direct) {
		get(w, advance(w));
		return t;
	}
	if (posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED))
		die("fadvise");
	t = now();
	for (off_t at = 0; at + block <= window; at += block)
		get(w, at);
	return t;
}

static uint64_t step_write(struct worker *w, uint64_t t)
{
	if (direct) {
		put(w, advance(w));
		return t;
	}
	for (off_t at = 0; at + block <= window; at += block)
		put(w, at);
	if (fdatasync(w->fd) && errno != ENOSYS && errno != EINVAL)
		die("fdatasync");
	return t;
}

static uint64_t step_stat(struct worker *w, uint64_t t)
{
	struct stat st;
	char p[PATH_MAX];

	path_of(p, sizeof p, "data");
	if (stat(p, &st))
		die("stat %s", p);
	w->ops++;
	return t;
}

static uint64_t step_open(struct worker *w, uint64_t t)
{
	char p[PATH_MAX];
	int fd;

	path_of(p, sizeof p, "data");
	fd = open(p, O_RDONLY);
	if (fd < 0)
		die("open %s", p);
	close(fd);
	w->ops++;
	return t;
}

static uint64_t step_create(struct worker *w, uint64_t t)
{
	char name[64], p[PATH_MAX];
	int fd;

	snprintf(name, sizeof name, "tmp/t%d.%llu", w->id, (unsigned long long)w->serial++);
	path_of(p, sizeof p, name);
	fd = open(p, O_CREAT | O_EXCL | O_WRONLY, 0600);
	if (fd < 0)
		die("create %s", p);
	close(fd);
	if (unlink(p))
		die("unlink %s", p);
	w->ops++;
	return t;
}

struct dent {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

/* One pass over the directory `many`; an operation is an entry. A pass of stats may end early, at the deadline. */
static uint64_t list(struct worker *w, uint64_t t, int with_stat)
{
	char p[PATH_MAX];
	struct stat st;
	long n;
	int fd;

	path_of(p, sizeof p, "many");
	fd = open(p, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		die("open %s", p);
	while ((n = syscall(SYS_getdents64, fd, w->buf, 32768)) > 0) {
		for (long at = 0; at < n;) {
			struct dent *d = (struct dent *)(w->buf + at);

			if (with_stat && fstatat(fd, d->name, &st, AT_SYMLINK_NOFOLLOW))
				die("fstatat %s", d->name);
			w->ops++;
			at += d->reclen;
		}
		if (with_stat && now() >= w->deadline)
			break;
	}
	if (n < 0)
		die("getdents64");
	close(fd);
	return t;
}

static uint64_t step_readdir(struct worker *w, uint64_t t) { return list(w, t, 0); }
static uint64_t step_readdirstat(struct worker *w, uint64_t t) { return list(w, t, 1); }

static const struct {
	const char *name;
	step_fn step;
	int open_flags; /* of `data`; -1: not opened */
} loads[] = {
	{ "getattr", step_getattr, O_RDONLY },	  { "rread", step_rread, O_RDONLY },
	{ "rwrite", step_rwrite, O_RDWR },	  { "read", step_read, O_RDONLY },
	{ "write", step_write, O_RDWR },	  { "stat", step_stat, -1 },
	{ "open", step_open, -1 },		  { "create", step_create, -1 },
	{ "readdir", step_readdir, -1 },	  { "readdirstat", step_readdirstat, -1 },
};
static unsigned chosen;

static void run_for(struct worker *w, int millis)
{
	step_fn step = loads[chosen].step;
	uint64_t t = now();

	w->deadline = t + millis * 1000000ull;
	w->ops = w->bytes = w->ns = w->max = 0;
	memset(w->hist, 0, sizeof w->hist);
	for (;;) {
		uint64_t begin = step(w, t);
		uint64_t end = now();

		record(w, end - begin);
		w->ns += end - begin;
		if (end >= w->deadline)
			return;
		t = end;
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	size_t size = block < 65536 ? 65536 : block;
	char p[PATH_MAX];

	w->rnd = 88172645463325252ull + w->id * 7919;
	w->fd = -1;
	if (posix_memalign((void **)&w->buf, 4096, size))
		die("memory");
	memset(w->buf, 'a' + w->id % 26, size);
	if (loads[chosen].open_flags >= 0) {
		path_of(p, sizeof p, "data");
		w->fd = open(p, loads[chosen].open_flags | (direct ? O_DIRECT : 0));
		if (w->fd < 0)
			die("open %s", p);
	}
	run_for(w, warm_ms);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	run_for(w, ms);
	return NULL;
}

static uint64_t percentile(const uint64_t *hist, uint64_t total, double q)
{
	uint64_t want = total * q, seen = 0;

	for (unsigned i = 0; i < CELLS; i++) {
		seen += hist[i];
		if (seen > want)
			return cell_value(i);
	}
	return 0;
}

static uint64_t own_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void usage(void)
{
	fprintf(stderr, "usage: client -l LOAD -d DIR [-b BLOCK] [-D] [-s WINDOW] [-t THREADS] [-m MS] [-w WARM_MS] [-c CPU]\nloads:");
	for (unsigned i = 0; i < sizeof loads / sizeof *loads; i++)
		fprintf(stderr, " %s", loads[i].name);
	fprintf(stderr, "\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static uint64_t hist[CELLS];
	uint64_t ops = 0, bytes = 0, ns = 0, max = 0, units = 0, cpu0;
	char go;
	int c;

	while ((c = getopt(argc, argv, "l:d:b:Ds:t:m:w:c:")) != -1) {
		switch (c) {
		case 'l': load_name = optarg; break;
		case 'd': dir = optarg; break;
		case 'b': block = atol(optarg); break;
		case 'D': direct = 1; break;
		case 's': window = atol(optarg); break;
		case 't': threads = atoi(optarg); break;
		case 'm': ms = atoi(optarg); break;
		case 'w': warm_ms = atoi(optarg); break;
		case 'c': cpu = atoi(optarg); break;
		default: usage();
		}
	}
	if (threads < 1 || threads > MAX_THREADS || block < 1 || window < block)
		usage();
	for (chosen = 0; chosen < sizeof loads / sizeof *loads; chosen++)
		if (!strcmp(loads[chosen].name, load_name))
			break;
	if (chosen == sizeof loads / sizeof *loads)
		usage();
	if (cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof set, &set))
			die("sched_setaffinity %d", cpu);
	}
	pthread_barrier_init(&gate, NULL, threads + 1);
	for (int i = 0; i < threads; i++) {
		workers[i].id = i;
		if ((errno = pthread_create(&workers[i].tid, NULL, work, &workers[i])))
			die("pthread_create");
	}
	pthread_barrier_wait(&gate);
	printf("ready\n");
	fflush(stdout);
	if (read(0, &go, 1) != 1)
		return 1;
	cpu0 = own_cpu();
	pthread_barrier_wait(&gate);
	for (int i = 0; i < threads; i++) {
		struct worker *w = &workers[i];

		pthread_join(w->tid, NULL);
		ops += w->ops;
		bytes += w->bytes;
		ns += w->ns;
		max = w->max > max ? w->max : max;
		for (unsigned k = 0; k < CELLS; k++) {
			hist[k] += w->hist[k];
			units += w->hist[k];
		}
	}
	printf("{\"ops\":%llu,\"bytes\":%llu,\"ns\":%llu,\"cpu\":%llu,\"p50\":%llu,\"p99\":%llu,\"max\":%llu}\n",
	       (unsigned long long)ops, (unsigned long long)bytes, (unsigned long long)(ns / threads),
	       (unsigned long long)(own_cpu() - cpu0), (unsigned long long)percentile(hist, units, 0.50),
	       (unsigned long long)percentile(hist, units, 0.99), (unsigned long long)max);
	return 0;
}
