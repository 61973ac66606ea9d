//go:build linux

package lowlevel

import (
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// allOps has every operation. What each was called with is in last.
type allOps struct{ last string }

func (f *allOps) Init(*Conn) error                                          { f.last = "Init"; return nil }
func (f *allOps) Destroy()                                                  { f.last = "Destroy" }
func (f *allOps) Lookup(EntryReq, NodeID, Name)                             { f.last = "Lookup" }
func (f *allOps) Forget(NoneReq, NodeID, uint64)                            { f.last = "Forget" }
func (f *allOps) Getattr(AttrReq, NodeID, *FileInfo)                        { f.last = "Getattr" }
func (f *allOps) Setattr(AttrReq, NodeID, *SetAttr, *FileInfo)              { f.last = "Setattr" }
func (f *allOps) Readlink(LinkReq, NodeID)                                  { f.last = "Readlink" }
func (f *allOps) Mknod(EntryReq, NodeID, Name, uint32, uint32)              { f.last = "Mknod" }
func (f *allOps) Mkdir(EntryReq, NodeID, Name, uint32)                      { f.last = "Mkdir" }
func (f *allOps) Unlink(ErrReq, NodeID, Name)                               { f.last = "Unlink" }
func (f *allOps) Rmdir(ErrReq, NodeID, Name)                                { f.last = "Rmdir" }
func (f *allOps) Symlink(EntryReq, Name, NodeID, Name)                      { f.last = "Symlink" }
func (f *allOps) Rename(ErrReq, NodeID, Name, NodeID, Name, uint32)         { f.last = "Rename" }
func (f *allOps) Link(EntryReq, NodeID, NodeID, Name)                       { f.last = "Link" }
func (f *allOps) Open(OpenReq, NodeID, *FileInfo)                           { f.last = "Open" }
func (f *allOps) Read(DataReq, NodeID, int, int64, *FileInfo)               { f.last = "Read" }
func (f *allOps) Write(WriteReq, NodeID, []byte, int64, *FileInfo)          { f.last = "Write" }
func (f *allOps) Flush(ErrReq, NodeID, *FileInfo)                           { f.last = "Flush" }
func (f *allOps) Release(ErrReq, NodeID, *FileInfo)                         { f.last = "Release" }
func (f *allOps) Fsync(ErrReq, NodeID, bool, *FileInfo)                     { f.last = "Fsync" }
func (f *allOps) Opendir(OpenReq, NodeID, *FileInfo)                        { f.last = "Opendir" }
func (f *allOps) Readdir(DirReq, NodeID, int, uint64, *FileInfo)            { f.last = "Readdir" }
func (f *allOps) Releasedir(ErrReq, NodeID, *FileInfo)                      { f.last = "Releasedir" }
func (f *allOps) Fsyncdir(ErrReq, NodeID, bool, *FileInfo)                  { f.last = "Fsyncdir" }
func (f *allOps) Statfs(StatfsReq, NodeID)                                  { f.last = "Statfs" }
func (f *allOps) Setxattr(ErrReq, NodeID, Name, []byte, uint32)             { f.last = "Setxattr" }
func (f *allOps) Getxattr(XattrReq, NodeID, Name, int)                      { f.last = "Getxattr" }
func (f *allOps) Listxattr(XattrReq, NodeID, int)                           { f.last = "Listxattr" }
func (f *allOps) Removexattr(ErrReq, NodeID, Name)                          { f.last = "Removexattr" }
func (f *allOps) Access(ErrReq, NodeID, uint32)                             { f.last = "Access" }
func (f *allOps) Create(CreateReq, NodeID, Name, uint32, *FileInfo)         { f.last = "Create" }
func (f *allOps) Getlk(LockReq, NodeID, *FileInfo, *Flock)                  { f.last = "Getlk" }
func (f *allOps) Setlk(ErrReq, NodeID, *FileInfo, *Flock, bool)             { f.last = "Setlk" }
func (f *allOps) Bmap(BmapReq, NodeID, int, uint64)                         { f.last = "Bmap" }
func (f *allOps) Poll(PollReq, NodeID, *FileInfo, *PollHandle)              { f.last = "Poll" }
func (f *allOps) WriteBuf(WriteReq, NodeID, *BufVec, int64, *FileInfo)      { f.last = "WriteBuf" }
func (f *allOps) RetrieveReply(NoneReq, any, NodeID, int64, *BufVec)        { f.last = "RetrieveReply" }
func (f *allOps) ForgetMulti(NoneReq, []Forget)                             { f.last = "ForgetMulti" }
func (f *allOps) Flock(ErrReq, NodeID, *FileInfo, int)                      { f.last = "Flock" }
func (f *allOps) Fallocate(ErrReq, NodeID, uint32, int64, int64, *FileInfo) { f.last = "Fallocate" }
func (f *allOps) Readdirplus(PlusReq, NodeID, int, uint64, *FileInfo)       { f.last = "Readdirplus" }
func (f *allOps) Lseek(SeekReq, NodeID, int64, int, *FileInfo)              { f.last = "Lseek" }
func (f *allOps) Tmpfile(CreateReq, NodeID, uint32, *FileInfo)              { f.last = "Tmpfile" }
func (f *allOps) Statx(StatxReq, NodeID, uint32, uint32, *FileInfo)         { f.last = "Statx" }
func (f *allOps) Syncfs(ErrReq, NodeID)                                     { f.last = "Syncfs" }
func (f *allOps) Ioctl(_ IoctlReq, _ NodeID, _ uint32, _ uint64, _ *FileInfo, _ uint32, _ []byte, _ int) {
	f.last = "Ioctl"
}
func (f *allOps) CopyFileRange(WriteReq, NodeID, int64, *FileInfo, NodeID, int64, *FileInfo, uint64, uint32) {
	f.last = "CopyFileRange"
}
func (f *allOps) Other() {}

func zeros(f reflect.Type) (args []reflect.Value) {
	for in := range f.Ins() {
		args = append(args, reflect.Zero(in))
	}
	return args
}

// Every field of Operations is filled by the method of its name, and calls that one.
func TestOpsOfAll(t *testing.T) {
	fs := &allOps{}
	o, err := OpsOf(fs)
	require.NoError(t, err)
	for f, field := range reflect.ValueOf(o).Elem().Fields() {
		require.False(t, field.IsNil(), "%s is forgotten in methodsOf", f.Name)
		field.Call(zeros(f.Type))
		require.Equal(t, f.Name, fs.last)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { o.Getattr(AttrReq{}, 1, nil) }))
}

type wrongSignature struct{}

func (wrongSignature) Lookup(r EntryReq, parent NodeID, name string) {}
func (wrongSignature) Init(*Conn)                                    {}
func (wrongSignature) Getattr(AttrReq, NodeID, *FileInfo)            {}

type nearMiss struct{}

func (nearMiss) ReadDir(DirReq, NodeID, int, uint64, *FileInfo) {}
func (nearMiss) GetAttr()                                       {}
func (nearMiss) Open(OpenReq, NodeID, *FileInfo)                {}

type bothSpellings struct{ nearMiss }

func (bothSpellings) Readdir(DirReq, NodeID, int, uint64, *FileInfo) {}
func (bothSpellings) Getattr(AttrReq, NodeID, *FileInfo)             {}

type byPointer struct{}

func (*byPointer) Lookup(EntryReq, NodeID, Name) {}
func (byPointer) Destroy()                       {}

type lowercase struct{}

func (lowercase) getattr() {}

func TestOpsOfErrors(t *testing.T) {
	for name, c := range map[string]struct {
		v    any
		want []string
	}{
		"nil":   {nil, []string{"fuse: OpsOf(nil)"}},
		"none":  {3, []string{"fuse: int has no method that is an operation"}},
		"table": {&Operations{}, []string{"fuse: *lowlevel.Operations has no method that is an operation"}},
		"wrong signature": {wrongSignature{}, []string{
			"fuse: method Init of *lowlevel.wrongSignature is func(*lowlevel.Conn), and must be func(*lowlevel.Conn) error",
			"fuse: method Lookup of *lowlevel.wrongSignature is func(lowlevel.EntryReq, lowlevel.NodeID, string), and must be func(lowlevel.EntryReq, lowlevel.NodeID, lowlevel.Name)",
		}},
		"near miss": {&nearMiss{}, []string{
			"fuse: method GetAttr of *lowlevel.nearMiss must be named Getattr to be an operation",
			"fuse: method ReadDir of *lowlevel.nearMiss must be named Readdir to be an operation",
		}},
		"value":      {byPointer{}, []string{"fuse: lowlevel.byPointer has no method Lookup, but *lowlevel.byPointer has: pass a pointer"}},
		"unexported": {lowercase{}, []string{"fuse: lowlevel.lowercase has no method that is an operation"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := OpsOf(c.v)
			require.Nil(t, o)
			require.EqualError(t, err, strings.Join(c.want, "\n"))
		})
	}
	lowercase{}.getattr()
	o, err := OpsOf(bothSpellings{})
	require.NoError(t, err)
	require.NotNil(t, o.Readdir)
	require.NotNil(t, o.Getattr)
	require.Nil(t, o.Lookup)
}

// Every operation but Init and Destroy passes through the wrapper, which sees its request, and may keep it from the operation.
func TestWrap(t *testing.T) {
	fs := &allOps{}
	o, err := OpsOf(fs)
	require.NoError(t, err)
	req := Req{&Request{}, 7}
	var seen []Req
	pass := true
	w := o.Wrap(func(r Req, next func()) {
		seen = append(seen, r)
		if pass {
			next()
		}
	})
	for f, field := range reflect.ValueOf(w).Elem().Fields() {
		args := zeros(f.Type)
		wrapped := f.Name != "Init" && f.Name != "Destroy"
		if wrapped {
			args[0] = reflect.New(f.Type.In(0)).Elem()
			args[0].Field(0).Set(reflect.ValueOf(req))
		}
		fs.last, seen, pass = "", nil, true
		field.Call(args)
		require.Equal(t, f.Name, fs.last)
		if !wrapped {
			require.Empty(t, seen)
			continue
		}
		require.Equal(t, []Req{req}, seen)
		fs.last, pass = "", false
		field.Call(args)
		require.Empty(t, fs.last)
	}

	empty := (&Operations{Destroy: fs.Destroy}).Wrap(func(Req, func()) {})
	for f, field := range reflect.ValueOf(empty).Elem().Fields() {
		require.Equal(t, f.Name != "Destroy", field.IsNil(), f.Name)
	}
}

// Arguments reach a wrapped operation unchanged.
func TestWrapArguments(t *testing.T) {
	var got []any
	o := &Operations{Write: func(r WriteReq, ino NodeID, data []byte, off int64, fi *FileInfo) {
		got = []any{r, ino, data, off, fi}
	}}
	r, fi := WriteReq{Req{&Request{}, 3}}, &FileInfo{FH: 4}
	o.Wrap(func(_ Req, next func()) { next() }).Write(r, 5, []byte("x"), 6, fi)
	require.Equal(t, []any{r, NodeID(5), []byte("x"), int64(6), fi}, got)
}

type helloFS struct{}

func (helloFS) Lookup(r EntryReq, parent NodeID, name Name)     { r.ReplyErr(syscall.ENOENT) }
func (helloFS) Getattr(r AttrReq, ino NodeID, fi *FileInfo)     { r.ReplyErr(syscall.EIO) }
func (helloFS) Readdir(r DirReq, ino NodeID, size int, off int) {}

func ExampleOpsOf() {
	// helloFS has Lookup and Getattr as Operations wants them, but its Readdir takes the offset as an int.
	_, err := OpsOf(helloFS{})
	fmt.Println(err)
	// Output:
	// fuse: method Readdir of *lowlevel.helloFS is func(lowlevel.DirReq, lowlevel.NodeID, int, int), and must be func(lowlevel.DirReq, lowlevel.NodeID, int, uint64, *lowlevel.FileInfo)
}

func ExampleOperations_Wrap() {
	ops := &Operations{Unlink: func(r ErrReq, parent NodeID, name Name) { fmt.Println("unlink") }}
	logged := ops.Wrap(func(r Req, next func()) {
		fmt.Println("before")
		next()
		fmt.Println("after")
	})
	logged.Unlink(ErrReq{}, RootID, Name{})
	// Output:
	// before
	// unlink
	// after
}
