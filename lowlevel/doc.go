//go:build linux

// Package lowlevel is libfuse's low-level API: a file system is a table of functions (Operations), each of which gets a typed
// request handle and answers it, at once or later, from any goroutine, exactly once.
//
// # Requests
//
// A handle such as EntryReq is a small value that may be copied and kept. Each kind has only the replies that fit, beside
// ReplyErr, which all have. The first reply consumes the request; a second or late one returns ErrReplied and reaches nobody.
// ENOENT from a reply says that nobody waits for it any more, so that what it would have counted (a lookup, an open) did not
// happen; other errors are logged by the library.
// Everything a request hands out (Name, data, *FileInfo, *SetAttr, *BufVec, Room) is good until its reply. A function that
// returns without a reply has not failed: it, or what it started, replies later. Until then the request shows up in
// Session.InFlight.
//
// # Errors
//
// ReplyErr takes an errno, 0 for the success of operations without a result. ENOSYS from many operations is remembered by the
// kernel, which then no longer sends them; a nil function answers it where libfuse does.
//
// # Deadlocks
//
// A server must not touch its own mount: the request that this makes waits for the server. Nor must a handler send
// a notification about the inode or directory that it is working on.
package lowlevel
