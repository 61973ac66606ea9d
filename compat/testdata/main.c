/* The C twin of the test program "high": what fuse_main says and returns is compared with compat.Main. */
#define FUSE_USE_VERSION 312
#include <fuse.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int high_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void) fi;
	memset(st, 0, sizeof(*st));
	if (strcmp(path, "/"))
		return -ENOENT;
	st->st_mode = S_IFDIR | 0755;
	st->st_nlink = 2;
	return 0;
}

static const struct fuse_operations high = { .getattr = high_getattr };

int main(int argc, char **argv)
{
	return fuse_main(argc, argv, &high, NULL);
}
