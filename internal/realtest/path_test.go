//go:build linux

package realtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The passthroughs of the path API do what passthrough_ll does. They mirror the root directory, so that all happens in
// <mount point>/<source>, unless the module subdir takes them elsewhere.

// noTimeouts is how libfuse's own tests start them.
const noTimeouts = "entry_timeout=0,negative_timeout=0,attr_timeout=0,ac_attr_timeout=0"

// subdir is a kind with the module.
func (k kind) subdir() kind { return kind{k.name, "modules=subdir,subdir="} }

// eachPath runs f as a subtest for each server of the path API, with an empty directory on disk, and without -short also on a
// tmpfs.
func eachPath(t *testing.T, f func(t *testing.T, k kind, source string)) {
	for _, k := range pathKinds {
		t.Run(k.name, func(t *testing.T) {
			if testing.Short() {
				f(t, k, disk(t))
				return
			}
			backings(t, func(t *testing.T, source string) { f(t, k, source) })
		})
	}
}

func TestPathGit(t *testing.T) {
	if !isolated(t) {
		return
	}
	origin := repository(t)
	eachPath(t, func(t *testing.T, k kind, source string) { cloneAndWork(t, k.mount(t, source), source, origin) })
}

func TestPathGoBuild(t *testing.T) {
	if !isolated(t) {
		return
	}
	for _, k := range pathKinds {
		t.Run(k.name, func(t *testing.T) { build(t, k.mount(t, disk(t))) })
	}
}

func TestPathSQLite(t *testing.T) {
	if !isolated(t) {
		return
	}
	eachPath(t, func(t *testing.T, k kind, source string) { sqlite(t, k.mount(t, source)) })
}

func TestPathFio(t *testing.T) {
	if !isolated(t) {
		return
	}
	eachPath(t, func(t *testing.T, k kind, source string) { fio(t, k.mount(t, source)) })
}

func TestPathFiles(t *testing.T) {
	if !isolated(t) {
		return
	}
	noTmpfile := func(t *testing.T, s *server) { // the path API has no such operation
		_, err := unix.Open(s.mnt, unix.O_TMPFILE|unix.O_RDWR, 0o640)
		require.Equal(t, unix.EOPNOTSUPP, err)
	}
	eachPath(t, func(t *testing.T, k kind, source string) {
		for _, o := range []string{noTimeouts, "auto_cache,entry_timeout=1", "noforget", "remember=1"} {
			t.Run(o, func(t *testing.T) {
				s := k.mount(t, source, "-o", o, "-o", "dev")
				files(s, source, o, "tmpfile")
				noTmpfile(t, s)
			})
		}
		t.Run("subdir", func(t *testing.T) {
			s := k.subdir().mount(t, source, "-o", noTimeouts, "-o", "dev")
			files(s, source, "subdir", "tmpfile")
			noTmpfile(t, s)
		})
	})
}

func TestPathDirectory(t *testing.T) {
	if !isolated(t) {
		return
	}
	eachPath(t, func(t *testing.T, k kind, source string) {
		directories(t, source, 2000, k.mount, noTimeouts, "auto_cache,attr_timeout=1,entry_timeout=1")
		if k.name != "passthrough" {
			return
		}
		t.Run("plus", func(t *testing.T) {
			plus := func(t *testing.T, source string, args ...string) *server {
				return k.mount(t, source, append(args, "--plus")...)
			}
			directories(t, source, 2000, plus, noTimeouts)
		})
		t.Run("zero inodes", func(t *testing.T) {
			s := k.mount(t, source, "--plus", "--readdir-zero-inodes", "-o", noTimeouts)
			for i := range 500 {
				require.NoError(t, os.WriteFile(s.path(fmt.Sprint(i)), nil, 0o644))
			}
			ents, err := os.ReadDir(s.mnt) // which leaves out what has no number
			require.NoError(t, err)
			require.Len(t, ents, 500)
			for _, e := range ents {
				info, err := e.Info()
				require.NoError(t, err)
				require.NotZero(t, info.Sys().(*syscall.Stat_t).Ino)
			}
			for name, ino := range inodes(t, list(t, s.mnt).all(1<<16)) {
				require.NotZero(t, ino, name)
			}
		})
	})
}

func TestPathNames(t *testing.T) {
	if !isolated(t) {
		return
	}
	eachPath(t, func(t *testing.T, k kind, source string) { names(t, k.mount(t, source, "-o", noTimeouts), source) })
}

func TestPathChurn(t *testing.T) {
	if !isolated(t) {
		return
	}
	eachPath(t, func(t *testing.T, k kind, source string) {
		for _, o := range []string{noTimeouts, "clone_fd,auto_cache", "max_threads=2,noforget"} {
			t.Run(o, func(t *testing.T) { churnAll(t, k.mount(t, source, "-o", o), source) })
		}
	})
}

func TestPathLocks(t *testing.T) {
	if !isolated(t) {
		return
	}
	for _, k := range pathKinds {
		t.Run(k.name, func(t *testing.T) {
			var through []string
			if k.name == "passthrough_fh" {
				through = []string{"flock", "posix"}
			}
			locks(t, tmpfs(t), k, through, noTimeouts, "max_threads=1")
		})
	}
}

func TestPathXattr(t *testing.T) {
	if !isolated(t) {
		return
	}
	eachPath(t, func(t *testing.T, k kind, source string) { xattrs(t, k.mount(t, source), source) })
}

func TestPathPrivileges(t *testing.T) {
	if !isolated(t) {
		return
	}
	eachPath(t, func(t *testing.T, k kind, source string) {
		for _, o := range []string{noTimeouts, "default_permissions"} {
			t.Run(o, func(t *testing.T) { privileges(t, k.mount(t, source, "-o", "suid,allow_other,"+o), source, o) })
		}
	})
}

func TestPathOptions(t *testing.T) {
	if !isolated(t) {
		return
	}
	iconv := func(k kind) kind {
		return kind{k.name, "modules=subdir:iconv,from_code=ISO-8859-1,to_code=UTF-8,subdir="}
	}
	for _, k := range pathKinds {
		source := tmpfs(t)
		check := func(name string, k kind, debug bool, args ...string) {
			t.Run(k.name+" "+name, func(t *testing.T) {
				s := k.mount(t, source, args...)
				work(t, s, source)
				s.unmount()
				if !debug {
					require.Empty(t, s.log.String())
					return
				}
				log := s.log.String()
				require.Regexp(t, `unique: \d+, opcode: LOOKUP \(1\), nodeid: \d+, insize: \d+, pid: \d+`, log)
				require.Regexp(t, `   unique: \d+, error: -2 \(No such file or directory\), outsize: 16`, log)
				require.Contains(t, log, "getattr[NULL] "+source)
				require.Contains(t, log, "mkdir "+source+"/dir 0755 umask=0022")
			})
		}
		for _, args := range []string{
			"-s", "-o clone_fd", "-o max_threads=1", "-o max_idle_threads=1", "-o kernel_cache", "-o auto_cache,ac_attr_timeout=0", "-o noauto_cache",
			"-o noforget", "-o remember=1", "-o remember=1 -s", "-o no_rofd_flush", "-o parallel_direct_write=1", "-o default_permissions,allow_other",
			"-o fsname=name,subtype=sub,ro,rw", "-o entry_timeout=1,attr_timeout=0.5,negative_timeout=0.2",
		} {
			check(args, k, false, strings.Fields(args)...)
		}
		check("-d", k, true, "-d")
		check("-d", k, true, "-o", noTimeouts, "-d")
		if k.name == "passthrough" {
			check("--plus", k, false, "--plus", "-o", noTimeouts)
			check("--plus -d", k, true, "--plus", "-o", noTimeouts, "-d")
			check("--readdir-zero-inodes", k, false, "--plus", "--readdir-zero-inodes", "-o", noTimeouts)
		}
		check("subdir", k.subdir(), false)
		check("subdir, iconv", iconv(k), false)
		check("subdir, iconv, one thread", iconv(k), false, "-s")
		t.Run(k.name+" iconv", func(t *testing.T) { // the names below are Latin-1
			s := iconv(k).mount(t, source)
			require.NoError(t, os.WriteFile(s.path("naïve"), []byte("x"), 0o644))
			require.FileExists(t, filepath.Join(source, "na\xefve"))
			ents, err := os.ReadDir(s.mnt)
			require.NoError(t, err)
			require.Len(t, ents, 1)
			require.Equal(t, "naïve", ents[0].Name())
			require.ErrorIs(t, os.WriteFile(s.path("日本"), nil, 0o644), syscall.EILSEQ)
			require.NoError(t, os.Remove(s.path("naïve")))
		})
		t.Run(k.name+" fmask", func(t *testing.T) {
			s := k.mount(t, source, "-o", "uid=12,gid=34,fmask=0137,dmask=0027,umask=0")
			require.NoError(t, os.WriteFile(s.path("f"), nil, 0o666))
			require.NoError(t, os.Mkdir(s.path("d"), 0o777))
			f, d := stat(t, s.path("f")), stat(t, s.path("d"))
			require.Equal(t, []uint32{unix.S_IFREG | 0o640, 12, 34}, []uint32{f.Mode, f.Uid, f.Gid})
			require.Equal(t, []uint32{unix.S_IFDIR | 0o750, 12, 34}, []uint32{d.Mode, d.Uid, d.Gid})
			require.NoError(t, errors.Join(os.Remove(s.path("f")), os.Remove(s.path("d"))))
		})
		t.Run(k.name+" default_permissions", func(t *testing.T) {
			require.NoError(t, os.WriteFile(filepath.Join(source, "private"), []byte("x"), 0o600))
			s := k.mount(t, source, "-o", "default_permissions,allow_other")
			out, err := as(nobody, program(t, "/", "coreutils", "cat", s.path("private"))).CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), "Permission denied")
			require.NoError(t, os.Remove(s.path("private")))
		})
	}
}

// TestPathHidden removes open files, as the library has it: another name until the last close.
func TestPathHidden(t *testing.T) {
	if !isolated(t) {
		return
	}
	for _, k := range pathKinds {
		t.Run(k.name, func(t *testing.T) {
			source := tmpfs(t)
			left := func() (hidden []string) {
				ents, err := os.ReadDir(source)
				require.NoError(t, err)
				for _, e := range ents {
					require.True(t, strings.HasPrefix(e.Name(), ".fuse_hidden"), e.Name())
					hidden = append(hidden, e.Name())
				}
				return hidden
			}
			s := k.mount(t, source)
			f := create(t, s.path("f"), 0)
			g := create(t, s.path("g"), 0)
			require.NoError(t, os.Remove(s.path("f")))
			require.NoError(t, os.Rename(s.path("g"), s.path("h")))
			require.NoError(t, os.WriteFile(s.path("i"), nil, 0o644))
			require.NoError(t, os.Rename(s.path("i"), s.path("h"))) // over an open file
			require.NoError(t, os.Remove(s.path("h")))
			require.Len(t, left(), 2)
			for _, f := range []*os.File{f, g} {
				_, err := f.WriteString("still there")
				require.NoError(t, err)
				info, err := f.Stat()
				require.NoError(t, err)
				require.EqualValues(t, 11, info.Size())
				require.Zero(t, info.Sys().(*syscall.Stat_t).Nlink)
				require.NoError(t, f.Close())
			}
			s.await("the last release", func() bool { return len(left()) == 0 })
		})
	}
}

func TestPathLife(t *testing.T) {
	if !isolated(t) {
		return
	}
	for _, k := range pathKinds {
		source := tmpfs(t)
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			t.Run(k.name+" "+sig.String(), func(t *testing.T) {
				s := k.subdir().start(t, "-f", "-o", k.subdir().source+source)
				f := create(t, s.path("f"), 0)
				require.NoError(t, s.cmd.Process.Signal(sig))
				require.Equal(t, 8, s.wait(), "%s", s.log)
				require.Nil(t, mounted(t, s.point))
				_, err := f.WriteString("x")
				require.Error(t, err)
				require.NotRegexp(t, suspicious, s.log.String())
			})
		}
		t.Run(k.name+" abort", func(t *testing.T) {
			s := k.start(t, "-f")
			require.NoError(t, s.abort())
			require.Zero(t, s.wait(), "%s", s.log)
			require.Nil(t, mounted(t, s.point))
		})
		t.Run(k.name+" signal to a waiter's server", func(t *testing.T) {
			s := k.subdir().start(t, "-f", "-o", k.subdir().source+source)
			a, b := startPeer(t, s.path("f"), "flock"), startPeer(t, s.path("f"), "flock")
			require.Equal(t, "ok", a.do("try exclusive"))
			b.say("wait exclusive")
			s.await("the wait", b.waits)
			require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
			require.Equal(t, 8, s.wait())
			if slices.Contains([]string{"passthrough_fh"}, k.name) { // else the lock is the kernel's
				require.NotEqual(t, "ok", b.hear())
			}
			require.Nil(t, mounted(t, s.point))
		})
	}
}
