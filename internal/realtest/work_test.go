//go:build linux

package realtest

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// gitEnv keeps git away from the machine's configuration.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := program(t, dir, "git", "git", args...)
	cmd.Env = append(os.Environ(), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	return result(t, cmd)
}

func TestGit(t *testing.T) {
	if !isolated(t) {
		return
	}
	origin := repository(t)
	backings(t, func(t *testing.T, source string) { cloneAndWork(t, passthroughLL.mount(t, source), source, origin) })
}

// repository makes a git repository with a few hundred files.
func repository(t *testing.T) string {
	origin := tempDir(t)
	git(t, origin, "init", "-q", "-b", "main")
	for c := range 3 {
		for d := range 10 {
			dir := filepath.Join(origin, fmt.Sprintf("dir%d", d), "sub")
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for f := range scale(50) {
				text := strings.Repeat(fmt.Sprintf("commit %d dir %d file %d\n", c, d, f), 1+f*c)
				require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d", f)), []byte(text), 0o644))
			}
		}
		git(t, origin, "add", "-A")
		git(t, origin, "commit", "-q", "-m", fmt.Sprint("commit ", c))
	}
	return origin
}

// cloneAndWork has git do most of what it can.
func cloneAndWork(t *testing.T, s *server, source, origin string) {
	clone := s.path("clone")
	git(t, s.mnt, "clone", "-q", "--no-hardlinks", origin, clone)
	git(t, clone, "fsck", "--full", "--strict")
	require.Empty(t, git(t, clone, "status", "--porcelain"))
	git(t, clone, "checkout", "-q", "-b", "work", "HEAD~2")
	require.NoError(t, os.WriteFile(filepath.Join(clone, "dir1/sub/file1"), []byte("changed\n"), 0o644))
	git(t, clone, "commit", "-q", "-a", "-m", "work")
	git(t, clone, "checkout", "-q", "main")
	git(t, clone, "gc", "-q", "--aggressive", "--prune=now")
	git(t, clone, "fsck", "--full", "--strict")
	require.Equal(t, git(t, origin, "rev-parse", "HEAD"), git(t, clone, "rev-parse", "HEAD"))
	require.Empty(t, git(t, clone, "status", "--porcelain"))
	sameTree(t, origin, filepath.Join(source, "clone"))
	sameTree(t, filepath.Join(source, "clone"), clone)
}

// sameTree requires that two directories have the same names, modes and contents, but for .git.
func sameTree(t *testing.T, a, b string) {
	t.Helper()
	list := func(dir string) map[string]string {
		files := map[string]string{}
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			if d.Name() == ".git" {
				return filepath.SkipDir
			}
			info, err := d.Info()
			require.NoError(t, err)
			rel, _ := filepath.Rel(dir, path)
			files[rel] = info.Mode().String()
			if info.Mode().IsRegular() {
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				files[rel] += string(text)
			}
			return nil
		}))
		return files
	}
	require.Equal(t, list(a), list(b))
}

func TestGoBuild(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) { build(t, mount(t, source)) })
}

// build builds this module in the mount.
func build(t *testing.T, s *server) {
	module := strings.TrimSpace(command(t, "", "golang", "go", "list", "-m", "-f", "{{.Dir}}"))
	work := s.path("module")
	parts, err := os.ReadDir(module)
	require.NoError(t, err)
	for _, part := range parts {
		from, to := filepath.Join(module, part.Name()), filepath.Join(work, part.Name())
		switch {
		case part.Name() == "bench" || part.Name()[0] == '.': // a module of its own, and what is no source
		case part.IsDir():
			require.NoError(t, os.MkdirAll(work, 0o755))
			require.NoError(t, os.CopyFS(to, os.DirFS(from)))
		case strings.HasPrefix(part.Name(), "go."):
			text, err := os.ReadFile(from)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, text, 0o644))
		}
	}
	gocmd := func(args ...string) {
		cmd := program(t, work, "golang", "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTMPDIR="+s.mnt, "GOFLAGS=")
		if filepath.Base(t.Name()) == "ext4" && !testing.Short() { // also the standard library, into the mount
			cmd.Env = append(cmd.Env, "GOCACHE="+s.path("cache"))
		}
		result(t, cmd)
	}
	gocmd("build", "-trimpath", "./...")
	gocmd("build", "-trimpath", "-o", "server", "./examples/passthrough_ll")
	out := result(t, exec.Command(filepath.Join(work, "server"), "--help"))
	require.Contains(t, out, "Source directory to be mounted")
}

func TestSQLite(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) {
		for _, o := range []string{"no_writeback", "writeback"} {
			t.Run(o, func(t *testing.T) { sqlite(t, mount(t, source, "-o", o)) })
		}
	})
}

// sqlite has writers that are killed at work and readers beside them.
func sqlite(t *testing.T, s *server) {
	db := s.path("db-" + filepath.Base(t.Name()))
	sql := func(text string) string {
		t.Helper()
		return strings.TrimSpace(command(t, s.mnt, "sqlite3", "sqlite3", "-batch", "-cmd", ".timeout 20000", db, text))
	}
	require.Equal(t, "wal", sql("PRAGMA journal_mode=WAL"))
	sql("CREATE TABLE t(id INTEGER PRIMARY KEY, run INT, pad BLOB); CREATE INDEX i ON t(run);")
	const rows = 20 // of a transaction
	for run := range 3 {
		writer := program(t, s.mnt, "sqlite3", "sqlite3", "-batch", db)
		in, err := writer.StdinPipe()
		require.NoError(t, err)
		out, err := writer.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, writer.Start())
		fmt.Fprintf(in, ".timeout 20000\nPRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=50;\n")
		lines := bufio.NewScanner(out)
		done := 0
		insert := fmt.Sprintf("BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t(run,pad) SELECT %d, randomblob(700) FROM n; COMMIT; SELECT 'done';\n", rows, run)
		for done < scale(40) {
			fmt.Fprint(in, insert)
			for lines.Scan() && lines.Text() != "done" { // what the pragmas say
			}
			require.NoError(t, lines.Err())
			done++
			if done%10 == 0 { // a reader in the middle of it
				n, err := strconv.Atoi(sql(fmt.Sprint("SELECT count(*) FROM t WHERE run=", run)))
				require.NoError(t, err)
				require.Equal(t, done*rows, n)
			}
		}
		fmt.Fprint(in, insert) // the kill may find this one at any point
		require.NoError(t, writer.Process.Kill())
		writer.Wait()
		require.Equal(t, "ok", sql("PRAGMA integrity_check"))
		n, err := strconv.Atoi(sql(fmt.Sprint("SELECT count(*) FROM t WHERE run=", run)))
		require.NoError(t, err)
		require.Contains(t, []int{done * rows, (done + 1) * rows}, n)
	}
	sql("DELETE FROM t WHERE id%3=0; PRAGMA wal_checkpoint(TRUNCATE); VACUUM;")
	require.Equal(t, "ok", sql("PRAGMA integrity_check"))
}

func TestFio(t *testing.T) {
	if !isolated(t) {
		return
	}
	backings(t, func(t *testing.T, source string) {
		for _, o := range []string{"no_writeback", "writeback"} {
			t.Run(o, func(t *testing.T) {
				fio(t, mount(t, source, "-o", o))
			})
		}
	})
}

// fio writes and verifies.
func fio(t *testing.T, s *server) {
	for _, how := range []string{"--direct=0", "--direct=1", "--ioengine=mmap"} {
		command(t, s.mnt, "fio", "fio", "--name=verify", "--directory="+s.mnt, how, "--rw=randrw", "--rwmixread=30", "--bsrange=4k-128k",
			fmt.Sprintf("--size=%dm", scale(24)), "--numjobs=4", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=64",
			"--end_fsync=1", "--group_reporting", "--randrepeat=1", "--overwrite=0", "--unlink=1", "--fallocate=none", "--verify_state_save=0")
	}
}
