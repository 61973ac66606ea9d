//go:build linux

package notify_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	ll "github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/notify"
	"github.com/purefuse/purefuse/wire"
)

// The server of the tests with a kernel: a tree in memory that lets the kernel cache all of it for ever, and that is changed
// behind the kernel's back by the commands on its standard input.

const forever = 24 * time.Hour

type inode struct {
	mode    uint32
	data    []byte
	names   map[string]ll.NodeID // of a directory
	lookups uint64
	reads   int
}

type treeFS struct {
	s *ll.Session

	inside atomic.Bool  // operations notify, too
	direct atomic.Bool  // unlink does so without the queue, which is wrong
	sent   atomic.Int64 // by them

	mu      sync.Mutex
	nodes   map[ll.NodeID]*inode
	last    ll.NodeID
	hold    chan uint64 // set: GETATTR is not answered, but told here
	count   uint64      // of the file "poll"
	seen    map[uint64]uint64
	handles uint64
	polls   map[uint64]*ll.PollHandle
}

func newTree() *treeFS {
	return &treeFS{
		nodes: map[ll.NodeID]*inode{ll.RootID: {mode: syscall.S_IFDIR | 0o755, names: map[string]ll.NodeID{}, lookups: 1}},
		last:  ll.RootID, seen: map[uint64]uint64{}, polls: map[uint64]*ll.PollHandle{},
	}
}

func (fs *treeFS) operations() *ll.Operations {
	return &ll.Operations{
		Lookup: fs.lookup, Forget: fs.forget, Getattr: fs.getattr, Setattr: fs.setattr, Mkdir: fs.mkdir, Unlink: fs.unlink, Rename: fs.rename,
		Open: fs.open, Read: fs.read, Write: fs.write, Release: fs.release, Readdir: fs.readdir, Create: fs.create, Poll: fs.poll,
	}
}

// add makes a node. fs.mu is held.
func (fs *treeFS) add(parent ll.NodeID, name string, mode uint32, data string) ll.NodeID {
	fs.last++
	fs.nodes[fs.last] = &inode{mode: mode, data: []byte(data)}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		fs.nodes[fs.last].names = map[string]ll.NodeID{}
	}
	fs.nodes[parent].names[name] = fs.last
	return fs.last
}

// entry counts a lookup. fs.mu is held.
func (fs *treeFS) entry(id ll.NodeID) *ll.Entry {
	fs.nodes[id].lookups++
	return &ll.Entry{NodeID: id, Attr: fs.stat(id), AttrTimeout: forever, EntryTimeout: forever}
}

func (fs *treeFS) stat(id ll.NodeID) ll.Stat {
	n := fs.nodes[id]
	return ll.Stat{Ino: uint64(id), Mode: n.mode, Nlink: 1, Size: uint64(len(n.data))}
}

// tell notifies the kernel of what the operation is about, from inside the operation.
func (fs *treeFS) tell(parent ll.NodeID, name string, ino ll.NodeID) {
	if !fs.inside.Load() {
		return
	}
	later := fs.s.Notify().Later()
	var errs []error
	if name != "" {
		errs = append(errs, later.InvalEntry(parent, name), later.ExpireEntry(parent, name), later.InvalInode(parent, 0, 0))
	}
	if ino != 0 {
		errs = append(errs, later.InvalInode(ino, 0, 0), later.Prune(ino))
	}
	if err := errors.Join(errs...); err != nil && !errors.Is(err, notify.ErrFull) {
		fmt.Fprintln(os.Stderr, "from inside an operation:", err)
	}
	fs.sent.Add(int64(len(errs)))
}

func (fs *treeFS) lookup(r ll.EntryReq, parent ll.NodeID, name ll.Name) {
	fs.mu.Lock()
	id, ok := fs.nodes[parent].names[name.String()]
	e := &ll.Entry{EntryTimeout: forever} // there is no such name, for ever
	if ok {
		e = fs.entry(id)
	}
	fs.mu.Unlock()
	fs.tell(parent, name.String(), id)
	r.ReplyEntry(e)
}

func (fs *treeFS) forget(r ll.NoneReq, id ll.NodeID, n uint64) {
	fs.mu.Lock()
	if i := fs.nodes[id]; i != nil {
		i.lookups -= n
	}
	fs.mu.Unlock()
	r.ReplyNone()
}

func (fs *treeFS) getattr(r ll.AttrReq, id ll.NodeID, _ *ll.FileInfo) {
	fs.mu.Lock()
	hold := fs.hold
	st := fs.stat(id)
	fs.mu.Unlock()
	if hold != nil && id != ll.RootID {
		hold <- r.Unique()
		if r.Unique()&wire.UniqueResend == 0 {
			return // as if the server had died
		}
	}
	r.ReplyAttr(&st, forever)
}

func (fs *treeFS) setattr(r ll.AttrReq, id ll.NodeID, a *ll.SetAttr, _ *ll.FileInfo) {
	fs.mu.Lock()
	if a.Has(wire.FattrMode) {
		fs.nodes[id].mode = fs.nodes[id].mode&syscall.S_IFMT | a.Mode&0o7777
	}
	if a.Has(wire.FattrSize) {
		fs.nodes[id].data = append(fs.nodes[id].data, make([]byte, max(int(a.Size)-len(fs.nodes[id].data), 0))...)[:a.Size]
	}
	st := fs.stat(id)
	fs.mu.Unlock()
	r.ReplyAttr(&st, forever)
}

func (fs *treeFS) mkdir(r ll.EntryReq, parent ll.NodeID, name ll.Name, mode uint32) {
	fs.mu.Lock()
	e := fs.entry(fs.add(parent, name.String(), syscall.S_IFDIR|mode, ""))
	fs.mu.Unlock()
	r.ReplyEntry(e)
}

func (fs *treeFS) unlink(r ll.ErrReq, parent ll.NodeID, name ll.Name) {
	fs.mu.Lock()
	id := fs.nodes[parent].names[name.String()]
	delete(fs.nodes[parent].names, name.String())
	fs.mu.Unlock()
	fs.tell(parent, name.String(), id)
	if fs.direct.Load() {
		fs.s.Notify().InvalEntry(parent, name.String())
	}
	r.ReplyOK()
}

func (fs *treeFS) rename(r ll.ErrReq, parent ll.NodeID, name ll.Name, newparent ll.NodeID, newname ll.Name, _ uint32) {
	fs.mu.Lock()
	id := fs.nodes[parent].names[name.String()]
	delete(fs.nodes[parent].names, name.String())
	fs.nodes[newparent].names[newname.String()] = id
	fs.mu.Unlock()
	fs.tell(parent, name.String(), id)
	fs.tell(newparent, newname.String(), id)
	r.ReplyOK()
}

// opened is how files are opened: the file "poll" without a cache.
func (fs *treeFS) opened(id ll.NodeID, fi *ll.FileInfo) {
	fi.KeepCache = true
	if fs.nodes[ll.RootID].names["poll"] == id {
		fs.handles++
		fi.FH, fi.DirectIO, fi.KeepCache = fs.handles, true, false
	}
}

func (fs *treeFS) open(r ll.OpenReq, id ll.NodeID, fi *ll.FileInfo) {
	fs.mu.Lock()
	fs.opened(id, fi)
	fs.mu.Unlock()
	r.ReplyOpen(fi)
}

func (fs *treeFS) create(r ll.CreateReq, parent ll.NodeID, name ll.Name, mode uint32, fi *ll.FileInfo) {
	fs.mu.Lock()
	id := fs.add(parent, name.String(), mode, "")
	e := fs.entry(id)
	fs.opened(id, fi)
	fs.mu.Unlock()
	r.ReplyCreate(e, fi)
}

func (fs *treeFS) read(r ll.DataReq, id ll.NodeID, size int, off int64, fi *ll.FileInfo) {
	fs.mu.Lock()
	n := fs.nodes[id]
	n.reads++
	data := n.data
	if fi.FH != 0 {
		data, off = strconv.AppendUint(nil, fs.count, 10), 0
		fs.seen[fi.FH] = fs.count
	}
	off = min(off, int64(len(data)))
	p := append([]byte(nil), data[off:min(off+int64(size), int64(len(data)))]...)
	fs.mu.Unlock()
	r.ReplyBuf(p)
}

func (fs *treeFS) write(r ll.WriteReq, id ll.NodeID, data []byte, off int64, _ *ll.FileInfo) {
	fs.mu.Lock()
	n := fs.nodes[id]
	if need := int(off) + len(data) - len(n.data); need > 0 {
		n.data = append(n.data, make([]byte, need)...)
	}
	copy(n.data[off:], data)
	fs.mu.Unlock()
	fs.tell(0, "", id)
	r.ReplyWrite(len(data))
}

func (fs *treeFS) release(r ll.ErrReq, id ll.NodeID, _ *ll.FileInfo) {
	fs.tell(0, "", id)
	r.ReplyOK()
}

func (fs *treeFS) readdir(r ll.DirReq, id ll.NodeID, _ int, off uint64, _ *ll.FileInfo) {
	fs.mu.Lock()
	if off == 0 {
		for name, kid := range fs.nodes[id].names {
			st := fs.stat(kid)
			off++
			if !r.Add(name, &st, off) {
				break
			}
		}
	}
	fs.mu.Unlock()
	r.Reply()
}

func (fs *treeFS) poll(r ll.PollReq, _ ll.NodeID, fi *ll.FileInfo, ph *ll.PollHandle) {
	fs.mu.Lock()
	var events uint32
	if fs.seen[fi.FH] != fs.count {
		events = unix.POLLIN
	}
	if ph != nil {
		fs.polls[fi.FH] = ph
	}
	fs.mu.Unlock()
	r.ReplyPoll(events)
}

// tick makes the file "poll" readable.
func (fs *treeFS) tick() error {
	fs.mu.Lock()
	fs.count++
	var wake []*ll.PollHandle
	for _, ph := range fs.polls {
		wake = append(wake, ph)
	}
	fs.mu.Unlock()
	var err error
	for _, ph := range wake {
		err = errors.Join(err, ph.Notify())
	}
	return err
}

// serverMain mounts on dir and takes commands until its input ends.
func serverMain(dir string) int {
	fs := newTree()
	s, err := ll.New(fs.operations(), &ll.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Debug: os.Getenv(envDebug) != ""})
	if err == nil {
		fs.s = s
		err = s.Mount(context.Background(), dir)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	<-s.Ready()
	// The end of the test's namespace cannot end a thread that waits in the kernel for another process there.
	defer time.AfterFunc(limit-30*time.Second, func() { s.Abort() }).Stop()
	fmt.Println("serving")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer, err := fs.command(strings.Fields(in.Text()))
		if err != nil {
			answer = err.Error()
			if e := ll.ErrnoOf(err); e != 0 {
				answer = unix.ErrnoName(e)
			}
		}
		fmt.Println(strconv.Quote(answer))
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := <-served; err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// command carries out one command. The first word "later" makes a notification a queued one, which is flushed.
func (fs *treeFS) command(w []string) (string, error) {
	n := fs.s.Notify()
	if w[0] == "later" {
		answer, err := fs.notification(n.Later(), w[1:])
		return answer, errors.Join(err, n.Flush(context.Background()))
	}
	switch w[0] {
	case "hold":
		fs.mu.Lock()
		fs.hold = make(chan uint64, 10)
		fs.mu.Unlock()
		return "", nil
	case "held":
		return strconv.FormatUint(<-fs.hold, 16), nil
	case "tick":
		return "", fs.tick()
	case "stress":
		return fs.stress(number(w[1]))
	case "direct":
		fs.direct.Store(true)
		return "", nil
	case "inside":
		fs.inside.Store(w[1] == "on")
		return strconv.FormatInt(fs.sent.Load(), 10), n.Flush(context.Background())
	}
	if answer, known := fs.change(w); known {
		return answer, nil
	}
	return fs.notification(n, w)
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// change changes the tree, or tells something of it, without the kernel's knowledge.
func (fs *treeFS) change(w []string) (string, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	names := fs.nodes[ll.RootID].names
	switch w[0] {
	case "file":
		fs.add(ll.RootID, w[1], syscall.S_IFREG|0o644, w[2])
	case "dir":
		fs.add(ll.RootID, w[1], syscall.S_IFDIR|0o755, "")
	case "in":
		fs.add(names[w[1]], w[2], syscall.S_IFREG|0o644, "")
	case "set":
		fs.nodes[names[w[1]]].data = []byte(w[2])
	case "fill": // pages of one letter each
		var data []byte
		for _, c := range w[2] {
			data = append(data, strings.Repeat(string(c), 4096)...)
		}
		fs.nodes[names[w[1]]].data = data
	case "chmod":
		fs.nodes[names[w[1]]].mode = syscall.S_IFREG | uint32(number(w[2]))
	case "mv":
		names[w[2]] = names[w[1]]
		delete(names, w[1])
	case "rm":
		delete(names, w[1])
	case "count":
		return strconv.FormatUint(fs.count, 10), true
	case "id":
		return strconv.FormatUint(uint64(names[w[1]]), 10), true
	case "reads":
		return strconv.Itoa(fs.nodes[names[w[1]]].reads), true
	case "lookups":
		return strconv.FormatUint(fs.nodes[names[w[1]]].lookups, 10), true
	default:
		return "", false
	}
	return "", true
}

func (fs *treeFS) notification(n *notify.Notifier, w []string) (string, error) {
	node := func(i int) ll.NodeID { return ll.NodeID(number(w[i])) }
	switch w[0] {
	case "inval":
		return "", n.InvalInode(node(1), number(w[2]), number(w[3]))
	case "entry":
		return "", n.InvalEntry(node(1), w[2])
	case "expire":
		return "", n.ExpireEntry(node(1), w[2])
	case "delete":
		return "", n.Delete(node(1), node(2), w[3])
	case "store":
		return "", n.Store(node(1), number(w[2]), []byte(w[3]))
	case "retrieve":
		p := make([]byte, number(w[3]))
		got, err := n.Retrieve(context.Background(), node(1), number(w[2]), p)
		return string(p[:got]), err
	case "epoch":
		return "", n.IncEpoch()
	case "prune":
		return "", n.Prune(node(1))
	case "resend":
		return "", n.Resend()
	case "supports":
		return "", n.Supports(wire.NotifyCode(number(w[1])))
	}
	return "", fmt.Errorf("no command %q", w)
}

// stress sends that many notifications from each of 8 goroutines, of all kinds, directly and queued, about the files f0 to f7
// and the names of the clients. It tells how many were about something that the kernel knew.
func (fs *treeFS) stress(each int64) (delivered string, err error) {
	n, later := fs.s.Notify(), fs.s.Notify().Later()
	fs.mu.Lock()
	var files []ll.NodeID
	for i := range 8 {
		files = append(files, fs.nodes[ll.RootID].names[fmt.Sprint("f", i)])
	}
	other := fs.nodes[ll.RootID].names["other"]
	fs.mu.Unlock()
	errs := make([]error, 8)
	var wg sync.WaitGroup
	var ok atomic.Int64
	for g := range errs {
		wg.Go(func() {
			for i := range each {
				id := files[rand.IntN(len(files))]
				name := fmt.Sprint([]string{"f", "a", "b", "c"}[rand.IntN(4)], rand.IntN(8))
				var err error
				switch i % 10 {
				case 0:
					err = n.InvalInode(id, 0, 0)
				case 1:
					err = n.InvalEntry(ll.RootID, name)
				case 2:
					err = later.InvalInode(id, rand.Int64N(8192), rand.Int64N(8192))
				case 3:
					err = later.InvalEntry(ll.RootID, name)
				case 4:
					err = later.ExpireEntry(ll.RootID, name)
				case 5:
					err = n.InvalInode(id, -1, 0)
				case 6:
					err = n.Store(other, rand.Int64N(1<<16), []byte("stored"))
				case 7:
					err = n.Prune(id, other)
				case 8:
					if err = n.IncEpoch(); i%1000 == 8 {
						err = errors.Join(err, fs.tick())
					}
				case 9:
					_, err = n.Retrieve(context.Background(), other, 0, make([]byte, 100))
				}
				switch {
				case errors.Is(err, notify.ErrFull):
					err = n.Flush(context.Background())
				case errors.Is(err, syscall.ENOENT):
					err = nil
				default:
					ok.Add(1)
				}
				if err != nil {
					errs[g] = fmt.Errorf("notification %d: %w", i%10, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return strconv.FormatInt(ok.Load(), 10), errors.Join(append(errs, n.Flush(context.Background()))...)
}
