// Prints the layout of the structs of the iomap extension, in the columns of structs.tsv:
//
//	gcc -o iomap iomap.c && ./iomap >iomap.tsv
//
// The structs are written down from the extension's description: no released header has them. Names that two versions share
// have the version's name added; a last field pad stands for the compiler's own padding on 64-bit machines.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t __reserved;
};

struct fuse_iomap_io {
	uint64_t offset;
	uint64_t length;
	uint64_t addr;
	uint16_t type;
	uint16_t flags;
	uint32_t dev;
};

struct fuse_iomap_begin_in {
	uint32_t opflags;
	uint32_t reserved;
	uint64_t attr_ino;
	uint64_t pos;
	uint64_t count;
};

struct fuse_iomap_begin_out {
	struct fuse_iomap_io read;
	struct fuse_iomap_io write;
};

struct fuse_iomap_end_in {
	uint32_t opflags;
	uint32_t reserved;
	uint64_t attr_ino;
	uint64_t pos;
	uint64_t count;
	int64_t written;
	struct fuse_iomap_io map;
};

struct fuse_iomap_ioend_in {
	uint32_t flags;
	int32_t error;
	uint64_t attr_ino;
	uint64_t pos;
	uint64_t new_addr;
	uint64_t written;
	uint32_t dev;
	uint32_t pad;
};

struct fuse_iomap_ioend_in_v6 {
	uint32_t flags;
	int32_t error;
	uint64_t attr_ino;
	uint64_t pos;
	uint64_t new_addr;
	uint32_t written;
	uint32_t reserved;
};

struct fuse_iomap_ioend_out {
	uint64_t newsize;
};

struct fuse_iomap_config_in {
	uint64_t flags;
	int64_t maxbytes;
	uint32_t cache_maxbytes;
	uint32_t zero;
	uint64_t padding[5];
};

struct fuse_iomap_config_out {
	uint64_t flags;
	char s_id[32];
	uint8_t s_uuid[16];
	uint8_t s_uuid_len;
	uint8_t s_pad[3];
	uint32_t s_blocksize;
	uint32_t s_max_links;
	uint32_t s_time_gran;
	int64_t s_time_min;
	int64_t s_time_max;
	int64_t s_maxbytes;
	uint32_t cache_maxbytes;
	uint32_t pad;
};

struct fuse_range {
	uint64_t offset;
	uint64_t length;
};

struct fuse_iomap_backing_inval_out {
	uint32_t dev;
	uint32_t reserved;
	struct fuse_range range;
};

struct fuse_iomap_upsert_mappings_out {
	uint64_t nodeid;
	uint64_t attr_ino;
	struct fuse_iomap_io read;
	struct fuse_iomap_io write;
};

struct fuse_iomap_inval_mappings_out {
	uint64_t nodeid;
	uint64_t attr_ino;
	struct fuse_range read;
	struct fuse_range write;
};

struct fuse_iomap_support {
	uint64_t flags;
	uint64_t padding;
};

struct fuse_iomap_backing_info {
	uint32_t backing_id;
	uint32_t blocksize;
};

struct fuse_iomap_backing_stripe {
	uint16_t nr_strips;
	uint8_t reserved[6];
	uint64_t strip_width;
};

struct fuse_iomap_backing_strip {
	uint32_t dev;
	uint32_t reserved;
	uint64_t addr;
};

struct fuse_freezefs_in {
	uint64_t unlinked;
};

struct fuse_shutdownfs_in {
	uint64_t flags;
};

struct fuse_iomap_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t __spare0[1];
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fuse_sx_time atime;
	struct fuse_sx_time btime;
	struct fuse_sx_time ctime;
	struct fuse_sx_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t mnt_id;
	uint32_t dio_mem_align;
	uint32_t dio_offset_align;
	uint64_t subvol;
	uint32_t atomic_write_unit_min;
	uint32_t atomic_write_unit_max;
	uint32_t atomic_write_segments_max;
	uint32_t dio_read_offset_align;
	uint32_t atomic_write_unit_max_opt;
	uint32_t __spare2[1];
	uint64_t __spare3[8];
};

#define FIELD(s, f, t) \
	printf(#s "\t%zu\t" #f "\t" t "\t%zu\t%zu\n", sizeof(struct s), offsetof(struct s, f), sizeof(((struct s *)0)->f))

int main(void)
{
	puts("struct\tstruct_size\tfield\ttype\toffset\tfield_size");
	FIELD(fuse_iomap_io, offset, "u64");
	FIELD(fuse_iomap_io, length, "u64");
	FIELD(fuse_iomap_io, addr, "u64");
	FIELD(fuse_iomap_io, type, "u16");
	FIELD(fuse_iomap_io, flags, "u16");
	FIELD(fuse_iomap_io, dev, "u32");
	FIELD(fuse_iomap_begin_in, opflags, "u32");
	FIELD(fuse_iomap_begin_in, reserved, "u32");
	FIELD(fuse_iomap_begin_in, attr_ino, "u64");
	FIELD(fuse_iomap_begin_in, pos, "u64");
	FIELD(fuse_iomap_begin_in, count, "u64");
	FIELD(fuse_iomap_begin_out, read, "fuse_iomap_io");
	FIELD(fuse_iomap_begin_out, write, "fuse_iomap_io");
	FIELD(fuse_iomap_end_in, opflags, "u32");
	FIELD(fuse_iomap_end_in, reserved, "u32");
	FIELD(fuse_iomap_end_in, attr_ino, "u64");
	FIELD(fuse_iomap_end_in, pos, "u64");
	FIELD(fuse_iomap_end_in, count, "u64");
	FIELD(fuse_iomap_end_in, written, "i64");
	FIELD(fuse_iomap_end_in, map, "fuse_iomap_io");
	FIELD(fuse_iomap_ioend_in, flags, "u32");
	FIELD(fuse_iomap_ioend_in, error, "i32");
	FIELD(fuse_iomap_ioend_in, attr_ino, "u64");
	FIELD(fuse_iomap_ioend_in, pos, "u64");
	FIELD(fuse_iomap_ioend_in, new_addr, "u64");
	FIELD(fuse_iomap_ioend_in, written, "u64");
	FIELD(fuse_iomap_ioend_in, dev, "u32");
	FIELD(fuse_iomap_ioend_in, pad, "u32");
	FIELD(fuse_iomap_ioend_in_v6, flags, "u32");
	FIELD(fuse_iomap_ioend_in_v6, error, "i32");
	FIELD(fuse_iomap_ioend_in_v6, attr_ino, "u64");
	FIELD(fuse_iomap_ioend_in_v6, pos, "u64");
	FIELD(fuse_iomap_ioend_in_v6, new_addr, "u64");
	FIELD(fuse_iomap_ioend_in_v6, written, "u32");
	FIELD(fuse_iomap_ioend_in_v6, reserved, "u32");
	FIELD(fuse_iomap_ioend_out, newsize, "u64");
	FIELD(fuse_iomap_config_in, flags, "u64");
	FIELD(fuse_iomap_config_in, maxbytes, "i64");
	FIELD(fuse_iomap_config_in, cache_maxbytes, "u32");
	FIELD(fuse_iomap_config_in, zero, "u32");
	FIELD(fuse_iomap_config_in, padding, "u64[5]");
	FIELD(fuse_iomap_config_out, flags, "u64");
	FIELD(fuse_iomap_config_out, s_id, "char[32]");
	FIELD(fuse_iomap_config_out, s_uuid, "u8[16]");
	FIELD(fuse_iomap_config_out, s_uuid_len, "u8");
	FIELD(fuse_iomap_config_out, s_pad, "u8[3]");
	FIELD(fuse_iomap_config_out, s_blocksize, "u32");
	FIELD(fuse_iomap_config_out, s_max_links, "u32");
	FIELD(fuse_iomap_config_out, s_time_gran, "u32");
	FIELD(fuse_iomap_config_out, s_time_min, "i64");
	FIELD(fuse_iomap_config_out, s_time_max, "i64");
	FIELD(fuse_iomap_config_out, s_maxbytes, "i64");
	FIELD(fuse_iomap_config_out, cache_maxbytes, "u32");
	FIELD(fuse_iomap_config_out, pad, "u32");
	FIELD(fuse_range, offset, "u64");
	FIELD(fuse_range, length, "u64");
	FIELD(fuse_iomap_backing_inval_out, dev, "u32");
	FIELD(fuse_iomap_backing_inval_out, reserved, "u32");
	FIELD(fuse_iomap_backing_inval_out, range, "fuse_range");
	FIELD(fuse_iomap_upsert_mappings_out, nodeid, "u64");
	FIELD(fuse_iomap_upsert_mappings_out, attr_ino, "u64");
	FIELD(fuse_iomap_upsert_mappings_out, read, "fuse_iomap_io");
	FIELD(fuse_iomap_upsert_mappings_out, write, "fuse_iomap_io");
	FIELD(fuse_iomap_inval_mappings_out, nodeid, "u64");
	FIELD(fuse_iomap_inval_mappings_out, attr_ino, "u64");
	FIELD(fuse_iomap_inval_mappings_out, read, "fuse_range");
	FIELD(fuse_iomap_inval_mappings_out, write, "fuse_range");
	FIELD(fuse_iomap_support, flags, "u64");
	FIELD(fuse_iomap_support, padding, "u64");
	FIELD(fuse_iomap_backing_info, backing_id, "u32");
	FIELD(fuse_iomap_backing_info, blocksize, "u32");
	FIELD(fuse_iomap_backing_stripe, nr_strips, "u16");
	FIELD(fuse_iomap_backing_stripe, reserved, "u8[6]");
	FIELD(fuse_iomap_backing_stripe, strip_width, "u64");
	FIELD(fuse_iomap_backing_strip, dev, "u32");
	FIELD(fuse_iomap_backing_strip, reserved, "u32");
	FIELD(fuse_iomap_backing_strip, addr, "u64");
	FIELD(fuse_freezefs_in, unlinked, "u64");
	FIELD(fuse_shutdownfs_in, flags, "u64");
	FIELD(fuse_iomap_statx, mask, "u32");
	FIELD(fuse_iomap_statx, blksize, "u32");
	FIELD(fuse_iomap_statx, attributes, "u64");
	FIELD(fuse_iomap_statx, nlink, "u32");
	FIELD(fuse_iomap_statx, uid, "u32");
	FIELD(fuse_iomap_statx, gid, "u32");
	FIELD(fuse_iomap_statx, mode, "u16");
	FIELD(fuse_iomap_statx, __spare0, "u16[1]");
	FIELD(fuse_iomap_statx, ino, "u64");
	FIELD(fuse_iomap_statx, size, "u64");
	FIELD(fuse_iomap_statx, blocks, "u64");
	FIELD(fuse_iomap_statx, attributes_mask, "u64");
	FIELD(fuse_iomap_statx, atime, "fuse_sx_time");
	FIELD(fuse_iomap_statx, btime, "fuse_sx_time");
	FIELD(fuse_iomap_statx, ctime, "fuse_sx_time");
	FIELD(fuse_iomap_statx, mtime, "fuse_sx_time");
	FIELD(fuse_iomap_statx, rdev_major, "u32");
	FIELD(fuse_iomap_statx, rdev_minor, "u32");
	FIELD(fuse_iomap_statx, dev_major, "u32");
	FIELD(fuse_iomap_statx, dev_minor, "u32");
	FIELD(fuse_iomap_statx, mnt_id, "u64");
	FIELD(fuse_iomap_statx, dio_mem_align, "u32");
	FIELD(fuse_iomap_statx, dio_offset_align, "u32");
	FIELD(fuse_iomap_statx, subvol, "u64");
	FIELD(fuse_iomap_statx, atomic_write_unit_min, "u32");
	FIELD(fuse_iomap_statx, atomic_write_unit_max, "u32");
	FIELD(fuse_iomap_statx, atomic_write_segments_max, "u32");
	FIELD(fuse_iomap_statx, dio_read_offset_align, "u32");
	FIELD(fuse_iomap_statx, atomic_write_unit_max_opt, "u32");
	FIELD(fuse_iomap_statx, __spare2, "u32[1]");
	FIELD(fuse_iomap_statx, __spare3, "u64[8]");
	return 0;
}
