//go:build linux

package wire

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the files that are generated from the tables in testdata/abi")

// The tables, and the Go files whose structs they describe.
var abiTables = []struct{ table, goFile string }{
	{"structs.tsv", "structs.go"},
	{"iomap.tsv", "iomap_structs.go"},
}

type cField struct {
	name, typ    string
	offset, size uintptr
	flex         bool // C's open-ended array: the Go struct ends where it starts
}

type cStruct struct {
	name   string
	size   uintptr
	fields []cField
}

func (s cStruct) goName() string {
	return camel(strings.TrimPrefix(s.name, "fuse_"))
}

// overlaid says that the field shares its bytes with a field before it: the second arm of a union.
func (f cField) overlaid() bool { return strings.Contains(f.typ, "union") }

// goName maps a C name to its Go name. Nested parts of a struct without a type of their own lie flat in Go.
func (f cField) goName() string {
	return camel(f.name[strings.LastIndexByte(f.name, '.')+1:])
}

// words are the parts of C names that are not written with only the first letter in capitals.
var words = map[string]string{
	"uid": "UID", "gid": "GID", "pid": "PID", "qid": "QID", "fh": "FH", "kh": "KH", "fd": "FD", "lk": "LK", "id": "ID",
	"io": "IO", "uuid": "UUID", "uaddr": "UAddr", "nodeid": "NodeID", "oldnodeid": "OldNodeID", "newdir": "NewDir",
	"namelen": "NameLen", "extlen": "ExtLen", "nlookup": "NLookup", "blocksize": "BlockSize", "foffset": "FOffset",
	"moffset": "MOffset", "atimensec": "AtimeNsec", "mtimensec": "MtimeNsec", "ctimensec": "CtimeNsec", "opflags": "OpFlags",
	"newsize": "NewSize", "maxbytes": "MaxBytes",
}

func camel(c string) string {
	var b strings.Builder
	for w := range strings.FieldsFuncSeq(c, func(r rune) bool { return r == '_' }) {
		if s, ok := words[w]; ok {
			b.WriteString(s)
		} else {
			b.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return b.String()
}

func readTable(t *testing.T, name string) []cStruct {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "abi", name))
	require.NoError(t, err)
	var all []cStruct
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, line := range lines[1:] {
		col := strings.Split(line, "\t")
		require.Len(t, col, 6, line)
		num := func(s string) uintptr {
			n, err := strconv.ParseUint(s, 10, 32)
			require.NoError(t, err, line)
			return uintptr(n)
		}
		f := cField{name: col[2], typ: col[3], offset: num(col[4]), flex: col[5] == "flex"}
		if !f.flex {
			f.size = num(col[5])
		}
		if n := len(all); n == 0 || all[n-1].name != col[0] {
			all = append(all, cStruct{name: col[0], size: num(col[1])})
		}
		s := &all[len(all)-1]
		require.Equal(t, s.size, num(col[1]), line)
		s.fields = append(s.fields, f)
	}
	require.NotEmpty(t, all)
	return all
}

// goStructs returns the names of the struct types that a file of this package declares.
func goStructs(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	var names []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.TypeSpec); ok {
			if _, ok := s.Type.(*ast.StructType); ok {
				names = append(names, s.Name.Name)
			}
		}
		return true
	})
	return names
}

func TestStructsMatchTables(t *testing.T) {
	for _, tab := range abiTables {
		var inTable []string
		for _, c := range readTable(t, tab.table) {
			inTable = append(inTable, c.goName())
			v, ok := abiTypes[c.name]
			require.True(t, ok, "struct %s has no Go type", c.name)
			typ := reflect.TypeOf(v)
			require.Equal(t, c.goName(), typ.Name())
			require.Equal(t, c.size, typ.Size(), c.name)
			checkFields(t, c, typ)
		}
		require.ElementsMatch(t, goStructs(t, tab.goFile), inTable, "structs of %s and %s", tab.goFile, tab.table)
	}
}

func checkFields(t *testing.T, c cStruct, typ reflect.Type) {
	t.Helper()
	covered := map[string]bool{}
	for _, f := range c.fields {
		where := c.name + "." + f.name
		switch {
		case f.flex:
			require.Equal(t, typ.Size(), f.offset, where)
			continue
		case f.overlaid():
			m, ok := reflect.PointerTo(typ).MethodByName(f.goName())
			require.True(t, ok, "%s has no method", where)
			require.Equal(t, f.size, m.Type.Out(0).Size(), where)
			require.True(t, slices.ContainsFunc(c.fields, func(o cField) bool { return !o.overlaid() && o.offset == f.offset }), where)
			continue
		}
		g, ok := typ.FieldByName(f.goName())
		require.True(t, ok, "%s has no Go field", where)
		require.Equal(t, f.offset, g.Offset, where)
		require.Equal(t, f.size, g.Type.Size(), where)
		require.Equal(t, goType(f.typ), g.Type.String(), where)
		covered[g.Name] = true
	}
	require.Len(t, covered, typ.NumField(), "%s has Go fields that C lacks", c.name)
}

// goType returns what reflect calls the Go type of a C type of the tables.
func goType(c string) string {
	elem, dim, array := strings.Cut(c, "[")
	g, ok := map[string]string{
		"u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "i32": "int32", "i64": "int64", "char": "uint8",
	}[elem]
	if !ok {
		g = "wire." + camel(strings.TrimPrefix(elem, "fuse_"))
	}
	if !array {
		return g
	}
	dim = strings.TrimSuffix(dim, "]")
	switch dim {
	case "FUSE_URING_IN_OUT_HEADER_SZ":
		dim = strconv.Itoa(UringInOutHeaderSize)
	case "FUSE_URING_OP_IN_OUT_SZ":
		dim = strconv.Itoa(UringOpInOutSize)
	}
	return "[" + dim + "]" + g
}

// TestGeneratedFiles holds the generated files against the tables; run it with -update after a table changed.
func TestGeneratedFiles(t *testing.T) {
	var layout, types bytes.Buffer
	layout.WriteString(`// Code generated from testdata/abi by "go test ./wire -run TestGeneratedFiles -update". DO NOT EDIT.

//go:build linux

package wire

import "unsafe"

// The layout of every struct as the C compiler printed it. A struct that differs on the architecture being compiled for makes
// an array of another length, and the assignment does not compile.
var (
`)
	types.WriteString(`// Code generated from testdata/abi by "go test ./wire -run TestGeneratedFiles -update". DO NOT EDIT.

//go:build linux

package wire

// abiTypes has the Go type of every C struct of the tables.
var abiTypes = map[string]any{
`)
	for _, tab := range abiTables {
		for _, c := range readTable(t, tab.table) {
			g := c.goName()
			fmt.Fprintf(&types, "%q: %s{},\n", c.name, g)
			fmt.Fprintf(&layout, "_ [%d]struct{} = [unsafe.Sizeof(%s{})]struct{}{}\n", c.size, g)
			for _, f := range c.fields {
				if !f.flex && !f.overlaid() {
					fmt.Fprintf(&layout, "_ [%d]struct{} = [unsafe.Offsetof(%s{}.%s)]struct{}{}\n", f.offset, g, f.goName())
				}
			}
		}
	}
	layout.WriteString(")\n")
	types.WriteString("}\n")
	for name, text := range map[string][]byte{"layout.go": layout.Bytes(), "abi_types_test.go": types.Bytes()} {
		want, err := format.Source(text)
		require.NoError(t, err)
		if *update {
			require.NoError(t, os.WriteFile(name, want, 0o644))
			continue
		}
		have, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(want), string(have), name)
	}
}

// TestArchitectures compiles the package for every architecture, which checks the layouts there.
func TestArchitectures(t *testing.T) {
	for _, arch := range []string{"amd64", "386", "arm", "arm64", "riscv64"} {
		t.Run(arch, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, ".")
			cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

// TestDeviceIoctls computes the ioctl numbers from what they are made of.
func TestDeviceIoctls(t *testing.T) {
	const write, read = 1, 2
	ioc := func(dir, nr uint32, arg any) uint32 {
		n := uint32(0)
		if arg != nil {
			n = uint32(reflect.TypeOf(arg).Size())
		}
		return dir<<30 | n<<16 | 229<<8 | nr
	}
	for have, want := range map[uint32]uint32{
		DevIocClone:             ioc(read, 0, uint32(0)),
		DevIocBackingOpen:       ioc(write, 1, BackingMap{}),
		DevIocBackingClose:      ioc(write, 2, uint32(0)),
		DevIocSyncInit:          ioc(0, 3, nil),
		DevIocIomapSupport:      ioc(read, 99, IomapSupport{}),
		DevIocSetNofs:           ioc(write, 100, uint32(0)),
		DevIocAddIomap:          ioc(0, 101, nil),
		DevIocIomapSetBlocksize: ioc(write, 102, IomapBackingInfo{}),
		DevIocIomapStripeConfig: ioc(write, 103, IomapBackingStripe{}),
	} {
		require.Equal(t, want, have, "%#x", have)
	}
}

// TestCompatSizes checks that every older size ends between two fields of the struct it is a prefix of.
func TestCompatSizes(t *testing.T) {
	for name, tc := range map[string]struct {
		v     any
		size  uintptr
		after string
	}{
		"entry":    {EntryOut{}, CompatEntryOutSize, "Attr"},
		"attr":     {AttrOut{}, CompatAttrOutSize, "Attr"},
		"mknod":    {MknodIn{}, CompatMknodInSize, "Umask"},
		"write":    {WriteIn{}, CompatWriteInSize, "LockOwner"},
		"init":     {InitOut{}, CompatInitOutSize, "MaxReadahead"},
		"init 22":  {InitOut{}, Compat22InitOutSize, "TimeGran"},
		"setxattr": {SetxattrIn{}, CompatSetxattrInSize, "SetxattrFlags"},
		"statfs":   {Kstatfs{}, CompatStatfsSize, "Frsize"},
		"config":   {IomapConfigOut{}, IomapConfigOutSize, "Pad"},
	} {
		f, ok := reflect.TypeOf(tc.v).FieldByName(tc.after)
		require.True(t, ok, name)
		off := f.Offset
		if tc.after == "Attr" {
			b, ok := f.Type.FieldByName("Blksize")
			require.True(t, ok)
			off += b.Offset // the two words that came with 7.9: block size and flags
		}
		require.Equal(t, off, tc.size, name)
	}
	require.EqualValues(t, reflect.TypeFor[IomapIoendInV6]().Size(), IomapIoendInV6Size)
	require.EqualValues(t, reflect.TypeFor[Dirent]().Size(), NameOffset)
	require.EqualValues(t, reflect.TypeFor[Direntplus]().Size(), NameOffsetDirentplus)
}

func TestUringCmdReqUnion(t *testing.T) {
	r := UringCmdReq{UAddr: 1 << 40, Len: 1, Reserved: 1, QID: 3}
	r.SetEntZeroCopyBufIndex(0x1234)
	require.EqualValues(t, 0x1234, r.EntZeroCopyBufIndex())
	require.Equal(t, UringCmdReq{UAddr: r.UAddr, QID: 3}, r)
}
