//go:build linux

package wire

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// texts has the String method of every type with named constants.
var texts = map[string]func(uint64) string{
	"Opcode":            text[Opcode],
	"NotifyCode":        text[NotifyCode],
	"UringCmd":          text[UringCmd],
	"InitFlags":         text[InitFlags],
	"FopenFlags":        text[FopenFlags],
	"SetattrValid":      text[SetattrValid],
	"GetattrFlags":      text[GetattrFlags],
	"ReadFlags":         text[ReadFlags],
	"WriteFlags":        text[WriteFlags],
	"ReleaseFlags":      text[ReleaseFlags],
	"FsyncFlags":        text[FsyncFlags],
	"LKFlags":           text[LKFlags],
	"OpenInFlags":       text[OpenInFlags],
	"SetxattrFlags":     text[SetxattrFlags],
	"AttrFlags":         text[AttrFlags],
	"InvalEntryFlags":   text[InvalEntryFlags],
	"PollFlags":         text[PollFlags],
	"IoctlFlags":        text[IoctlFlags],
	"SetupmappingFlags": text[SetupmappingFlags],
	"CuseInitFlags":     text[CuseInitFlags],
	"RenameFlags":       text[RenameFlags],
	"UringQueueFlags":   text[UringQueueFlags],
	"UringEntFlags":     text[UringEntFlags],
	"IomapProfile":      text[IomapProfile],
	"IomapType":         text[IomapType],
	"IomapFlags":        text[IomapFlags],
	"IomapOpFlags":      text[IomapOpFlags],
	"IomapIoendFlags":   text[IomapIoendFlags],
	"IomapConfigFlags":  text[IomapConfigFlags],
	"IomapSupportFlags": text[IomapSupportFlags],
}

func text[T interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int32
	fmt.Stringer
}](v uint64) string {
	return T(v).String()
}

type namedConst struct {
	name, typ string // typ is "" for an untyped constant
	value     uint64
}

// packageConstants returns the constants that the package's own source declares, exported ones only.
func packageConstants(t *testing.T) []namedConst {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, n := range names {
		if !strings.HasSuffix(n, "_test.go") {
			f, err := parser.ParseFile(fset, n, nil, 0)
			require.NoError(t, err)
			files = append(files, f)
		}
	}
	// Constants need no imports, so what cannot be resolved without them does not matter.
	cfg := types.Config{Error: func(error) {}}
	pkg, _ := cfg.Check("wire", fset, files, nil)
	var all []namedConst
	for _, n := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(n).(*types.Const)
		if !ok || !c.Exported() || c.Val().Kind() != constant.Int {
			continue
		}
		k := namedConst{name: n}
		if named, ok := c.Type().(*types.Named); ok {
			k.typ = named.Obj().Name()
		}
		k.value, _ = constant.Uint64Val(c.Val())
		all = append(all, k)
	}
	return all
}

// TestConstantTexts checks that every constant of a type has a text, and that no two values of a type share one.
func TestConstantTexts(t *testing.T) {
	seen := map[string]uint64{}
	used := map[string]bool{}
	for _, c := range packageConstants(t) {
		if c.typ == "" {
			continue
		}
		str, ok := texts[c.typ]
		require.True(t, ok, "no text for the type of %s", c.name)
		used[c.typ] = true
		s := str(c.value)
		require.NotEmpty(t, s, c.name)
		if !strings.Contains(c.name, "V7") { // those have a text only after translation, see TestIomapProfiles
			require.NotContains(t, s, "0x", c.name)
			require.NotContains(t, s, "(", c.name)
		}
		key := c.typ + " " + s
		v, ok := seen[key]
		require.True(t, !ok || v == c.value, "%s: %s is also the text of %#x", c.name, s, v)
		seen[key] = c.value
	}
	require.Len(t, used, len(texts))
}

// groups says how constants.tsv's names are made: the Go type's text is the C name without the prefix.
var groups = map[string]struct{ typ, prefix string }{
	"opcode":       {"Opcode", "FUSE_"},
	"notify":       {"NotifyCode", "FUSE_NOTIFY_"},
	"uring_cmd":    {"UringCmd", "FUSE_IO_URING_CMD_"},
	"init":         {"InitFlags", "FUSE_"},
	"fopen":        {"FopenFlags", "FOPEN_"},
	"fattr":        {"SetattrValid", "FATTR_"},
	"getattr":      {"GetattrFlags", "FUSE_GETATTR_"},
	"read":         {"ReadFlags", "FUSE_READ_"},
	"write":        {"WriteFlags", "FUSE_WRITE_"},
	"release":      {"ReleaseFlags", "FUSE_RELEASE_"},
	"fsync":        {"FsyncFlags", "FUSE_FSYNC_"},
	"lk":           {"LKFlags", "FUSE_LK_"},
	"open":         {"OpenInFlags", "FUSE_OPEN_"},
	"setxattr":     {"SetxattrFlags", "FUSE_SETXATTR_"},
	"attr":         {"AttrFlags", "FUSE_ATTR_"},
	"inval_entry":  {"InvalEntryFlags", "FUSE_"},
	"poll":         {"PollFlags", "FUSE_POLL_"},
	"ioctl":        {"IoctlFlags", "FUSE_IOCTL_"},
	"setupmapping": {"SetupmappingFlags", "FUSE_SETUPMAPPING_FLAG_"},
	"cuse_init":    {"CuseInitFlags", "CUSE_"},
	"uring_queue":  {"UringQueueFlags", "FUSE_URING_"},
	"uring_ent":    {"UringEntFlags", "FUSE_URING_ENT_"},
}

// numbers are the constants of constants.tsv that have no type of their own.
var numbers = map[string]uint64{
	"FUSE_KERNEL_VERSION":          KernelMajor,
	"FUSE_KERNEL_MINOR_VERSION":    KernelMinor,
	"FUSE_ROOT_ID":                 RootID,
	"FUSE_IOCTL_MAX_IOV":           MaxIoctlIov,
	"FUSE_MIN_READ_BUFFER":         MinReadBuffer,
	"FUSE_COMPAT_ENTRY_OUT_SIZE":   CompatEntryOutSize,
	"FUSE_COMPAT_ATTR_OUT_SIZE":    CompatAttrOutSize,
	"FUSE_COMPAT_MKNOD_IN_SIZE":    CompatMknodInSize,
	"FUSE_COMPAT_WRITE_IN_SIZE":    CompatWriteInSize,
	"FUSE_COMPAT_STATFS_SIZE":      CompatStatfsSize,
	"FUSE_COMPAT_SETXATTR_IN_SIZE": CompatSetxattrInSize,
	"FUSE_COMPAT_INIT_OUT_SIZE":    CompatInitOutSize,
	"FUSE_COMPAT_22_INIT_OUT_SIZE": Compat22InitOutSize,
	"CUSE_INIT_INFO_MAX":           CuseInitInfoMax,
	"FUSE_UNIQUE_RESEND":           UniqueResend,
	"FUSE_INVALID_UIDGID":          InvalidUIDGID,
	"FUSE_NAME_OFFSET":             NameOffset,
	"FUSE_NAME_OFFSET_DIRENTPLUS":  NameOffsetDirentplus,
	"FUSE_DEV_IOC_CLONE":           DevIocClone,
	"FUSE_DEV_IOC_BACKING_OPEN":    DevIocBackingOpen,
	"FUSE_DEV_IOC_BACKING_CLOSE":   DevIocBackingClose,
	"FUSE_DEV_IOC_SYNC_INIT":       DevIocSyncInit,
	"FUSE_URING_IN_OUT_HEADER_SZ":  UringInOutHeaderSize,
	"FUSE_URING_OP_IN_OUT_SZ":      UringOpInOutSize,
	"FUSE_MAX_NR_SECCTX":           MaxNrSecctx,
	"FUSE_EXT_GROUPS":              ExtGroups,
}

// TestConstantsMatchTable checks numbers and texts at once: the text of the compiler's value must be the C name.
func TestConstantsMatchTable(t *testing.T) {
	table, err := os.ReadFile(filepath.Join("..", "testdata", "abi", "constants.tsv"))
	require.NoError(t, err)
	declared := map[string]bool{}
	for _, c := range packageConstants(t) {
		declared[fmt.Sprint(c.typ, c.value)] = true
	}
	seenNumbers := 0
	lines := strings.Split(strings.TrimSuffix(string(table), "\n"), "\n")
	for _, line := range lines[1:] {
		col := strings.Split(line, "\t")
		require.Len(t, col, 3, line)
		v, err := strconv.ParseUint(col[2], 0, 64)
		require.NoError(t, err, line)
		if col[0] == "number" {
			require.Contains(t, numbers, col[1])
			require.Equal(t, v, numbers[col[1]], line)
			seenNumbers++
			continue
		}
		g, ok := groups[col[0]]
		require.True(t, ok, line)
		require.Equal(t, strings.TrimPrefix(col[1], g.prefix), texts[g.typ](v), line)
		require.True(t, declared[fmt.Sprint(g.typ, v)], "no Go constant for %s", line)
	}
	require.Equal(t, len(numbers), seenNumbers)
}

func TestTexts(t *testing.T) {
	for want, have := range map[string]fmt.Stringer{
		"OPCODE(7)":                   Opcode(7),
		"OPCODE(4294967295)":          Opcode(1<<32 - 1),
		"NOTIFY(-1)":                  NotifyCode(-1),
		"0":                           FopenFlags(0),
		"DIRECT_IO|STREAM|0x80000200": FopenDirectIO | FopenStream | 1<<9 | 1<<31,
		"0x400000":                    FopenFlags(1 << 22),
		"EXCLUSIVE|IOMAP":             AttrIomap,
		"LOCKOWNER|0x1":               ReadLockOwner | 1,
	} {
		require.Equal(t, want, have.String())
	}
	require.Equal(t, "???", Opcode(77).DebugName())
	require.Equal(t, "GETATTR", OpGetattr.DebugName())
	require.Equal(t, "HAS_IO_URING_BUFPOOL", InitIomap.String())
	require.Equal(t, "ASYNC_READ|IOMAP", (InitAsyncRead | InitIomap).Text(IomapMinor))
	require.Equal(t, "ASYNC_READ|HAS_IO_URING_BUFPOOL", (InitAsyncRead | InitIomap).Text(KernelMinor))
	require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = OpStatx.String(), FopenStream.String() }))
}

func TestInitFlagsHalves(t *testing.T) {
	lo, hi := (InitAsyncRead | InitPassthrough).Split()
	require.Equal(t, InitAsyncRead|InitExt, InitFlags(lo))
	require.EqualValues(t, 1<<5, hi)
	require.Equal(t, InitAsyncRead|InitExt|InitPassthrough, JoinInitFlags(lo, hi))
	require.Equal(t, InitAsyncRead, JoinInitFlags(1, hi), "without InitExt the upper half is noise")
	lo, hi = InitAsyncRead.Split()
	require.EqualValues(t, 1, lo)
	require.Zero(t, hi)
}

func TestIomapProfiles(t *testing.T) {
	for newest, v7 := range map[IomapType]IomapType{
		IomapTypePureOverwrite: 255, IomapTypeRetryCache: 254, IomapTypeNocache: 253, IomapTypeMapped: 2, IomapTypeHole: 0,
	} {
		require.Equal(t, v7, newest.ToWire(IomapV7))
		require.Equal(t, newest, v7.FromWire(IomapV7))
		require.Equal(t, newest, newest.ToWire(IomapNewest))
		require.Equal(t, newest, newest.FromWire(IomapNewest))
	}
	for newest, v7 := range map[IomapOpFlags]IomapOpFlags{
		IomapOpWriteback:                 1 << 31,
		IomapOpSwapfile | IomapOpReport:  1<<30 | 1<<2,
		IomapOpWriteback | IomapOpDirect: 1<<31 | 1<<4,
	} {
		require.Equal(t, v7, newest.ToWire(IomapV7))
		require.Equal(t, newest, v7.FromWire(IomapV7))
		require.Equal(t, newest, newest.ToWire(IomapNewest))
		require.Equal(t, newest, newest.FromWire(IomapNewest))
	}
	require.Equal(t, "REPORT|SWAPFILE", IomapOpFlags(1<<30|1<<2).FromWire(IomapV7).String())
	require.Equal(t, "RETRY_CACHE", IomapType(254).FromWire(IomapV7).String())
}

func TestDeviceNumbers(t *testing.T) {
	for _, tc := range []struct{ major, minor, dev uint32 }{
		{0, 0, 0}, {1, 3, 0x103}, {8, 1, 0x801}, {259, 255, 0x103ff}, {259, 256, 0x1103_00}, {0xfff, 0xfffff, 0xffffffff},
	} {
		require.Equal(t, tc.dev, EncodeDev(tc.major, tc.minor))
		major, minor := DecodeDev(tc.dev)
		require.Equal(t, []uint32{tc.major, tc.minor}, []uint32{major, minor})
	}
}
