//go:build linux

// Package highlevel is libfuse's path API: a file system is a table of functions (Operations) that get paths and return
// errors. The package keeps the table of inodes, builds the paths and guards them, hides files that are removed while open,
// and answers the kernel.
//
// # Paths
//
// A path begins with a slash and has none at its end; the root is "/". While a function runs, its path stays true: a rename
// or a removal of anything on the way waits for it. Operations on open files get "" in place of a path if Config.NullPathOK
// is set, or if the file has no name any more (where libfuse gives NULL); they have a handle in FileInfo.FH.
//
// # Errors
//
// A function returns nil or any error; Errno says what the kernel is told of it. A nil function answers ENOSYS, or what its
// comment says.
//
// # Lifetime
//
// Strings and *Context may be kept; slices, *FileInfo, *Stat and all other pointers are good until the function returns.
//
// # Deadlocks
//
// A server must not touch its own mount, see package lowlevel.
package highlevel
