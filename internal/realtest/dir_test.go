//go:build linux

package realtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// dirent is one record of getdents64(2).
type dirent struct {
	name string
	ino  uint64
	next int64
	typ  byte
}

// listing reads a directory through a descriptor of its own.
type listing struct {
	t  *testing.T
	fd int
}

func list(t *testing.T, dir string) *listing {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return &listing{t, fd}
}

// some reads one batch of at most size bytes.
func (l *listing) some(size int) (ents []dirent) {
	l.t.Helper()
	buf := make([]byte, size)
	n, err := unix.Getdents(l.fd, buf)
	require.NoError(l.t, err)
	for b := buf[:n]; len(b) > 0; {
		ne := binary.NativeEndian
		rec := b[:ne.Uint16(b[16:])]
		name, _, _ := bytes.Cut(rec[19:], []byte{0})
		ents = append(ents, dirent{string(name), ne.Uint64(rec), int64(ne.Uint64(rec[8:])), rec[18]})
		b = b[len(rec):]
	}
	return ents
}

func (l *listing) all(size int) (ents []dirent) {
	for {
		some := l.some(size)
		if len(some) == 0 {
			return ents
		}
		ents = append(ents, some...)
	}
}

func (l *listing) seek(to int64) {
	_, err := unix.Seek(l.fd, to, unix.SEEK_SET)
	require.NoError(l.t, err)
}

// inodes maps the names in a listing, "." and ".." aside, to their inode numbers; none may be there twice.
func inodes(t *testing.T, ents []dirent) map[string]uint64 {
	m := map[string]uint64{}
	for _, e := range ents {
		if e.name == "." || e.name == ".." {
			continue
		}
		if _, twice := m[e.name]; twice {
			require.Fail(t, "listed twice", e.name)
		}
		m[e.name] = e.ino
	}
	return m
}

func TestDirectory(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) {
		directories(t, source, 10000, passthroughLL.mount, "timeout=0", "timeout=1", "cache=always", "cache=never")
	})
}

// directories lists a large directory in every way, with each of the options.
func directories(t *testing.T, source string, files int, mount func(t *testing.T, source string, args ...string) *server, options ...string) {
	big := filepath.Join(source, "big")
	require.NoError(t, os.Mkdir(big, 0o755))
	for i := range files {
		require.NoError(t, os.WriteFile(filepath.Join(big, fmt.Sprintf("%05d-%s", i, strings.Repeat("n", i%60))), nil, 0o644))
	}
	want := inodes(t, list(t, big).all(1<<16))
	require.Len(t, want, files)
	for _, o := range options {
		t.Run(o, func(t *testing.T) {
			s := mount(t, source, "-o", o)
			dir := s.path("big")
			t.Run("list", func(t *testing.T) {
				for _, size := range []int{512, 4096, 1 << 16} {
					require.Equal(t, want, inodes(t, list(t, dir).all(size)))
				}
			})
			t.Run("stat", func(t *testing.T) { // which makes the kernel ask for attributes with the names
				ents, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Len(t, ents, files)
				for _, e := range ents {
					info, err := e.Info()
					if err != nil || info.Sys().(*syscall.Stat_t).Ino != want[e.Name()] {
						require.Fail(t, "not as below", "%s: %v %v", e.Name(), info, err)
					}
				}
			})
			t.Run("seek", func(t *testing.T) { seekdir(t, dir) })
		})
	}
	t.Run("changed below", func(t *testing.T) {
		s := mount(t, source, "-o", options[0])
		require.Equal(t, want, inodes(t, list(t, s.path("big")).all(1<<16)))
		require.NoError(t, os.Remove(filepath.Join(big, "00000-")))
		require.NoError(t, os.WriteFile(filepath.Join(big, "new"), nil, 0o644))
		got := inodes(t, list(t, s.path("big")).all(1<<16))
		require.Zero(t, got["00000-"])
		require.NotZero(t, got["new"])
		require.Len(t, got, files)
	})
	t.Run("delete while reading", func(t *testing.T) {
		s := mount(t, source)
		want := inodes(t, list(t, big).all(1<<16))
		seen := map[string]uint64{}
		l := list(t, s.path("big"))
		for some := l.some(4096); len(some) > 0; some = l.some(4096) {
			for name, ino := range inodes(t, some) {
				if _, twice := seen[name]; twice {
					require.Fail(t, "listed twice", name)
				}
				seen[name] = ino
				require.NoError(t, os.Remove(s.path("big", name)))
			}
		}
		require.Equal(t, want, seen)
		require.NoError(t, os.Remove(s.path("big")))
		require.NoFileExists(t, big)
	})
}

// seekdir goes to each remembered position, in no order, and finds there what was there before.
func seekdir(t *testing.T, dir string) {
	l := list(t, dir)
	ents := l.all(4096)
	for i := 0; i < len(ents)-1; i += 97 {
		at := (i * 7919) % (len(ents) - 1)
		l.seek(ents[at].next)
		require.Equal(t, ents[at+1], l.some(512)[0])
	}
	l.seek(ents[len(ents)-1].next)
	require.Empty(t, l.some(4096))
	l.seek(0)
	require.Equal(t, ents[0], l.some(512)[0])
	require.Equal(t, ".", ents[slices.IndexFunc(ents, func(e dirent) bool { return e.name == "." })].name)
}

func TestNames(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) {
		names(t, mount(t, source, "-o", "timeout=0"), source)
	})
}

// names has every byte in names, and every operation with them.
func names(t *testing.T, s *server, source string) {
	names := map[string]bool{}
	all := ""
	for c := 1; c < 256; c++ {
		if c == '/' {
			continue
		}
		all += string([]byte{byte(c)})
		names["x"+string([]byte{byte(c)})] = true
		if c != '.' {
			names[string([]byte{byte(c)})] = true
		}
	}
	require.Len(t, all, 254)
	for _, n := range []string{all + "z", strings.Repeat("n", 255), strings.Repeat("\xff", 255), strings.Repeat("é", 127), "...", "-rf", " "} {
		names[n] = true
	}
	for n := range names {
		require.NoError(t, os.WriteFile(s.path(n), []byte(n), 0o644), "%q", n)
	}
	for _, dir := range []string{s.mnt, source} {
		got := inodes(t, list(t, dir).all(1<<16))
		require.Equal(t, slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(got)))
		for n := range names {
			text, err := os.ReadFile(dir + "/" + n)
			require.NoError(t, err, "%q", n)
			require.Equal(t, n, string(text))
		}
	}
	for n := range names { // every operation with names
		dir := s.mnt + "/" + n
		require.NoError(t, os.Rename(dir, s.path("other")))
		require.NoError(t, os.Symlink(n, dir))
		to, err := os.Readlink(dir)
		require.NoError(t, err)
		require.Equal(t, n, to)
		require.NoError(t, os.Remove(dir))
		require.NoError(t, os.Link(s.path("other"), dir))
		require.NoError(t, os.Remove(dir))
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.Remove(dir))
		require.NoError(t, os.Remove(s.path("other")))
	}
	require.Empty(t, inodes(t, list(t, source).all(1<<16)))
	long := strings.Repeat("n", 256)
	require.ErrorIs(t, os.Mkdir(s.path(long), 0o755), syscall.ENAMETOOLONG)
	_, err := os.Lstat(s.path(long))
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	target := strings.Repeat("t", 4095)
	require.NoError(t, os.Symlink(target, s.path("long")))
	to, err := os.Readlink(s.path("long"))
	require.NoError(t, err)
	require.Equal(t, target, to)
}

// TestChurn has eight threads that make, rename, link and remove each other's files, and then compares both sides.
func TestChurn(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) {
		for _, o := range []string{"timeout=0", "writeback", "clone_fd", "max_threads=2"} {
			t.Run(o, func(t *testing.T) {
				churnAll(t, mount(t, source, "-o", o), source)
			})
		}
	})
}

func churnAll(t *testing.T, s *server, source string) {
	for d := range 4 {
		require.NoError(t, os.MkdirAll(s.path(fmt.Sprint("d", d)), 0o755))
	}
	errs := make(chan error)
	for thread := range 8 {
		go func() { errs <- churn(s.mnt, thread, scale(150)) }()
	}
	for range 8 {
		require.NoError(t, <-errs)
	}
	sameTree(t, source, s.mnt)
}

// churn works in four directories as one of several; that others got there first is no error.
func churn(dir string, thread, rounds int) error {
	accept := func(err error) error {
		for _, e := range []error{nil, fs.ErrNotExist, fs.ErrExist, syscall.ENOTEMPTY, syscall.ENOTDIR, syscall.EISDIR} {
			if err == e || err != nil && e != nil && isErr(err, e) {
				return nil
			}
		}
		return err
	}
	for i := range rounds {
		at := func(k int) string { return fmt.Sprintf("%s/d%d/f%d", dir, (i+k)%4, (i*7+k*thread)%23) }
		own := fmt.Sprintf("%s/own%d", dir, thread)
		text := []byte(strings.Repeat(fmt.Sprint(thread, " ", i, "\n"), 1+i%500))
		if err := os.WriteFile(own, text, 0o644); err != nil {
			return err
		}
		got, err := os.ReadFile(own)
		if err != nil || !bytes.Equal(text, got) {
			return fmt.Errorf("%s: %d bytes, want %d: %w", own, len(got), len(text), err)
		}
		for _, err := range []error{
			os.Link(own, at(1)), os.Rename(at(1), at(2)), os.Remove(at(3)), os.Mkdir(at(4)+"d", 0o755), os.Remove(at(5) + "d"),
			os.Rename(own, at(6)), os.Symlink(at(1), at(7)),
		} {
			if err := accept(err); err != nil {
				return err
			}
		}
		if _, err := os.ReadDir(fmt.Sprintf("%s/d%d", dir, i%4)); err != nil {
			return err
		}
	}
	return nil
}
