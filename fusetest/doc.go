//go:build linux

// Package fusetest tests file systems: with a fake kernel, without root or a mount, and on real mounts that cannot hang a test.
//
// # The fake kernel
//
// New starts a session of a file system on a connection in memory, so that the library's own receiving, decoding and replying
// run, and plays the kernel at its other end: it negotiates, sends requests, holds replies to the kernel's rules, counts
// lookups, requeues interrupts and can lose the connection at any moment. It runs under -race and in a testing/synctest bubble.
//
//	k := fusetest.New(t, ops, nil)
//	e, err := k.Lookup(lowlevel.RootID, "hello")
//	f, err := k.Open(e.NodeID, os.O_RDONLY)
//	data, err := f.Read(0, 4096)
//
// A request that is still without a reply when the test ends fails the test, and so does a message that a kernel would refuse;
// Options can allow either. Kernel.FS is the file system as an fs.FS, for testing/fstest.TestFS.
//
// # Real mounts
//
// Mount starts a file system as a program of its own, waits until it is mounted and unmounts it when the test ends. Code that
// touches the mount belongs inside Watch: when it does not come back, the stacks of both sides are printed, the connection is
// aborted and the server killed. Conform checks a mounted directory against POSIX. Main makes a TestMain that fails a package
// which leaves goroutines, descriptors, mounts or processes behind.
package fusetest
