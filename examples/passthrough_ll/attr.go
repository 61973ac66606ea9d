//go:build linux

package main

import (
	"syscall"

	"github.com/purefuse/purefuse/internal/sys"
	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/wire"
)

func (p *passthrough) getattr(r ll.AttrReq, ino ll.NodeID, fi *ll.FileInfo) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	p.replyAttr(r, node)
}

func (p *passthrough) replyAttr(r ll.AttrReq, node inode) {
	var st syscall.Stat_t
	if err := sys.Fstat(node.fd, &st); err != nil {
		fail(r.Req, err)
		return
	}
	attr := ll.StatOf(&st)
	r.ReplyAttr(&attr, p.timeout)
}

func (p *passthrough) setattr(r ll.AttrReq, ino ll.NodeID, a *ll.SetAttr, fi *ll.FileInfo) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	if err := p.change(node, a, fi); err != nil {
		fail(r.Req, err)
		return
	}
	p.replyAttr(r, node)
}

// change does what a asks for, in the order that chmod, chown, truncate, utimensat have in libfuse's example.
func (p *passthrough) change(node inode, a *ll.SetAttr, fi *ll.FileInfo) error {
	var b fdPath
	if a.Has(wire.FattrMode) {
		if err := sys.Fchmodat(sys.AtFDCWD, node.path(&b), a.Mode&0o7777); err != nil {
			return err
		}
	}
	if a.Valid&(wire.FattrUID|wire.FattrGID) != 0 {
		uid, gid := ^uint32(0), ^uint32(0)
		if a.Has(wire.FattrUID) {
			uid = a.UID
		}
		if a.Has(wire.FattrGID) {
			gid = a.GID
		}
		// Takes suid, sgid and capabilities off by itself.
		if err := sys.Fchownat(node.fd, sys.Empty, uid, gid, sys.AtEmptyPath|sys.AtNoFollow); err != nil {
			return err
		}
	}
	if a.Has(wire.FattrSize) {
		if a.Has(wire.FattrKillSuidgid) {
			p.dropPrivileges(node)
		}
		var err error
		if fi != nil {
			err = sys.Ftruncate(int(fi.FH), int64(a.Size))
		} else {
			err = sys.Truncate(node.path(&b), int64(a.Size))
		}
		if err != nil {
			return err
		}
	}
	if a.Valid&(wire.FattrAtime|wire.FattrMtime) == 0 {
		return nil
	}
	ts := [2]sys.Timespec{
		timespec(a, wire.FattrAtime, wire.FattrAtimeNow, a.Atime),
		timespec(a, wire.FattrMtime, wire.FattrMtimeNow, a.Mtime),
	}
	return sys.Utimensat(sys.AtFDCWD, node.path(&b), &ts, 0)
}

func timespec(a *ll.SetAttr, set, now wire.SetattrValid, t ll.Time) sys.Timespec {
	switch {
	case a.Has(now):
		return sys.Timespec{Nsec: sys.UtimeNow}
	case a.Has(set):
		return sys.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
	}
	return sys.Timespec{Nsec: sys.UtimeOmit}
}

// dropPrivileges takes suid and, where it means anything, sgid off a file that somebody without CAP_FSETID is about to change.
// The file system below would do that if the server had not the right to keep them. Capabilities it drops in any case.
func (p *passthrough) dropPrivileges(node inode) {
	var st syscall.Stat_t
	if sys.Fstat(node.fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return
	}
	mode := st.Mode &^ syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 {
		mode &^= syscall.S_ISGID
	}
	if mode != st.Mode {
		var b fdPath
		sys.Fchmodat(sys.AtFDCWD, node.path(&b), mode&0o7777)
	}
}

// drop is dropPrivileges for a request that may ask for it.
func (p *passthrough) drop(ino ll.NodeID, asked bool) {
	if !asked {
		return
	}
	if node, ok := p.nodes.Get(ino); ok {
		p.dropPrivileges(node)
	}
}

func (p *passthrough) statx(r ll.StatxReq, ino ll.NodeID, flags, mask uint32, fi *ll.FileInfo) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	var st sys.Statx
	if err := sys.StatxAt(node.fd, sys.Empty, flags|sys.AtEmptyPath|sys.AtNoFollow, mask, &st); err != nil {
		fail(r.Req, err)
		return
	}
	t := func(sec int64, nsec uint32) ll.Time { return ll.Time{Sec: sec, Nsec: nsec} }
	r.ReplyStatx(&ll.Statx{
		Stat: ll.Stat{
			Ino: st.Ino, Size: st.Size, Blocks: st.Blocks, Blksize: st.Blksize,
			Mode: uint32(st.Mode), Nlink: st.Nlink, UID: st.Uid, GID: st.Gid,
			Atime: t(st.Atime.Sec, st.Atime.Nsec), Mtime: t(st.Mtime.Sec, st.Mtime.Nsec), Ctime: t(st.Ctime.Sec, st.Ctime.Nsec),
		},
		Mask: st.Mask, Attributes: st.Attributes, AttributesMask: st.Attributes_mask,
		Btime:     t(st.Btime.Sec, st.Btime.Nsec),
		RdevMajor: st.Rdev_major, RdevMinor: st.Rdev_minor, DevMajor: st.Dev_major, DevMinor: st.Dev_minor,
	}, p.timeout)
}

func (p *passthrough) statfs(r ll.StatfsReq, ino ll.NodeID) {
	node, ok := p.nodes.Get(ino)
	if !ok {
		r.ReplyErr(syscall.ESTALE)
		return
	}
	var st sys.Statfs
	if err := sys.Fstatfs(node.fd, &st); err != nil {
		fail(r.Req, err)
		return
	}
	out := ll.Statfs{
		Blocks: uint64(st.Blocks), Bfree: uint64(st.Bfree), Bavail: uint64(st.Bavail), Files: uint64(st.Files), Ffree: uint64(st.Ffree),
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), NameMax: uint32(st.Namelen),
	}
	if out.Frsize == 0 {
		out.Frsize = out.Bsize
	}
	r.ReplyStatfs(&out)
}
