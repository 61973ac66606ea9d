//go:build linux

package opt

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// target is what the templates of the test vectors set.
type target struct {
	U, O       uint32
	S, X       string
	Flag, Two  int
	F          float64
	I          int
	Keep, Drop bool // never set
}

// templates are those with which the test vectors were run through libfuse.
func (v *target) templates() []Opt {
	return []Opt{
		Scan("u=%u", &v.U), Scan("s=%s", &v.S), Scan("-x %s", &v.X),
		Set("flag", &v.Flag, 1), Set("noflag", &v.Flag, 0),
		Set("multi", &v.Flag, 7), Set("multi", &v.Two, 9),
		Scan("f=%lf", &v.F), Scan("o=%o", &v.O), Set("mode=ro", &v.I, 5), Set("set=", &v.I, 3),
		Scan("--long=%s", &v.S), Keep("keep"), Discard("drop"), Key("k=", 42), Key("-y ", 43),
	}
}

func TestParse(t *testing.T) {
	words := func(w ...string) []string { return w }
	for _, c := range []struct {
		in    []string
		want  target
		calls []string // of proc
		out   []string
		err   string
	}{
		{in: words("-o", "u=12abc"), want: target{U: 12}},
		{in: words("-ou=-1"), want: target{U: 4294967295}},
		{in: words("-ou=99999999999"), want: target{U: 1215752191}},
		{in: words("-o", "u="), err: "fuse: invalid parameter in option `u='"},
		{in: words("-o", "s="), want: target{}},
		{in: words("-o", `s=a\,b,flag`), want: target{S: "a,b", Flag: 1}},
		{in: words("-o", `s=\054\101`), want: target{S: ",A"}},
		{in: words("-o", `s=\999`), want: target{S: "999"}},
		{in: words("-xval"), want: target{X: "val"}},
		{in: words("-x", "val"), want: target{X: "val"}},
		{in: words("-x"), err: "fuse: missing argument after `-x'"},
		{in: words("--long", "v"), calls: words("--long,-1", "v,-2"), out: words("--long", "v")},
		{in: words("--long=v"), want: target{S: "v"}},
		{in: words("-o", "multi"), want: target{Flag: 7, Two: 9}},
		{in: words("-o", "mode=ro,mode=rw"), want: target{I: 5}, calls: words("mode=rw,-1"), out: words("-o", "mode=rw")},
		{in: words("-o", "set=anything"), want: target{I: 3}},
		{in: words("-o", `keep,drop,k=5,unk\,x`), calls: words("k=5,42", "unk,x,-1"), out: words("-o", `keep,k=5,unk\,x`)},
		{in: words("-y", "arg"), calls: words("-yarg,43"), out: words("-yarg")},
		{in: words("-yarg"), calls: words("-yarg,43"), out: words("-yarg")},
		{in: words("a", "--", "-o", "b"), calls: words("a,-2", "-o,-2", "b,-2"), out: words("a", "--", "-o", "b")},
		{in: words("a", "--"), calls: words("a,-2"), out: words("a")},
		{in: words("-o", "keep", "--"), out: words("-o", "keep", "--")},
		{in: words("-o", ""), calls: words(",-1"), out: words("-o", "")},
		{in: words("-o", "a,,b"), calls: words("a,-1", ",-1", "b,-1"), out: words("-o", "a,,b")},
		{in: words("-o", ","), calls: words(",-1", ",-1"), out: words("-o", "")},
		{in: words("-"), calls: words("-,-1"), out: words("-")},
		{in: words("-o", "o=0777"), want: target{O: 0o777}},
		{in: words("-o", "o=8"), err: "fuse: invalid parameter in option `o=8'"},
		{in: words("-o", "f=1.5s"), want: target{F: 1.5}},
		{in: words("-o", "flag", "-o", "noflag", "-o", "flag"), want: target{Flag: 1}},
		{in: words("-o"), err: "fuse: missing argument after `-o'"},
		{in: words("flag"), calls: words("flag,-2"), out: words("flag")},
		{in: words("-flag"), calls: words("-flag,-1"), out: words("-flag")},
		// What the vectors imply.
		{in: words("-o", "u"), calls: words("u,-1"), out: words("-o", "u")},
		{in: words("-o", "s=1", "-os=2"), want: target{S: "2"}},
		{in: words("-o", `s=a\`), want: target{S: `a\`}},
		{in: words("-o", `s=a\000b,flag`), want: target{S: "a", Flag: 1}},
		{in: words("-o", `s="a,b"`), want: target{S: `"a`}, calls: words(`b",-1`), out: words("-o", `b"`)},
		{in: words("-o", "-x", "v", "a"), want: target{X: "v"}, calls: words("a,-2"), out: words("a")},
		{in: words("x", "-oa", "-b", "-ob\\\\"), calls: words("x,-2", "a,-1", "-b,-1", `b\,-1`), out: words("-o", `a,b\\`, "x", "-b")},
		{in: words("--", "a"), calls: words("a,-2"), out: words("--", "a")},
		{in: words("--")},
		{in: words("", "--", "--"), calls: words(",-2", "--,-2"), out: words("", "--", "--")},
		{in: words("-o", "flag,u=,noflag"), want: target{Flag: 1}, err: "fuse: invalid parameter in option `u='"},
	} {
		t.Run(strings.Join(c.in, " "), func(t *testing.T) {
			in := append([]string{"prog"}, c.in...)
			args := NewArgs(in...)
			var got target
			got.S = "old"
			var calls []string
			err := Parse(args, got.templates(), func(arg string, key int, out *Args) (Action, error) {
				require.Equal(t, "prog", out.Argv[0])
				calls = append(calls, fmt.Sprintf("%s,%d", arg, key))
				return KeepArg, nil
			})
			if got.S == "old" {
				got.S = ""
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.calls, calls)
			if c.err != "" {
				require.EqualError(t, err, c.err)
				require.Equal(t, in, args.Argv)
				return
			}
			require.NoError(t, err)
			require.Equal(t, append([]string{"prog"}, c.out...), args.Argv)
		})
	}
}

func TestParseEmpty(t *testing.T) {
	require.NoError(t, Parse(nil, nil, nil))
	var a Args
	require.NoError(t, Parse(&a, nil, nil))
	require.Empty(t, a.Argv)
	a.Add("-o") // the program's name, whatever it looks like
	require.NoError(t, Parse(&a, []Opt{Discard("-o")}, nil))
	require.Equal(t, []string{"-o"}, a.Argv)
}

func TestParseEmptyString(t *testing.T) {
	s := "old"
	require.NoError(t, Parse(NewArgs("p", "-os="), []Opt{Scan("s=%s", &s)}, nil))
	require.Empty(t, s)
}

func TestProc(t *testing.T) {
	args := NewArgs("p", "a", "-ob,c", "-d")
	require.NoError(t, Parse(args, nil, nil)) // everything is kept
	require.Equal(t, []string{"p", "-o", "b,c", "a", "-d"}, args.Argv)

	// A proc may add arguments, and drop what it was asked about.
	require.NoError(t, Parse(args, nil, func(arg string, key int, out *Args) (Action, error) {
		if key == KeyNonOpt {
			out.Add("--was=" + arg)
			return Drop, nil
		}
		return KeepArg, nil
	}))
	require.Equal(t, []string{"p", "-o", "b,c", "--was=a", "-d"}, args.Argv)

	stop := errors.New("stop")
	var seen []string
	err := Parse(args, nil, func(arg string, key int, out *Args) (Action, error) {
		seen = append(seen, arg)
		if arg == "c" {
			return KeepArg, stop
		}
		return Drop, nil
	})
	require.Equal(t, stop, err)
	require.Equal(t, []string{"b", "c"}, seen)
	require.Equal(t, []string{"p", "-o", "b,c", "--was=a", "-d"}, args.Argv)
}

// An option that matches several templates with two arguments takes an argument for each.
func TestSeveralTwoArgumentTemplates(t *testing.T) {
	var a, b string
	args := NewArgs("p", "-x", "1", "2", "3")
	require.NoError(t, Parse(args, []Opt{Scan("-x %s", &a), Scan("-x %s", &b)}, nil))
	require.Equal(t, []string{"1", "2"}, []string{a, b})
	require.Equal(t, []string{"p", "3"}, args.Argv)
}

func TestCallersSliceIsNotWritten(t *testing.T) {
	argv := make([]string, 3, 10)
	copy(argv, []string{"p", "-oa", "b"})
	args := NewArgs(argv...)
	args.Add("x")
	args.Insert(1, "y")
	require.NoError(t, Parse(args, nil, nil))
	require.Equal(t, []string{"p", "-o", "a", "y", "b", "x"}, args.Argv)
	require.Equal(t, []string{"p", "-oa", "b", "", ""}, argv[:5])
	require.Panics(t, func() { args.Insert(7, "z") })
}

func TestMatch(t *testing.T) {
	var v target
	opts := v.templates()
	for arg, want := range map[string]bool{
		"u=": true, "u=5": true, "u": false, "flag": true, "flag=": false, "-x": true, "-xyz": true, "-": false, "": false,
		"mode=ro": true, "mode=r": false, "mode=": false, "set=": true, "set=1": true, "set": false, "k=": true, "-y": true,
		"drop": true, "keep": true, "--long": false, "--long=": true,
	} {
		require.Equal(t, want, Match(opts, arg), arg)
	}
}

func TestAddOpt(t *testing.T) {
	var list string
	AddOpt(&list, "a")
	AddOpt(&list, "b,c")
	AddOptEscaped(&list, `d,\e`)
	require.Equal(t, `a,b,c,d\,\\e`, list)
	require.Equal(t, []string{"a", "b", "c", `d,\e`}, Split(list))
}

func TestMisuse(t *testing.T) {
	var (
		u8  uint8
		i32 int32
		u64 uint64
		f32 float32
		s   string
		b   bool
	)
	for i, f := range []func(){
		func() { Scan("x", &u64) },
		func() { Scan("x=", &u64) },
		func() { Scan("x=abc", &s) },
		func() { Scan("x=%s", &u64) },
		func() { Scan("x=%u", &s) },
		func() { Scan("x=%u", &u8) },
		func() { Scan("x=%lu", &i32) },
		func() { Scan("x=%lf", &f32) },
		func() { Scan("x=%f", &u64) },
		func() { Scan("x=%u", &b) },
		func() { Scan("x=%u", u64) },
		func() { Scan("x=%u", nil) },
		func() { Scan("x=%p", &u64) },
		func() { Scan("x=%", &u64) },
		func() { Scan("x=%u:%u", &u64) },
		func() { Scan("x=%0u", &u64) },
		func() { Scan("x=%hf", &f32) },
		func() { Scan("x=%hhhu", &u64) },
		func() { Set("x=%u", &u64, 1) },
	} {
		require.Panics(t, f, "case %d", i)
	}
}

// scanOne runs one value through a template.
func scanOne(t *testing.T, format, value string, dst any) bool {
	err := Parse(&Args{[]string{"p", "-o", "v=" + Escape(value)}}, []Opt{Scan("v="+format, dst)}, nil)
	if err != nil {
		require.EqualError(t, err, "fuse: invalid parameter in option `v="+value+"'")
	}
	return err == nil
}

func TestScanf(t *testing.T) {
	table, err := os.ReadFile("testdata/scanf.txt")
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(table)) {
		if line[0] == '#' {
			continue
		}
		n++
		f := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		format, want := f[0], f[2]
		value := strings.NewReplacer(`\t`, "\t", `\v`, "\v").Replace(f[1])
		if strings.HasSuffix(format, "f") {
			var f64 float64
			var f32 float32
			ok := false
			if strings.HasSuffix(format, "lf") {
				ok = scanOne(t, format, value, &f64)
			} else if ok = scanOne(t, format, value, &f32); ok {
				f64 = float64(f32)
			}
			require.Equal(t, want != "-", ok, line)
			w, _ := strconv.ParseFloat(want, 64)
			require.True(t, w == f64 || math.IsNaN(w) && math.IsNaN(f64), "%s: %v", line, f64)
			continue
		}
		var got uint64
		var ok bool
		switch bits := strings.TrimRight(format, "duiox"); {
		case strings.HasSuffix(bits, "hh"):
			var v uint8
			ok = scanOne(t, format, value, &v)
			got = uint64(v)
		case strings.HasSuffix(bits, "h"):
			var v int16
			ok = scanOne(t, format, value, &v)
			got = uint64(uint16(v))
		case strings.HasSuffix(bits, "l"):
			ok = scanOne(t, format, value, &got)
		default:
			var v uint32
			ok = scanOne(t, format, value, &v)
			got = uint64(v)
		}
		if want == "-" {
			require.False(t, ok, line)
			continue
		}
		require.True(t, ok, line)
		require.Equal(t, want, strconv.FormatUint(got, 10), line)
	}
	require.Greater(t, n, 500)
}

// A target may be wider than what is converted, or have the other sign.
func TestScanTargets(t *testing.T) {
	type mode uint32
	var m mode
	require.True(t, scanOne(t, "%o", "0755", &m))
	require.EqualValues(t, 0o755, m)
	var i64 int64
	require.True(t, scanOne(t, "%u", "-1", &i64))
	require.EqualValues(t, uint32(math.MaxUint32), i64)
	require.True(t, scanOne(t, "%d", "-1", &i64))
	require.EqualValues(t, -1, i64)
	var u64 uint64
	require.True(t, scanOne(t, "%d", "-1", &u64))
	require.EqualValues(t, uint64(math.MaxUint64), u64)
	var u32 uint32
	require.True(t, scanOne(t, "%d", "-1", &u32))
	require.EqualValues(t, uint32(math.MaxUint32), u32)
	var i32 int32
	require.True(t, scanOne(t, "%u", "4294967295", &i32))
	require.EqualValues(t, -1, i32)
	require.True(t, scanOne(t, "%u kB", "7 MB", &i32))
	require.EqualValues(t, 7, i32)
	var f64 float64
	require.True(t, scanOne(t, "%f", "0.1", &f64))
	require.Equal(t, float64(float32(0.1)), f64)
}

// What Split finds and Escape protects comes back, whatever the list was.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", ",", "a,b", `a\,b`, `\054\101`, `\999`, `a\`, `\\`, `\377`, `\000x`, "\x00", "ro,fsname=\"a,b\"", `\1`, `\,,\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		words := Split(list)
		require.NotEmpty(t, words)
		var again string
		for i, w := range words {
			if i > 0 {
				again += ","
			}
			again += Escape(w)
		}
		require.Equal(t, words, Split(again))

		// Through a parser that keeps everything it is the same, but for empty elements at the beginning, and a second run
		// changes nothing.
		again = strings.TrimLeft(again, ",")
		args := NewArgs("p", "-o", list)
		require.NoError(t, Parse(args, nil, nil))
		require.Equal(t, []string{"p", "-o", again}, args.Argv)
		require.NoError(t, Parse(args, nil, nil))
		require.Equal(t, []string{"p", "-o", again}, args.Argv)
	})
}

// No command line panics; what is kept is kept again; a failure changes nothing.
func FuzzParse(f *testing.F) {
	f.Add("-o\nu=1,s=2\n-x\n3\na\n--\n-b")
	f.Add("--long=x\n-y\n-o\n,")
	f.Add("-o\nf=1e-3,o=7,k=,mode=ro,mode=\n--")
	f.Fuzz(func(t *testing.T, text string) {
		in := append([]string{"p"}, strings.Split(text, "\n")...)
		args := NewArgs(in...)
		var v target
		if err := Parse(args, v.templates(), nil); err != nil {
			require.Equal(t, in, args.Argv)
			return
		}
		out := args.Argv
		require.NoError(t, Parse(args, nil, nil))
		if len(out) > 0 && out[len(out)-1] == "--" {
			return // which a second run may take away
		}
		require.Equal(t, out, args.Argv)
	})
}
