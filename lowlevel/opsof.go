//go:build linux

package lowlevel

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// OpsOf makes a table of the methods of v that are named as the fields of Operations. Which operations there are decides what
// is offered to the kernel, so whatever looks like an operation and is not is an error: a right name with a wrong signature
// (the error prints both), a name that differs in case only, a method of *T where v is a T, and no operation at all.
// Other methods are left alone. The functions in the table are plain method values, without reflection.
func OpsOf(v any) (*Operations, error) {
	if v == nil {
		return nil, errors.New("fuse: OpsOf(nil)")
	}
	o := methodsOf(v)
	typ := reflect.TypeOf(v)
	ptr := typ
	if typ.Kind() != reflect.Pointer {
		ptr = reflect.PointerTo(typ)
	}
	found := 0
	var errs []error
	for f, field := range reflect.ValueOf(o).Elem().Fields() {
		if !field.IsNil() {
			found++
			continue
		}
		for m := range ptr.Methods() {
			_, direct := typ.MethodByName(m.Name)
			switch have := bound(m.Type); {
			case !strings.EqualFold(m.Name, f.Name):
			case m.Name != f.Name:
				errs = append(errs, fmt.Errorf("fuse: method %s of %v must be named %s to be an operation", m.Name, ptr, f.Name))
			case have != f.Type:
				errs = append(errs, fmt.Errorf("fuse: method %s of %v is %s, and must be %s", m.Name, ptr, signature(have), signature(f.Type)))
			case !direct:
				errs = append(errs, fmt.Errorf("fuse: %v has no method %s, but %v has: pass a pointer", typ, m.Name, ptr))
			}
		}
	}
	if found == 0 && errs == nil {
		return nil, fmt.Errorf("fuse: %v has no method that is an operation", typ)
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return o, nil
}

// bound is the type of a method without its receiver.
func bound(m reflect.Type) reflect.Type {
	var in, out []reflect.Type
	for i := 1; i < m.NumIn(); i++ {
		in = append(in, m.In(i))
	}
	for i := range m.NumOut() {
		out = append(out, m.Out(i))
	}
	return reflect.FuncOf(in, out, m.IsVariadic())
}

func bind[I any](v any, set func(I)) {
	if x, ok := v.(I); ok {
		set(x)
	}
}

// methodsOf binds what fits. A method value that reflection makes goes through reflection at each call; these do not.
func methodsOf(v any) *Operations {
	o := &Operations{}
	bind(v, func(x interface{ Init(*Conn) error }) { o.Init = x.Init })
	bind(v, func(x interface{ Destroy() }) { o.Destroy = x.Destroy })
	bind(v, func(x interface{ Lookup(EntryReq, NodeID, Name) }) { o.Lookup = x.Lookup })
	bind(v, func(x interface{ Forget(NoneReq, NodeID, uint64) }) { o.Forget = x.Forget })
	bind(v, func(x interface {
		Getattr(AttrReq, NodeID, *FileInfo)
	}) {
		o.Getattr = x.Getattr
	})
	bind(v, func(x interface {
		Setattr(AttrReq, NodeID, *SetAttr, *FileInfo)
	}) {
		o.Setattr = x.Setattr
	})
	bind(v, func(x interface{ Readlink(LinkReq, NodeID) }) { o.Readlink = x.Readlink })
	bind(v, func(x interface {
		Mknod(EntryReq, NodeID, Name, uint32, uint32)
	}) {
		o.Mknod = x.Mknod
	})
	bind(v, func(x interface {
		Mkdir(EntryReq, NodeID, Name, uint32)
	}) {
		o.Mkdir = x.Mkdir
	})
	bind(v, func(x interface{ Unlink(ErrReq, NodeID, Name) }) { o.Unlink = x.Unlink })
	bind(v, func(x interface{ Rmdir(ErrReq, NodeID, Name) }) { o.Rmdir = x.Rmdir })
	bind(v, func(x interface {
		Symlink(EntryReq, Name, NodeID, Name)
	}) {
		o.Symlink = x.Symlink
	})
	bind(v, func(x interface {
		Rename(ErrReq, NodeID, Name, NodeID, Name, uint32)
	}) {
		o.Rename = x.Rename
	})
	bind(v, func(x interface {
		Link(EntryReq, NodeID, NodeID, Name)
	}) {
		o.Link = x.Link
	})
	bind(v, func(x interface {
		Open(OpenReq, NodeID, *FileInfo)
	}) {
		o.Open = x.Open
	})
	bind(v, func(x interface {
		Read(DataReq, NodeID, int, int64, *FileInfo)
	}) {
		o.Read = x.Read
	})
	bind(v, func(x interface {
		Write(WriteReq, NodeID, []byte, int64, *FileInfo)
	}) {
		o.Write = x.Write
	})
	bind(v, func(x interface {
		Flush(ErrReq, NodeID, *FileInfo)
	}) {
		o.Flush = x.Flush
	})
	bind(v, func(x interface {
		Release(ErrReq, NodeID, *FileInfo)
	}) {
		o.Release = x.Release
	})
	bind(v, func(x interface {
		Fsync(ErrReq, NodeID, bool, *FileInfo)
	}) {
		o.Fsync = x.Fsync
	})
	bind(v, func(x interface {
		Opendir(OpenReq, NodeID, *FileInfo)
	}) {
		o.Opendir = x.Opendir
	})
	bind(v, func(x interface {
		Readdir(DirReq, NodeID, int, uint64, *FileInfo)
	}) {
		o.Readdir = x.Readdir
	})
	bind(v, func(x interface {
		Releasedir(ErrReq, NodeID, *FileInfo)
	}) {
		o.Releasedir = x.Releasedir
	})
	bind(v, func(x interface {
		Fsyncdir(ErrReq, NodeID, bool, *FileInfo)
	}) {
		o.Fsyncdir = x.Fsyncdir
	})
	bind(v, func(x interface{ Statfs(StatfsReq, NodeID) }) { o.Statfs = x.Statfs })
	bind(v, func(x interface {
		Setxattr(ErrReq, NodeID, Name, []byte, uint32)
	}) {
		o.Setxattr = x.Setxattr
	})
	bind(v, func(x interface {
		Getxattr(XattrReq, NodeID, Name, int)
	}) {
		o.Getxattr = x.Getxattr
	})
	bind(v, func(x interface{ Listxattr(XattrReq, NodeID, int) }) { o.Listxattr = x.Listxattr })
	bind(v, func(x interface{ Removexattr(ErrReq, NodeID, Name) }) { o.Removexattr = x.Removexattr })
	bind(v, func(x interface{ Access(ErrReq, NodeID, uint32) }) { o.Access = x.Access })
	bind(v, func(x interface {
		Create(CreateReq, NodeID, Name, uint32, *FileInfo)
	}) {
		o.Create = x.Create
	})
	bind(v, func(x interface {
		Getlk(LockReq, NodeID, *FileInfo, *Flock)
	}) {
		o.Getlk = x.Getlk
	})
	bind(v, func(x interface {
		Setlk(ErrReq, NodeID, *FileInfo, *Flock, bool)
	}) {
		o.Setlk = x.Setlk
	})
	bind(v, func(x interface {
		Bmap(BmapReq, NodeID, int, uint64)
	}) {
		o.Bmap = x.Bmap
	})
	bind(v, func(x interface {
		Ioctl(IoctlReq, NodeID, uint32, uint64, *FileInfo, uint32, []byte, int)
	}) {
		o.Ioctl = x.Ioctl
	})
	bind(v, func(x interface {
		Poll(PollReq, NodeID, *FileInfo, *PollHandle)
	}) {
		o.Poll = x.Poll
	})
	bind(v, func(x interface {
		WriteBuf(WriteReq, NodeID, *BufVec, int64, *FileInfo)
	}) {
		o.WriteBuf = x.WriteBuf
	})
	bind(v, func(x interface {
		RetrieveReply(NoneReq, any, NodeID, int64, *BufVec)
	}) {
		o.RetrieveReply = x.RetrieveReply
	})
	bind(v, func(x interface{ ForgetMulti(NoneReq, []Forget) }) { o.ForgetMulti = x.ForgetMulti })
	bind(v, func(x interface {
		Flock(ErrReq, NodeID, *FileInfo, int)
	}) {
		o.Flock = x.Flock
	})
	bind(v, func(x interface {
		Fallocate(ErrReq, NodeID, uint32, int64, int64, *FileInfo)
	}) {
		o.Fallocate = x.Fallocate
	})
	bind(v, func(x interface {
		Readdirplus(PlusReq, NodeID, int, uint64, *FileInfo)
	}) {
		o.Readdirplus = x.Readdirplus
	})
	bind(v, func(x interface {
		CopyFileRange(WriteReq, NodeID, int64, *FileInfo, NodeID, int64, *FileInfo, uint64, uint32)
	}) {
		o.CopyFileRange = x.CopyFileRange
	})
	bind(v, func(x interface {
		Lseek(SeekReq, NodeID, int64, int, *FileInfo)
	}) {
		o.Lseek = x.Lseek
	})
	bind(v, func(x interface {
		Tmpfile(CreateReq, NodeID, uint32, *FileInfo)
	}) {
		o.Tmpfile = x.Tmpfile
	})
	bind(v, func(x interface {
		Statx(StatxReq, NodeID, uint32, uint32, *FileInfo)
	}) {
		o.Statx = x.Statx
	})
	bind(v, func(x interface{ Syncfs(ErrReq, NodeID) }) { o.Syncfs = x.Syncfs })
	return o
}

// Wrap returns a copy of the table in which every operation that is set, but for Init and Destroy, goes through w: for logs,
// measurements and access checks of all operations at once. w calls next to go on, once, or answers with r itself; what it
// does after next comes after the operation returned, which need not be after the reply. A wrapped call costs reflection and
// a few allocations.
func (o *Operations) Wrap(w func(r Req, next func())) *Operations {
	c := *o
	for f, field := range reflect.ValueOf(&c).Elem().Fields() {
		if f.Name == "Init" || f.Name == "Destroy" || field.IsNil() {
			continue
		}
		op := reflect.ValueOf(field.Interface())
		field.Set(reflect.MakeFunc(f.Type, func(args []reflect.Value) []reflect.Value {
			r := args[0].Field(0).Interface().(Req)
			w(r, func() { op.Call(args) })
			return nil
		}))
	}
	return &c
}

// signature is a function's type with the names that this package has for what it takes from others.
func signature(t reflect.Type) string {
	return strings.ReplaceAll(t.String(), "notify.NodeID", "lowlevel.NodeID")
}
