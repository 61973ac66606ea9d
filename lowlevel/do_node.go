//go:build linux

package lowlevel

import (
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	"github.com/purefuse/purefuse/wire"
)

func nosys(r Req) { r.ReplyErr(syscall.ENOSYS) }

// ino is the node that the request is about.
func (p *Request) ino() NodeID { return NodeID(p.h.NodeID) }

// file makes p.fi that of handle fh.
func (p *Request) file(fh uint64) *FileInfo {
	p.fi = FileInfo{FH: fh}
	return &p.fi
}

func doLookup(s *Session, p *Request, r Req) {
	if s.ops.Lookup == nil {
		nosys(r)
		return
	}
	name, ok := s.name(p, r)
	if !ok {
		return
	}
	s.ops.Lookup(EntryReq{r}, p.ino(), name)
}

func doForget(s *Session, p *Request, r Req) {
	n := arg[wire.ForgetIn](p).NLookup
	switch {
	case s.ops.Forget != nil:
		s.ops.Forget(NoneReq{r}, p.ino(), n)
	case s.ops.ForgetMulti != nil:
		s.ops.ForgetMulti(NoneReq{r}, []Forget{{p.ino(), n}})
	default:
		NoneReq{r}.ReplyNone()
	}
}

func doBatchForget(s *Session, p *Request, r Req) {
	list := sys.Slice[Forget](p.data)
	list = list[:min(int(arg[wire.BatchForgetIn](p).Count), len(list))]
	if s.ops.ForgetMulti != nil {
		s.ops.ForgetMulti(NoneReq{r}, list)
		return
	}
	if s.ops.Forget != nil {
		for _, f := range list {
			s.ops.Forget(NoneReq{Req{p: &s.dummy}}, f.NodeID, f.N)
		}
	}
	NoneReq{r}.ReplyNone()
}

func doGetattr(s *Session, p *Request, r Req) {
	if s.ops.Getattr == nil {
		nosys(r)
		return
	}
	var fi *FileInfo
	if s.minor() >= 9 {
		if a := arg[wire.GetattrIn](p); wire.GetattrFlags(a.GetattrFlags)&wire.GetattrFH != 0 {
			fi = p.file(a.FH)
		}
	}
	s.ops.Getattr(AttrReq{r}, p.ino(), fi)
}

// settable is what of SETATTR's valid bits reaches the file system.
const settable = wire.FattrMode | wire.FattrUID | wire.FattrGID | wire.FattrSize | wire.FattrAtime | wire.FattrMtime |
	wire.FattrAtimeNow | wire.FattrMtimeNow | wire.FattrCtime | wire.FattrKillSuidgid | 1<<12 // libfuse's FUSE_SET_ATTR_KILL_SGID

func doSetattr(s *Session, p *Request, r Req) {
	if s.ops.Setattr == nil {
		nosys(r)
		return
	}
	a := arg[wire.SetattrIn](p)
	p.attr = SetAttr{Stat: Stat{
		Size: a.Size, Mode: a.Mode, UID: a.UID, GID: a.GID,
		Atime: Time{int64(a.Atime), a.AtimeNsec}, Mtime: Time{int64(a.Mtime), a.MtimeNsec}, Ctime: Time{int64(a.Ctime), a.CtimeNsec},
	}, Valid: wire.SetattrValid(a.Valid) & settable}
	var fi *FileInfo
	if wire.SetattrValid(a.Valid)&wire.FattrFH != 0 {
		fi = p.file(a.FH)
	}
	s.ops.Setattr(AttrReq{r}, p.ino(), &p.attr, fi)
}

func doReadlink(s *Session, p *Request, r Req) {
	if s.ops.Readlink == nil {
		nosys(r)
		return
	}
	s.ops.Readlink(LinkReq{r}, p.ino())
}

func doMknod(s *Session, p *Request, r Req) {
	if s.ops.Mknod == nil {
		nosys(r)
		return
	}
	a := arg[wire.MknodIn](p)
	name, ok := s.name(p, r)
	if !ok {
		return
	}
	p.umask = a.Umask
	s.ops.Mknod(EntryReq{r}, p.ino(), name, a.Mode, a.Rdev)
}

func doMkdir(s *Session, p *Request, r Req) {
	if s.ops.Mkdir == nil {
		nosys(r)
		return
	}
	a := arg[wire.MkdirIn](p)
	name, ok := s.name(p, r)
	if !ok {
		return
	}
	if s.minor() >= 12 {
		p.umask = a.Umask
	}
	s.ops.Mkdir(EntryReq{r}, p.ino(), name, a.Mode)
}

func doUnlink(s *Session, p *Request, r Req) { s.byName(s.ops.Unlink, p, r) }

func doRmdir(s *Session, p *Request, r Req) { s.byName(s.ops.Rmdir, p, r) }

func doRemovexattr(s *Session, p *Request, r Req) { s.byName(s.ops.Removexattr, p, r) }

func (s *Session) byName(op func(ErrReq, NodeID, Name), p *Request, r Req) {
	if op == nil {
		nosys(r)
		return
	}
	name, ok := s.name(p, r)
	if !ok {
		return
	}
	op(ErrReq{r}, p.ino(), name)
}

func doSymlink(s *Session, p *Request, r Req) {
	if s.ops.Symlink == nil {
		nosys(r)
		return
	}
	name, ok1 := p.name()
	target, ok2 := p.name()
	if !ok1 || !ok2 {
		s.badName(r)
		return
	}
	s.ops.Symlink(EntryReq{r}, target, p.ino(), name)
}

func doRename(s *Session, p *Request, r Req) {
	s.rename(p, r, NodeID(arg[wire.RenameIn](p).NewDir), 0)
}

func doRename2(s *Session, p *Request, r Req) {
	a := arg[wire.Rename2In](p)
	s.rename(p, r, NodeID(a.NewDir), a.Flags)
}

func (s *Session) rename(p *Request, r Req, newdir NodeID, flags uint32) {
	if s.ops.Rename == nil {
		nosys(r)
		return
	}
	name, ok1 := p.name()
	newname, ok2 := p.name()
	if !ok1 || !ok2 {
		s.badName(r)
		return
	}
	s.ops.Rename(ErrReq{r}, p.ino(), name, newdir, newname, flags)
}

func doLink(s *Session, p *Request, r Req) {
	if s.ops.Link == nil {
		nosys(r)
		return
	}
	name, ok := s.name(p, r)
	if !ok {
		return
	}
	s.ops.Link(EntryReq{r}, NodeID(arg[wire.LinkIn](p).OldNodeID), p.ino(), name)
}

func doStatfs(s *Session, p *Request, r Req) {
	if s.ops.Statfs == nil {
		StatfsReq{r}.ReplyStatfs(&Statfs{NameMax: 255, Bsize: 512})
		return
	}
	s.ops.Statfs(StatfsReq{r}, p.ino())
}

func doAccess(s *Session, p *Request, r Req) {
	if s.ops.Access == nil {
		nosys(r)
		return
	}
	s.ops.Access(ErrReq{r}, p.ino(), arg[wire.AccessIn](p).Mask)
}

func doSetxattr(s *Session, p *Request, r Req) {
	if s.ops.Setxattr == nil {
		nosys(r)
		return
	}
	a := arg[wire.SetxattrIn](p)
	name, ok := p.name()
	if !ok || int64(len(p.data)) < int64(a.Size) {
		s.badName(r)
		return
	}
	s.ops.Setxattr(ErrReq{r}, p.ino(), name, p.data[:a.Size:a.Size], a.Flags)
}

func doGetxattr(s *Session, p *Request, r Req) {
	if s.ops.Getxattr == nil {
		nosys(r)
		return
	}
	name, ok := s.name(p, r)
	if !ok {
		return
	}
	s.ops.Getxattr(XattrReq{r}, p.ino(), name, size(arg[wire.GetxattrIn](p).Size))
}

func doListxattr(s *Session, p *Request, r Req) {
	if s.ops.Listxattr == nil {
		nosys(r)
		return
	}
	s.ops.Listxattr(XattrReq{r}, p.ino(), size(arg[wire.GetxattrIn](p).Size))
}

func doBmap(s *Session, p *Request, r Req) {
	if s.ops.Bmap == nil {
		nosys(r)
		return
	}
	a := arg[wire.BmapIn](p)
	s.ops.Bmap(BmapReq{r}, p.ino(), int(a.BlockSize), a.Block)
}

func doStatx(s *Session, p *Request, r Req) {
	if s.ops.Statx == nil {
		nosys(r)
		return
	}
	a := arg[wire.StatxIn](p)
	var fi *FileInfo
	if wire.GetattrFlags(a.GetattrFlags)&wire.GetattrFH != 0 {
		fi = p.file(a.FH)
	}
	s.ops.Statx(StatxReq{r}, p.ino(), a.SxFlags, a.SxMask, fi)
}

func doSyncfs(s *Session, p *Request, r Req) {
	if s.ops.Syncfs == nil {
		nosys(r)
		return
	}
	s.ops.Syncfs(ErrReq{r}, p.ino())
}

func doDestroy(s *Session, _ *Request, r Req) {
	s.phase.Store(phaseDestroyed)
	s.destroy()
	r.ReplyErr(0)
}
