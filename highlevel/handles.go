//go:build linux

package highlevel

import (
	"slices"
	"syscall"
)

// openHandle is a handle through which a file can be reached that has no name any more.
type openHandle struct {
	fh    uint64
	users int
	idle  chan struct{} // closed by the last user, for a release that waits
}

// reachable reports whether handles are remembered: removed files have no path, but operations on open files need none.
func (f *FS) reachable() bool { return f.cfg.HardRemove && f.cfg.NullPathOK }

// nowOpen counts an open. The caller holds f.mu.
func (f *FS) nowOpen(n *node, fi *FileInfo) {
	n.opens++
	if f.reachable() {
		x := n.more()
		x.handles = append(x.handles, &openHandle{fh: fi.FH})
	}
}

// notReachable forgets a handle that is about to be released, and waits until nobody else uses it.
func (f *FS) notReachable(id NodeID, fh uint64) {
	if !f.reachable() {
		return
	}
	f.mu.Lock()
	n := f.byID(id)
	if n == nil || n.extra == nil {
		f.mu.Unlock()
		return
	}
	var idle chan struct{}
	list := n.extra.handles
	if i := slices.IndexFunc(list, func(h *openHandle) bool { return h.fh == fh }); i >= 0 {
		if h := list[i]; h.users > 0 {
			h.idle = make(chan struct{})
			idle = h.idle
		}
		n.extra.handles = slices.Delete(list, i, i+1)
	}
	f.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// byHandle runs op with some handle of an open file, as an operation on that would.
func (f *FS) byHandle(c *call, id NodeID, op func(fi *FileInfo) error) syscall.Errno {
	f.mu.Lock()
	n := f.byID(id)
	if n == nil || n.extra == nil || len(n.extra.handles) == 0 {
		f.mu.Unlock()
		return syscall.ESTALE
	}
	h := n.extra.handles[0]
	h.users++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		if h.users--; h.users == 0 && h.idle != nil {
			close(h.idle)
		}
		f.mu.Unlock()
	}()
	return f.errno(c, op(&FileInfo{FH: h.fh}))
}
