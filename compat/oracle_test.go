//go:build linux

package compat

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/purefuse/purefuse/compat/opt"
	"github.com/stretchr/testify/require"
)

// oracleOpt is what testdata/cmdline.c does with fuse_opt_parse.
func oracleOpt(args *opt.Args) string {
	var (
		u, o         uint32
		s, x         string
		flag, two, i int
		f            float64
		out          []string
	)
	err := opt.Parse(args, []opt.Opt{
		opt.Scan("u=%u", &u), opt.Scan("s=%s", &s), opt.Scan("-x %s", &x),
		opt.Set("flag", &flag, 1), opt.Set("noflag", &flag, 0),
		opt.Set("multi", &flag, 7), opt.Set("multi", &two, 9),
		opt.Scan("f=%lf", &f), opt.Scan("o=%o", &o), opt.Set("mode=ro", &i, 5), opt.Set("set=", &i, 3),
		opt.Scan("--long=%s", &s),
		opt.Keep("keep"), opt.Discard("drop"), opt.Key("k=", 42), opt.Key("-y ", 43),
	}, func(arg string, key int, _ *opt.Args) (opt.Action, error) {
		out = append(out, fmt.Sprint("call ", key), arg)
		switch {
		case strings.Contains(arg, "Z"):
			return opt.Drop, errStop
		case strings.Contains(arg, "D"):
			return opt.Drop, nil
		}
		return opt.KeepArg, nil
	})
	rc, msg := 0, ""
	if err != nil {
		if rc = -1; err != errStop {
			msg = err.Error() + "\x02"
		}
	}
	out = append(out, fmt.Sprintf("rc %d u %d o %d flag %d two %d i %d f %s", rc, u, o, flag, two, i, formatG(f)), s, x, msg)
	return strings.Join(append(out, args.Argv...), "\x01")
}

var errStop = errors.New("stop")

// formatG is C's %g for the few numbers that the test uses.
func formatG(f float64) string {
	return strings.NewReplacer("+Inf", "inf", "-Inf", "-inf", "NaN", "nan").Replace(fmt.Sprintf("%.6g", f))
}

// oracleCmdline is what testdata/cmdline.c does with fuse_parse_cmdline.
func oracleCmdline(args *opt.Args) string {
	n := map[bool]int{true: 1}
	var out []string
	o, err := ParseCmdline(args)
	if err == nil {
		out = append(out, fmt.Sprintf("s %d f %d d %d n %d v %d h %d c %d idle %d max %d", n[o.SingleThread], n[o.Foreground], n[o.Debug],
			n[o.NoDefaultSubtype], n[o.ShowVersion], n[o.ShowHelp], n[o.CloneFD], o.MaxIdleThreads, o.MaxThreads), o.Mountpoint, "")
	} else {
		out = append(out, err.Error()+"\x02")
	}
	return strings.Join(append(out, args.Argv...), "\x01")
}

// compileC builds testdata/NAME.c with the installed libfuse.
func compileC(t *testing.T, name string) string {
	const need = "needs gcc, pkg-config and libfuse3-dev"
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "fuse3").Output()
	require.NoError(t, err, need)
	program := filepath.Join(t.TempDir(), name)
	args := append([]string{"-O1", "-Wall", "-o", program, "testdata/" + name + ".c"}, strings.Fields(string(flags))...)
	out, err := exec.Command("gcc", args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", need, out)
	return program
}

// Random command lines come out of libfuse's parsers and ours the same: values, calls, messages, what is left.
func TestAgainstLibfuse(t *testing.T) {
	oracle := compileC(t, "cmdline")
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(tmp+"/d/e", 0o755))
	require.NoError(t, os.WriteFile(tmp+"/f", nil, 0o644))
	for link, target := range map[string]string{"l": "d/e", "m": tmp + "/l/", "loop": "loop", "dead": "x"} {
		require.NoError(t, os.Symlink(target, tmp+"/"+link))
	}
	t.Chdir(tmp)

	pieces := map[byte][]string{
		'o': {"-o", "-o", "-ou=", "u=", "12", "-1", "99999999999", "s=", "a,b", `\,`, `\054`, `\101`, `\999`, `\`, "-x", "val", "--", "-", "",
			"keep", "drop", "k=", "5", "-y", "--long=", "--long", "multi", "mode=ro", "mode=rw", "set=", "f=", "1.5", "1e3", "inf", "o=", "0777", "8",
			"flag", "noflag", "-flag", ",", ",", ",", "=", " ", "x", "D", "Z", "'", `"`, "%", "é"},
		'c': {"-o", "-o", "-h", "--help", "-V", "--version", "-d", "debug", "-f", "-s", "fsname=", "subtype=", "clone_fd", "max_threads=", "max_idle_threads=",
			"3", "-1", ",", ",", `\`, "--debug", "--", "", "foo", "/dev/fd/777", "/dev/fd/007", ".", "d", "d/e", "l", "m", "l/..", "m/", "f", "f/", "f/..",
			"loop", "dead", "..", "/", "//", "/proc", "/proc/..", "d/./e/", "x"},
	}
	rnd := rand.New(rand.NewPCG(3, 19))
	var in strings.Builder
	var want []string
	var lines [][]string
	for i := range 4000 {
		kind := "oc"[i%2]
		argv := []string{[]string{"p", "/usr/bin/p", "p/", "", "a,b"}[rnd.IntN(5)]}
		for range rnd.IntN(5) {
			arg := ""
			for range 1 + rnd.IntN(1+rnd.IntN(6)) {
				arg += pieces[kind][rnd.IntN(len(pieces[kind]))]
			}
			argv = append(argv, arg)
		}
		in.WriteString(string(kind) + "\x01" + strings.Join(argv, "\x01") + "\n")
		args := opt.NewArgs(argv...)
		if kind == 'o' {
			want = append(want, oracleOpt(args))
		} else {
			want = append(want, oracleCmdline(args))
		}
		lines = append(lines, argv)
	}
	cmd := exec.Command(oracle)
	cmd.Stdin, cmd.Stderr = strings.NewReader(in.String()), os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	require.Len(t, got, len(want))
	for i, g := range got {
		require.Equal(t, strings.TrimPrefix(g, "\x01"), want[i], "%q", lines[i])
	}
}

// A C program and its Go twin end the same way, with the same words.
func TestMainAgainstLibfuse(t *testing.T) {
	if !isolated(t) {
		return
	}
	twin := compileC(t, "main")
	dir := mountpoint(t)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	both := func(argv []string, during func(p *program)) (code [2]int, msg [2]string) {
		for i, c := range []bool{true, false} {
			p := newProgram(highProgram, nil, argv...)
			if c {
				p.Path, p.Env = twin, os.Environ()
			}
			p.begin(t)
			if during != nil {
				waitMounted(t, p, dir)
				during(p)
			}
			code[i], msg[i] = p.code(t), p.err.String()
			require.Empty(t, fsType(t, dir))
		}
		return code, msg
	}
	for _, argv := range [][]string{
		{"high"}, {"high", "-f", "-s"}, {"high", "-ofoo"}, {"high", "/nonexistent"}, {"high", dir, "extra"}, {"high", dir, "-o"},
		{"high", "-f", dir, "-ofoo,bar"}, {"high", "-f", dir, "-o", "use_ino,ro", "-x", "--long"}, {"high", "-f", dir, "-orelatime"},
		{"high", "-f", dir, "-ononempty"}, {"high", "-f", dir, "-omax_threads="}, {"high", "-f", dir, "-ouid=x"},
		{"high", "-f", dir, "-oentry_timeout="}, {"high", "-f", dir, `-oa\\b,c\,d`}, {"high", "-f", file + "/"},
		{"high", "-f", dir, "-omodules=subdir"}, {"high", "-f", "--", "-o"}, {"", dir, "-f", "-ofoo"}, {"-high", "-f", dir, "-ofoo"},
	} {
		code, msg := both(argv, nil)
		require.NotZero(t, code[0], argv)
		require.Equal(t, code[0], code[1], "%q: %q", argv, msg)
		require.Equal(t, msg[0], msg[1], argv)
	}
	for _, argv := range [][]string{{"high", "-h"}, {"high", "-V"}, {"high", "-h", "-V", "-ofoo"}} {
		code, _ := both(argv, nil) // the versions differ
		require.Equal(t, [2]int{}, code, argv)
	}
	// Debian's 3.14 grumbles about their own default of max_idle_threads.
	code, msg := both(words("high", "-f", dir), func(*program) { unmount(t, dir) })
	require.Equal(t, [2]int{}, code)
	require.Empty(t, msg[1])
	code, msg = both(words("high", "-f", dir, "-oblkdev"), nil)
	require.Equal(t, [2]int{4, 4}, code, msg)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		code, msg := both(words("high", "-f", dir), func(p *program) {
			os.Stat(dir) // answered when the handlers are there
			require.NoError(t, p.Process.Signal(sig))
		})
		require.Equal(t, [2]int{8, 8}, code)
		require.Empty(t, msg[1])
	}
}
