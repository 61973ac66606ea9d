//go:build linux

package highlevel

import "time"

// list puts a remembered node that the kernel has forgotten at the end of the list. The caller holds f.mu.
func (f *FS) list(n *node) {
	x := n.more()
	if x.listed {
		return
	}
	x.listed, x.forgotten = true, f.now()
	x.prev, x.next = f.lru.last, nil
	if x.prev != nil {
		x.prev.extra.next = n
	} else {
		f.lru.first = n
	}
	f.lru.last = n
}

// unlist takes a node off the list, if it is there.
func (f *FS) unlist(n *node) {
	x := n.extra
	if x == nil || !x.listed {
		return
	}
	if x.prev != nil {
		x.prev.extra.next = x.next
	} else {
		f.lru.first = x.next
	}
	if x.next != nil {
		x.next.extra.prev = x.prev
	} else {
		f.lru.last = x.prev
	}
	x.listed, x.prev, x.next = false, nil, nil
}

// CleanCache deletes the nodes that the kernel forgot longer than Config.Remember ago, libfuse's fuse_clean_cache, and returns
// how long to wait until the next time: a tenth of Remember, at least a minute and at most an hour.
func (f *FS) CleanCache() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for n := f.lru.first; n != nil; {
		next := n.extra.next
		if now-n.extra.forgotten <= int64(f.cfg.Remember) {
			break
		}
		if n.refs == 1 && n.treelock == 0 { // no child, and nobody works on it
			n.flags &^= nodeRemembered
			f.deref(n, 1)
		}
		n = next
	}
	return min(max(f.cfg.Remember/10, time.Minute), time.Hour)
}

// StartCleanup has CleanCache called from time to time until StopCleanup, if Config.Remember is more than 0: libfuse's
// fuse_start_cleanup_thread. Serve does it.
func (f *FS) StartCleanup() {
	f.cleanMu.Lock()
	defer f.cleanMu.Unlock()
	if f.cfg.Remember <= 0 || f.cleaner != nil {
		return
	}
	stop := make(chan struct{})
	f.cleaner = stop
	f.cleaned.Go(func() {
		for {
			timer := time.NewTimer(f.CleanCache())
			select {
			case <-timer.C:
			case <-stop:
				timer.Stop()
				return
			}
		}
	})
}

// StopCleanup ends what StartCleanup began, and waits for it: libfuse's fuse_stop_cleanup_thread.
func (f *FS) StopCleanup() {
	f.cleanMu.Lock()
	defer f.cleanMu.Unlock()
	if f.cleaner == nil {
		return
	}
	close(f.cleaner)
	f.cleaned.Wait()
	f.cleaner = nil
}
