//go:build linux

// Package opt is libfuse's option parser, fuse_opt, with typed targets in place of offsets into a struct.
//
// A program lists templates; each option of the command line is held against all of them, in order, and every one that
// matches is carried out, so that one option can set several variables:
//
//	var size uint32
//	var name string
//	var fast bool
//	opts := []opt.Opt{
//		opt.Scan("size=%u", &size),
//		opt.Scan("-n %s", &name),
//		opt.Set("fast", &fast, true),
//		opt.Set("slow", &fast, false),
//		opt.Key("--help", keyHelp),
//	}
//	err := opt.Parse(args, opts, proc)
//
// # Templates
//
//   - "-x", "--long", "word": exactly that, alone or, without a dash, as an element of -o.
//   - "word=%u", "--long=%s": what begins with all up to and including the '='; the rest is converted.
//   - "-x %s": "-xVALUE", or "-x" and the next argument.
//   - "word=", "-x ": as the two above, for Set, Key, Keep and Discard.
//   - "word=value": exactly that.
//
// There are no abbreviations, and later options win.
//
// # Command lines
//
// "-oLIST" and "-o LIST" hold options with commas between them. In a list a backslash takes the next character, or the
// byte of three octal digits up to \377, literally; quotes mean nothing. After "--", and without a dash in front, an
// argument is no option (KeyNonOpt).
package opt

import (
	"fmt"
	"slices"
	"strings"
)

// Args is a command line, libfuse's struct fuse_args. The first element is the program's name and never an option.
type Args struct{ Argv []string }

// NewArgs is a command line of argv, FUSE_ARGS_INIT. Parse does not write to the slice that is passed.
func NewArgs(argv ...string) *Args { return &Args{argv} }

// Add appends an argument, fuse_opt_add_arg.
func (a *Args) Add(arg string) { a.Argv = append(a.Argv[:len(a.Argv):len(a.Argv)], arg) }

// Insert puts an argument at pos, which must be within the command line or at its end, fuse_opt_insert_arg.
func (a *Args) Insert(pos int, arg string) {
	a.Argv = slices.Insert(slices.Clone(a.Argv), pos, arg)
}

// The special keys that a Proc sees. Those of Key should not be negative.
const (
	KeyOpt     = -1 // an option that matched no template
	KeyNonOpt  = -2 // an argument that is no option
	KeyKeep    = -3 // Key with it is Keep
	KeyDiscard = -4 // Key with it is Discard
)

// Action says what becomes of an argument.
type Action int

const (
	Drop    Action = iota // it has been dealt with
	KeepArg               // it stays on the command line, for the next parser
)

// Proc is called for each argument that no template sets a variable from: with the template's key, KeyOpt or KeyNonOpt.
// The option and the argument of a template like "-x " come as one word, "-xVALUE". out is the command line as it will
// be, so far; arguments may be added to it. An error ends the parsing.
type Proc func(arg string, key int, out *Args) (Action, error)

// Opt is one template and what is done when it matches.
type Opt struct {
	templ string
	run   func(param, arg string) error // nil: key says what to do
	key   int
}

// Template is the option's template.
func (o Opt) Template() string { return o.templ }

// Set makes *dst v. It panics if the template has a conversion: that is what Scan is for.
func Set[T any](templ string, dst *T, v T) Opt {
	if format(templ) != "" {
		panic(fmt.Sprintf("opt: template %q of Set has a conversion", templ))
	}
	return Opt{templ: templ, run: func(string, string) error {
		*dst = v
		return nil
	}}
}

// Scan converts the option's value as sscanf(3) does and stores it in dst: a pointer to a string for %s, to a floating
// point type for %f and %lf, to an integer type, no smaller than what is converted, for %d %i %u %o %x with or without
// hh, h, l, ll. Without one of these, %u, %o and %x make 32 bits and wrap around, negative numbers too ("-1" is
// 4294967295); what follows a number is passed over ("12k" is 12); no number at all is an error. %s takes everything, also
// nothing. Scan panics if template and dst do not fit.
func Scan(templ string, dst any) Opt {
	f := format(templ)
	if f == "" {
		panic(fmt.Sprintf("opt: template %q of Scan has no conversion", templ))
	}
	if f == "%s" {
		s, ok := dst.(*string)
		if !ok {
			panic(fmt.Sprintf("opt: template %q of Scan needs a *string, not %T", templ, dst))
		}
		return Opt{templ: templ, run: func(param, _ string) error {
			*s = param
			return nil
		}}
	}
	scan := scanner(templ, f, dst)
	return Opt{templ: templ, run: func(param, arg string) error {
		if !scan(param) {
			return fmt.Errorf("fuse: invalid parameter in option `%s'", arg)
		}
		return nil
	}}
}

// Key has Proc called with key.
func Key(templ string, key int) Opt { return Opt{templ: templ, key: key} }

// Keep leaves the option on the command line without asking Proc.
func Keep(templ string) Opt { return Opt{templ: templ, key: KeyKeep} }

// Discard takes the option off the command line without asking Proc.
func Discard(templ string) Opt { return Opt{templ: templ, key: KeyDiscard} }

// separator is where a template's value begins: the first '=', else the first blank; -1 if there is none.
func separator(templ string) int {
	if i := strings.IndexByte(templ, '='); i >= 0 {
		return i
	}
	return strings.IndexByte(templ, ' ')
}

// format is the conversion in a template, "" if there is none.
func format(templ string) string {
	if i := separator(templ); i > 0 && strings.HasPrefix(templ[i+1:], "%") {
		return templ[i+1:]
	}
	return ""
}

// match reports whether arg matches the template, and where its value begins: 0 if it has none.
func (o *Opt) match(arg string) (sep int, ok bool) {
	if i := separator(o.templ); i >= 0 && (i+1 == len(o.templ) || o.templ[i+1] == '%') {
		n := i
		if o.templ[i] == '=' {
			n++
		}
		if strings.HasPrefix(arg, o.templ[:n]) {
			return i, true
		}
	}
	return 0, o.templ == arg
}

// Match reports whether any template matches arg, fuse_opt_match.
func Match(opts []Opt, arg string) bool {
	return slices.ContainsFunc(opts, func(o Opt) bool {
		_, ok := o.match(arg)
		return ok
	})
}

// Parse takes args apart as the templates and proc say and leaves in it what is kept: the program's name; kept elements
// of -o as one "-o" "a,b,c", without empty ones at its beginning; everything else in its order. A "--" stays unless nothing
// follows it. proc may be nil: what matches no template is kept.
//
// Errors carry libfuse's message. args is then as it was, but variables may have been set.
func Parse(args *Args, opts []Opt, proc Proc) error {
	if args == nil || len(args.Argv) == 0 {
		return nil
	}
	p := parser{in: args.Argv, opts: opts, proc: proc}
	p.out.Add(args.Argv[0])
	for p.pos = 1; p.pos < len(p.in); p.pos++ {
		if err := p.argument(p.in[p.pos]); err != nil {
			return err
		}
	}
	if p.hasList {
		p.out.Insert(1, "-o")
		p.out.Insert(2, p.list)
	}
	if n := len(p.out.Argv); p.ended > 0 && p.ended == n && p.out.Argv[n-1] == "--" {
		p.out.Argv = p.out.Argv[:n-1]
	}
	*args = p.out
	return nil
}

type parser struct {
	in    []string
	pos   int
	opts  []Opt
	proc  Proc
	out   Args
	ended int // length of out when "--" was met; 0: not yet

	list    string // kept elements of -o
	hasList bool   // there are some, if only empty ones
}

// next is the argument of a two-argument option.
func (p *parser) next(of string) (string, error) {
	if p.pos+1 >= len(p.in) {
		return "", fmt.Errorf("fuse: missing argument after `%s'", of)
	}
	p.pos++
	return p.in[p.pos], nil
}

// argument takes one element of the command line.
func (p *parser) argument(arg string) error {
	switch {
	case p.ended > 0 || !strings.HasPrefix(arg, "-"):
		return p.call(arg, KeyNonOpt, false)
	case arg == "-o":
		list, err := p.next(arg)
		if err != nil {
			return err
		}
		return p.group(list)
	case strings.HasPrefix(arg, "-o"):
		return p.group(arg[2:])
	case arg == "--":
		p.out.Add(arg)
		p.ended = len(p.out.Argv)
		return nil
	}
	return p.option(arg, false)
}

func (p *parser) group(list string) error {
	for _, w := range Split(list) {
		if err := p.option(w, true); err != nil {
			return err
		}
	}
	return nil
}

// option takes one option; inList is whether it is an element of -o.
func (p *parser) option(arg string, inList bool) error {
	found := false
	for i := range p.opts {
		o := &p.opts[i]
		sep, ok := o.match(arg)
		if !ok {
			continue
		}
		found = true
		word := arg
		if sep > 0 && o.templ[sep] == ' ' && len(arg) == sep {
			param, err := p.next(arg)
			if err != nil {
				return err
			}
			word += param
		}
		var err error
		if o.run == nil {
			err = p.call(word, o.key, inList)
		} else {
			if sep > 0 && o.templ[sep] == '=' {
				sep++
			}
			err = o.run(word[sep:], word)
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return p.call(arg, KeyOpt, inList)
	}
	return nil
}

// call asks proc, and keeps what it wants kept.
func (p *parser) call(arg string, key int, inList bool) error {
	if key == KeyDiscard {
		return nil
	}
	if key != KeyKeep && p.proc != nil {
		if act, err := p.proc(arg, key, &p.out); err != nil || act == Drop {
			return err
		}
	}
	switch {
	case inList:
		AddOptEscaped(&p.list, arg)
		p.hasList = true
	default:
		p.out.Add(arg)
	}
	return nil
}

// Split takes the argument of -o apart: at commas, with what backslashes protect taken literally. A list of n commas has
// n+1 elements, which may be empty. As in C an element ends at a NUL byte.
func Split(list string) []string {
	var words []string
	var w []byte
	end := func() {
		if i := slices.Index(w, 0); i >= 0 {
			w = w[:i]
		}
		words = append(words, string(w))
		w = w[:0]
	}
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == ',':
			end()
		case c == '\\' && i+1 < len(list):
			i++
			if rest := list[i:]; len(rest) >= 3 && rest[0] >= '0' && rest[0] <= '3' && isOctal(rest[1]) && isOctal(rest[2]) {
				w = append(w, (rest[0]-'0')<<6|(rest[1]-'0')<<3|(rest[2]-'0'))
				i += 2
			} else {
				w = append(w, rest[0])
			}
		default:
			w = append(w, c)
		}
	}
	end()
	return words
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

var escaper = strings.NewReplacer(`\`, `\\`, `,`, `\,`)

// Escape makes word one element of a -o list: Split gives it back.
func Escape(word string) string { return escaper.Replace(word) }

// AddOpt appends an element, or several with commas between them, to a -o list, fuse_opt_add_opt. An empty list is none,
// as NULL is in C.
func AddOpt(list *string, opt string) {
	if *list != "" {
		*list += ","
	}
	*list += opt
}

// AddOptEscaped is AddOpt of one element, whose commas and backslashes are escaped, fuse_opt_add_opt_escaped.
func AddOptEscaped(list *string, opt string) { AddOpt(list, Escape(opt)) }
