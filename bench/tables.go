//go:build linux

package main

import (
	"slices"
	"strconv"
)

// Unit says how a row's speed is written.
type Unit int

const (
	PerSecond Unit = iota // thousand operations a second
	MBps                  // 10^6 bytes a second
	PerEntry              // microseconds an entry: less is better
)

// Row is one client load.
type Row struct {
	Name   string   `json:"name"`
	Client []string `json:"client"`
	Unit   Unit     `json:"-"`
	Slow   bool     `json:"-"` // left out by -quick
}

// Table is a set of servers that are mounted together and the loads that visit them.
type Table struct {
	Name, Title string
	OneCPU      bool // server and client pinned to one CPU
	Extra       bool // runs only when it is named
	Slow        bool // left out by -quick
	Servers     []Server
	Rows        []Row
	Targets     []Target
}

// Metric is what a target compares.
type Metric int

const (
	Speed Metric = iota
	ServerCPU
	P99
)

// Target is one line of what we want to hold: Of compared with Peer in the rows named. It is printed, never enforced.
type Target struct {
	Rows     []string
	Of, Peer string
	Metric   Metric
	Factor   float64 // Speed: at least; ServerCPU, P99: at most
}

const (
	ours      = "purefuse"
	oursURing = "purefuse io_uring"
	oursLL    = "purefuse passthrough_ll"
	oursLLWB  = "purefuse passthrough_ll writeback"
	cMT       = "libfuse mt"
	cST       = "libfuse -s"
	cFloor    = "C floor"
	goFloor   = "Go floor"
	cNewMT    = "new libfuse mt"
	cNewST    = "new libfuse -s"
	cURing    = "new libfuse io_uring"
	goRaw     = "go-fuse raw"
	goFS      = "go-fuse fs"
	llMT      = "passthrough_ll mt"
	llST      = "passthrough_ll -s"
	llWB      = "passthrough_ll writeback"
	llNew     = "new passthrough_ll mt"
	hp        = "passthrough_hp"
	hpURing   = "passthrough_hp io_uring"
	goLoop    = "go-fuse loopback"
	native    = "native tmpfs"

	cPath    = "C passthrough"
	cPathFH  = "C passthrough_fh"
	goPath   = "purefuse passthrough"
	goPathFH = "purefuse passthrough_fh"

	oursBacking = "purefuse, backing file"
	hpBacking   = "passthrough_hp, backing file"
	goBacking   = "go-fuse loopback, backing file"
)

func args(a ...string) func(mnt, src string) []string {
	return func(mnt, _ string) []string { return append(slices.Clone(a), mnt) }
}

// nullServers answer from memory: what they cost is the library, the runtime and the kernel.
func nullServers() []Server {
	debian := func(b *Builder) (string, error) { return b.Debian("null_ll", "null_ll.c") }
	newest := func(b *Builder) (string, error) { return b.New("null_ll_new", "null_ll.c") }
	gofuse := func(b *Builder) (string, error) { return b.Go("gofuse", "./servers/gofuse") }
	return []Server{
		{cMT, debian, args("-f")},
		{cST, debian, args("-f", "-s")},
		{ours, func(b *Builder) (string, error) { return b.Go("purefuse", "./servers/purefuse") }, args()},
		{cFloor, func(b *Builder) (string, error) { return b.C("floor", "floor.c") }, args()},
		{goFloor, func(b *Builder) (string, error) { return b.Go("gofloor", "./servers/gofloor") }, args()},
		{goRaw, gofuse, args("-api", "raw")},
		{goFS, gofuse, args("-api", "fs")},
		{cNewMT, newest, args("-f")},
		{cNewST, newest, args("-f", "-s")},
		{cURing, uring(newest), args("-f", "-o", "io_uring")},
	}
}

// uring is a build that needs FUSE over io_uring to be of use.
func uring(build func(*Builder) (string, error)) func(*Builder) (string, error) {
	return func(b *Builder) (string, error) {
		if err := uringReady(); err != nil {
			return "", err
		}
		return build(b)
	}
}

// loopServers mirror a tmpfs. meta turns all caching by time off, so that every system call becomes requests.
func loopServers(meta bool) []Server {
	timeout := 1
	if meta {
		timeout = 0
	}
	debian := func(b *Builder) (string, error) {
		return b.Debian("passthrough_ll", debianExamples+"/passthrough_ll.c")
	}
	ourLL := func(b *Builder) (string, error) {
		return b.Parent("purefuse_passthrough_ll", "./examples/passthrough_ll")
	}
	newHP := func(b *Builder) (string, error) { return b.Example("passthrough_hp") }
	ll := func(flags ...string) func(mnt, src string) []string {
		return func(mnt, src string) []string {
			opt := "source=" + src + ",timeout=" + strconv.Itoa(timeout)
			return append(append([]string{"-f", "-o", opt}, flags...), mnt)
		}
	}
	hpArgs := func(flags ...string) func(mnt, src string) []string {
		return func(mnt, src string) []string {
			a := append([]string{"--foreground", "--nopassthrough"}, flags...)
			if meta {
				a = append(a, "--nocache")
			}
			return append(a, src, mnt)
		}
	}
	gofuse := func(b *Builder) (string, error) { return b.Go("gofuse_loopback", "./servers/gofuse_loopback") }
	goArgs := func(flags ...string) func(mnt, src string) []string {
		return func(mnt, src string) []string {
			return append(append([]string{"-source", src, "-timeout", strconv.Itoa(timeout) + "s"}, flags...), mnt)
		}
	}
	servers := []Server{
		{llMT, debian, ll()},
		{llST, debian, ll("-s")},
		{oursLL, ourLL, ll()},
		{llNew, func(b *Builder) (string, error) { return b.Example("passthrough_ll") }, ll()},
		{hp, newHP, hpArgs()},
		{hpURing, uring(newHP), hpArgs("-o", "io_uring")},
		{goLoop, gofuse, goArgs()},
	}
	if !meta {
		servers = slices.Insert(servers, 3,
			Server{llWB, debian, ll("-o", "writeback")},
			Server{oursLLWB, ourLL, ll("-o", "writeback")})
	}
	return append(servers, Server{Name: native})
}

// pathServers mirror a tmpfs by path, on the high-level API of libfuse and ours.
func pathServers() []Server {
	debian := func(name string) func(b *Builder) (string, error) { // with xattrs, which ours have, too
		return func(b *Builder) (string, error) {
			return b.Debian(name, debianExamples+"/"+name+".c", "-DHAVE_SETXATTR")
		}
	}
	parent := func(name string) func(b *Builder) (string, error) {
		return func(b *Builder) (string, error) { return b.Parent("purefuse_"+name, "./examples/"+name) }
	}
	path := func(mnt, src string) []string { return []string{"-f", "-o", "modules=subdir,subdir=" + src, mnt} }
	return []Server{
		{cPath, debian("passthrough"), path}, {goPath, parent("passthrough"), path},
		{cPathFH, debian("passthrough_fh"), path}, {goPathFH, parent("passthrough_fh"), path},
		{Name: native},
	}
}

// backingServers hand the kernel the file itself (FOPEN_PASSTHROUGH): reads and writes are no requests any more.
func backingServers() []Server {
	return []Server{
		{hpBacking, func(b *Builder) (string, error) { return b.Example("passthrough_hp") },
			func(mnt, src string) []string { return []string{"--foreground", src, mnt} }},
		{oursBacking, func(b *Builder) (string, error) { return b.Go("purefuse", "./servers/purefuse") },
			func(mnt, src string) []string { return []string{"-backing", src + "/data", mnt} }},
		{goBacking, func(b *Builder) (string, error) { return b.Go("gofuse_loopback", "./servers/gofuse_loopback") },
			func(mnt, src string) []string { return []string{"-source", src, "-passthrough", mnt} }},
		{Name: native},
	}
}

func load(name string, unit Unit, client ...string) Row {
	return Row{Name: name, Unit: unit, Client: client}
}

func slow(r Row) Row {
	r.Slow = true
	return r
}

func nullRow(name, what string, threads int) Row {
	r := load(name, PerSecond, "-l", what, "-D", "-b", "4096", "-t", strconv.Itoa(threads))
	r.Slow = threads == 16
	return r
}

func dataRows() []Row {
	const m, k = "1048576", "131072"
	return []Row{
		load("read 1M direct", MBps, "-l", "read", "-D", "-b", m),
		load("read 128K direct", MBps, "-l", "read", "-D", "-b", k),
		load("write 1M direct", MBps, "-l", "write", "-D", "-b", m),
		load("write 128K direct", MBps, "-l", "write", "-D", "-b", k),
		load("read 1M buffered", MBps, "-l", "read", "-b", m),
		load("write 1M buffered", MBps, "-l", "write", "-b", m),
		slow(load("write 128K buffered", MBps, "-l", "write", "-b", k)),
		slow(load("read 4K direct", PerSecond, "-l", "rread", "-D", "-b", "4096")),
		slow(load("write 4K direct", PerSecond, "-l", "rwrite", "-D", "-b", "4096")),
	}
}

func backingRows() []Row {
	return []Row{
		load("read 4K direct", PerSecond, "-l", "rread", "-D", "-b", "4096"),
		load("write 4K direct", PerSecond, "-l", "rwrite", "-D", "-b", "4096"),
		load("read 4K buffered", PerSecond, "-l", "rread", "-b", "4096"),
		load("write 4K buffered", PerSecond, "-l", "rwrite", "-b", "4096"),
	}
}

func metaRows() []Row {
	return []Row{
		load("stat", PerSecond, "-l", "stat"),
		slow(load("stat 4t", PerSecond, "-l", "stat", "-t", "4")),
		load("open+close", PerSecond, "-l", "open"),
		slow(load("open+close 4t", PerSecond, "-l", "open", "-t", "4")),
		load("create+close+unlink", PerSecond, "-l", "create"),
		slow(load("create+close+unlink 4t", PerSecond, "-l", "create", "-t", "4")),
		load("readdir", PerEntry, "-l", "readdir"),
		load("readdir+stat", PerEntry, "-l", "readdirstat"),
	}
}

func names(rows []Row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.Name
	}
	return out
}

// against is the usual trio: so fast at least, no more server CPU, no more than a tenth over in the 99th percentile.
func against(rows []string, of, peer string, factor float64) []Target {
	return []Target{{rows, of, peer, Speed, factor}, {rows, of, peer, ServerCPU, 1}, {rows, of, peer, P99, 1.1}}
}

func faster(rows []string, of, peer string, factor float64) []Target {
	return []Target{{rows, of, peer, Speed, factor}}
}

// Tables are all tables, with the rows of the performance targets that their servers allow.
func Tables() []Table {
	one := []Row{nullRow("getattr", "getattr", 1), nullRow("read 4K", "rread", 1)}
	both := names(one)
	free := []Row{
		nullRow("getattr 1t", "getattr", 1), nullRow("getattr 4t", "getattr", 4), nullRow("getattr 16t", "getattr", 16),
		nullRow("read 4K 1t", "rread", 1), nullRow("read 4K 4t", "rread", 4), nullRow("read 4K 16t", "rread", 16),
	}
	many := []string{"getattr 4t", "getattr 16t", "read 4K 4t", "read 4K 16t"}
	data, meta, backing := dataRows(), metaRows(), backingRows()
	direct := []string{"read 1M direct", "read 128K direct"}
	writes := []string{"write 1M direct", "write 128K direct", "write 1M buffered", "write 128K buffered"}

	dataTargets := slices.Concat(
		faster(direct, oursLL, hp, 2.5),
		faster(direct, oursLL, llMT, 1),
		faster(writes, oursLL, llMT, 1),
		faster(writes[:2], oursLL, hp, 1),
		faster(writes[2:], oursLLWB, hp, 1), // passthrough_hp turns the writeback cache on by itself
		faster(writes, oursLLWB, llWB, 1),
		faster([]string{"read 4K direct", "write 4K direct"}, oursLL, goLoop, 2),
	)
	metaTargets := slices.Concat(
		faster(names(meta), oursLL, llMT, 1),
		faster(names(meta), oursLL, llNew, 1),
		faster(names(meta), oursLL, hp, 1),
		faster(names(meta), oursLL, goLoop, 2),
	)
	return []Table{
		{
			Name: "null-one", Title: "round trip to a null server, client and server on one CPU: the software's cost", OneCPU: true,
			Servers: nullServers(), Rows: one,
			Targets: slices.Concat(
				against(both[:1], ours, cMT, 1.25), against(both[1:], ours, cMT, 1.30),
				against(both, ours, cST, 1), faster(both, ours, cFloor, 0.95),
				faster(both, ours, goRaw, 2), faster(both, ours, goFS, 2),
			),
		},
		{
			Name: "null-free", Title: "round trip to a null server, free placement",
			Servers: nullServers(), Rows: free,
			Targets: slices.Concat(
				against(many, ours, cMT, 1.2), faster(names(free), ours, goRaw, 2), faster(names(free), ours, goFS, 2),
			),
		},
		{
			Name: "data", Title: "loopback over tmpfs: bytes, free placement", Servers: loopServers(false), Rows: data, Targets: dataTargets,
		},
		{
			Name: "data-one", Title: "loopback over tmpfs: bytes, one CPU", OneCPU: true, Extra: true,
			Servers: loopServers(false), Rows: data, Targets: dataTargets,
		},
		{
			Name: "meta", Title: "loopback over tmpfs: names, all timeouts 0, free placement", Extra: true,
			Servers: loopServers(true), Rows: meta, Targets: metaTargets,
		},
		{
			Name: "meta-one", Title: "loopback over tmpfs: names, all timeouts 0, one CPU", OneCPU: true,
			Servers: loopServers(true), Rows: meta, Targets: metaTargets,
		},
		{
			Name: "path", Title: "the path API: loopback over tmpfs, one CPU", OneCPU: true, Extra: true,
			Servers: pathServers(), Rows: slices.Concat(data, meta),
			Targets: slices.Concat(
				faster(append(names(data), names(meta)...), goPath, cPath, 1), faster(append(names(data), names(meta)...), goPathFH, cPathFH, 1),
			),
		},
		{
			Name: "backing", Title: "backing files: the kernel reads and writes tmpfs without the server", Slow: true,
			Servers: backingServers(), Rows: backing,
			Targets: slices.Concat(
				faster([]string{backing[0].Name, backing[2].Name}, oursBacking, native, 0.95),
				faster([]string{backing[1].Name, backing[3].Name}, oursBacking, native, 0.8),
			),
		},
		{
			Name: "null-data", Title: "big requests to a null server, free placement", Extra: true,
			Servers: nullServers(), Rows: data[:7],
		},
	}
}
