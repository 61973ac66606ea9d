//go:build linux

// Package compat is what a main function written for libfuse needs: its command line, options, help texts, exit codes and
// messages.
//
// [Main] is fuse_main, for a file system on the path API; [LowlevelMain] is the main function that libfuse's low-level
// examples share. What they are made of can be used alone, in the order in which a C program does it:
//
//	args := opt.NewArgs(os.Args...)
//	o, err := compat.ParseCmdline(args)          // fuse_parse_cmdline
//	...                                          // -h, -V; opt.Parse with the program's own options
//	var c lowlevel.Config
//	o.Apply(&c)                                  // fuse_loop_cfg_set_*
//	err = compat.LowlevelConfig(args, &c)        // the options of fuse_session_new
//	d, err := compat.Daemonize(o.Foreground)     // fuse_daemonize_early_start
//	s, err := lowlevel.New(&operations, &c)
//	s.HandleSignals()                            // fuse_set_signal_handlers
//	err = s.Mount(ctx, o.Mountpoint)             // fuse_session_mount
//	...                                          // d.Ready when <-s.Ready()
//	err = s.Serve(ctx)                           // fuse_session_loop
//
// Where C logs a message and returns -1, these functions return an error with that message, for the caller to log.
//
// The file symbols.tsv names for every symbol of libfuse 3.19 its counterpart here, or why Go needs none.
package compat
