//go:build linux

package realtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/purefuse/purefuse/lowlevel"
	"github.com/purefuse/purefuse/session"
)

func init() {
	// holder DIR mounts a file system that answers everything but STATFS, which it keeps, and takes commands. Errors go out
	// as one line; so does the reason why it cannot mount.
	programs["holder"] = func(args []string) error {
		held := make(chan string, 1)
		s, err := lowlevel.New(&lowlevel.Operations{
			Getattr: func(r lowlevel.AttrReq, ino lowlevel.NodeID, _ *lowlevel.FileInfo) {
				r.ReplyAttr(&lowlevel.Stat{Ino: uint64(ino), Mode: syscall.S_IFDIR | 0o755, Nlink: 2}, time.Second)
			},
			Statfs: func(r lowlevel.StatfsReq, _ lowlevel.NodeID) {
				ctx := r.Context()
				held <- "held"
				go func() {
					<-ctx.Done()
					if errors.Is(context.Cause(ctx), lowlevel.Interrupted) {
						r.ReplyErr(syscall.EINTR)
						held <- "interrupted"
					}
				}()
			},
		}, nil)
		if err != nil {
			return err
		}
		if err := s.Mount(context.Background(), args[0]); err != nil {
			fmt.Println(err)
			return nil
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background()) }()
		<-s.Ready()
		fmt.Println("mounted")
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			ctx, cancel := context.WithTimeout(context.Background(), patient/2)
			answer := "ok"
			switch in.Text() {
			case "normal":
				err = s.Unmount(ctx, 0)
			case "lazy":
				err = s.Unmount(ctx, session.UnmountLazy)
			case "close":
				err = s.Close()
			case "served":
				err = <-served
				if _, early := errors.AsType[*session.StateError](err); early {
					err = nil // Close came before Serve
				}
			case "held":
				answer, err = <-held, nil
			case "list":
				answer, err = "", nil
				for i := range s.InFlight() {
					answer += fmt.Sprint(i.Op, " of ", i.PID)
				}
			}
			cancel()
			if err != nil {
				answer = err.Error()
				if errors.Is(err, syscall.EBUSY) {
					answer = "EBUSY " + answer
				}
			}
			fmt.Println(answer)
		}
		return in.Err()
	}
	// user DIR HOW uses a mount until its input ends, and says what came of its one system call.
	programs["user"] = func(args []string) error {
		err := error(nil)
		switch args[1] {
		case "open file":
			_, err = unix.Open(args[0], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		case "cwd inside":
			err = os.Chdir(args[0])
		case "request in flight":
			fmt.Println("going")
			err = unix.Statfs(args[0], new(unix.Statfs_t))
		}
		fmt.Println(err)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); { // any line: what the file or directory answers now
			fmt.Println(unix.Stat(".", new(unix.Stat_t)))
		}
		return nil
	}
}

// userMounts is a tmpfs for mount points; everybody may open /dev/fuse now, as on most machines.
func userMounts(t *testing.T) string {
	dir := tmpfs(t)
	node := filepath.Join(dir, "fuse")
	require.NoError(t, unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))))
	require.NoError(t, os.Chmod(node, 0o666))
	require.NoError(t, unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount("/dev/fuse", unix.MNT_DETACH) })
	return dir
}

// timed runs f; if that takes too long, the connection of the mount is aborted and the test has failed.
func timed(t *testing.T, mnt string, f func()) {
	in := mounted(t, mnt)
	dog := time.AfterFunc(patient, func() {
		if in != nil {
			os.WriteFile(fmt.Sprintf("%s/%d/abort", connections, in.Major<<20|in.Minor), []byte("1"), 0)
		}
		t.Errorf("takes more than %v", patient)
	})
	defer dog.Stop()
	f()
}

// TestUnmount ends mounts that are used in all the ways in which they can be used.
func TestUnmount(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := userMounts(t)
	for _, uid := range []uint32{0, nobody} {
		for _, state := range []string{"idle", "open file", "cwd inside", "request in flight", "aborted", "server killed", "server killed, open file", "server killed, cwd inside", "server killed, request in flight"} {
			for _, how := range []string{"normal", "lazy", "close"} {
				if how == "close" && strings.HasPrefix(state, "server killed") {
					continue
				}
				t.Run(fmt.Sprint(uid, " ", state, " ", how), func(t *testing.T) {
					mnt := filepath.Join(dir, strings.NewReplacer("/", "_", " ", "_", ",", "").Replace(t.Name()))
					require.NoError(t, os.Mkdir(mnt, 0o755))
					require.NoError(t, os.Chown(mnt, int(uid), int(uid)))
					server := talkTo(t, as(uid, self(t, "holder", mnt)))
					require.Equal(t, "mounted", server.hear())
					t.Cleanup(func() { unix.Unmount(mnt, unix.MNT_DETACH) })
					timed(t, mnt, func() { endMount(t, server, mnt, uid, state, how) })
				})
			}
		}
	}
}

func endMount(t *testing.T, server *peer, mnt string, uid uint32, state, how string) {
	killed := strings.HasPrefix(state, "server killed")
	use := strings.TrimPrefix(strings.TrimPrefix(state, "server killed"), ", ")
	var user *peer
	if use != "" && use != "idle" && use != "aborted" {
		user = talkTo(t, as(uid, self(t, "user", mnt, use)))
		if use == "request in flight" {
			require.Equal(t, "going", user.hear())
			require.Equal(t, "held", server.do("held"))
			require.Equal(t, fmt.Sprint("STATFS of ", user.cmd.Process.Pid), server.do("list"))
		} else {
			require.Equal(t, "<nil>", user.hear())
		}
	}
	leave := func() {
		if user != nil {
			require.NoError(t, user.in.Close())
			require.NoError(t, user.cmd.Wait())
			user = nil
		}
	}
	heard := false
	ended := func() { // the user's request
		if use == "request in flight" && !heard {
			heard = true
			require.Contains(t, []string{syscall.ENOTCONN.Error(), syscall.ECONNABORTED.Error()}, user.hear())
		}
	}
	if killed {
		require.NoError(t, server.cmd.Process.Kill())
		require.Error(t, server.cmd.Wait())
		ended()
		stale(t, mnt, uid)
		busy := user != nil && use != "request in flight" // whose only call has returned
		code, out := unmountAs(t, uid, mnt, how == "lazy")
		if busy && how == "normal" {
			require.NotZero(t, code)
			require.Contains(t, out, "busy")
			require.NotNil(t, mounted(t, mnt))
			leave()
			code, out = unmountAs(t, uid, mnt, false)
		}
		require.Zero(t, code, out)
		require.Nil(t, mounted(t, mnt))
		leave()
		return
	}
	if state == "aborted" {
		in := mounted(t, mnt)
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/%d/abort", connections, in.Major<<20|in.Minor), []byte("1"), 0))
		require.Equal(t, "ok", server.do("served"), "the session ends by itself")
		require.NotNil(t, mounted(t, mnt))
	}
	answer := server.do(how)
	if user != nil && how == "normal" {
		require.Regexp(t, "^EBUSY fuse: failed to unmount "+mnt+": .*[dD]evice or resource busy.* \\(open files or a working directory in it\\)$", answer)
		require.NotNil(t, mounted(t, mnt))
		if use == "request in flight" {
			answer = server.do("close") // nothing gentler ends a request that is never answered
		} else {
			leave()
			answer = server.do(how)
		}
	}
	require.Equal(t, "ok", answer)
	require.Nil(t, mounted(t, mnt))
	if use == "request in flight" && how == "lazy" {
		require.Equal(t, "ok", server.do("close")) // the request holds the connection
	}
	ended()
	if use == "cwd inside" && user != nil {
		// A lazy unmount lets those go on who are inside, a closed session does not.
		require.Equal(t, map[string]string{"lazy": "<nil>", "close": syscall.ENOTCONN.Error()}[how], user.do("?"))
	}
	leave()
	if state != "aborted" {
		require.Equal(t, "ok", server.do("served"))
	}
	require.Equal(t, "ok", server.do("close"))
	require.NoError(t, server.in.Close())
	require.NoError(t, server.cmd.Wait())
}

// stale requires that a mount whose server is gone says so, also to a server that wants the place.
func stale(t *testing.T, mnt string, uid uint32) {
	require.NotNil(t, mounted(t, mnt))
	next := talkTo(t, as(uid, self(t, "holder", mnt)))
	require.Equal(t, "fuse: failed to mount on "+mnt+": failed to access mountpoint: transport endpoint is not connected", next.hear())
	require.NoError(t, next.cmd.Wait())
	require.NotNil(t, mounted(t, mnt), "what is not ours stays")
}

// unmountAs is what is left to do for uid when the server is gone.
func unmountAs(t *testing.T, uid uint32, mnt string, lazy bool) (code int, out string) {
	t.Helper()
	args := []string{"-u", mnt}
	if lazy {
		args = []string{"-u", "-z", mnt}
	}
	cmd := as(uid, program(t, "/", "fuse3", "fusermount3", args...))
	b, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(b)
}

// TestInterrupt sends a real signal to a process that waits in a real mount, and another one that kills it.
func TestInterrupt(t *testing.T) {
	if !isolated(t) {
		return
	}
	mnt := filepath.Join(tmpfs(t), "mnt")
	require.NoError(t, os.Mkdir(mnt, 0o755))
	server := talkTo(t, self(t, "holder", mnt))
	require.Equal(t, "mounted", server.hear())
	t.Cleanup(func() { unix.Unmount(mnt, unix.MNT_DETACH) })
	timed(t, mnt, func() {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			user := talkTo(t, self(t, "user", mnt, "request in flight"))
			require.Equal(t, "going", user.hear())
			require.Equal(t, "held", server.do("held"))
			require.NoError(t, user.cmd.Process.Signal(sig))
			require.Equal(t, "interrupted", server.do("held"))
			require.Error(t, user.cmd.Wait())
			require.Equal(t, sig, user.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
			require.Empty(t, server.do("list"))
		}
		require.Equal(t, "ok", server.do("normal"))
		require.Equal(t, "ok", server.do("served"))
	})
}
