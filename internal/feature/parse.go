package feature

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"

	"pitboss/internal/event"
	"pitboss/internal/strictyaml"
)

// fileVersion is the version of the declaration language.
const fileVersion = 1

// maxInputs is how many inputs a set may have: rows have a mask of 64 bits.
const maxInputs = 64

// Parse compiles declarations; file is their name in error messages. Every
// error is a [*strictyaml.Problem].
func Parse(file string, src []byte) (*Set, error) {
	d, err := readFile(file, src)
	if err != nil {
		return nil, err
	}
	return d.Compile()
}

// Compile compiles the declarations, once. Every error is a [*strictyaml.Problem].
func (d *Declarations) Compile() (*Set, error) {
	b := &builder{file: d.file, src: d.src, decl: d.decl, slotAt: map[string]int{}, inputAt: map[string]int{}, programAt: map[string]int{}, set: &Set{
		bySlot: map[uint32]int{}, byInput: map[uint32]int{}, plans: map[string]*plan{},
	}}
	for _, build := range []func() error{b.limits, b.features, b.derived, b.reminders, b.conditions, b.finish} {
		if err := build(); err != nil {
			return nil, err
		}
	}
	return b.set, nil
}

// builder compiles a file step by step.
type builder struct {
	file string
	src  []byte
	decl *File
	set  *Set

	slotAt, inputAt, programAt map[string]int
	languages                  map[string]*language
}

// fault returns a [strictyaml.Problem] at a YAML path, or at its parent if the file does
// not have the path.
func (b *builder) fault(path, within, format string, args ...any) error {
	parent := path
	if n := strings.LastIndexByte(path, '.'); n > 1 {
		parent = path[:n]
	}
	return &strictyaml.Problem{File: b.file, Line: strictyaml.Line(b.src, path, parent), Where: within, Detail: fmt.Sprintf(format, args...)}
}

func (b *builder) limits() error {
	d := b.decl
	if d.Version != fileVersion {
		return b.fault("$.version", "", "version must be %d, is %d", fileVersion, d.Version)
	}
	d.Lateness = cmp.Or(d.Lateness, DefaultLateness)
	d.Rollback = cmp.Or(d.Rollback, d.Lateness)
	d.Timeline = cmp.Or(d.Timeline, DefaultTimeline)
	switch {
	case d.Lateness.Milliseconds() < 1000 || d.Lateness.Milliseconds() > 24*3600_000:
		return b.fault("$.lateness", "", "lateness must be between 1s and 24h, is %s", d.Lateness)
	case d.Rollback < d.Lateness || d.Rollback.Milliseconds() > 24*3600_000:
		return b.fault("$.rollback", "", "rollback must be between lateness (%s) and 24h, is %s", d.Lateness, d.Rollback)
	case d.Timeline < 16 || d.Timeline > 4096:
		return b.fault("$.timeline", "", "timeline must be between 16 and 4096 entries, is %d", d.Timeline)
	case len(d.Features) == 0:
		return b.fault("$.features", "", "declare at least one feature")
	}
	b.set.lateness, b.set.rollback, b.set.cap = d.Lateness.Milliseconds(), d.Rollback.Milliseconds(), d.Timeline
	return nil
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// reserved lists the words that expressions could not use as a feature's name.
var reserved = []string{"data", "event", "in", "true", "false", "null", "int", "double", "string", "bool", "size", "has", "all", "exists", "map", "filter"}

func (b *builder) checkName(path, what, name string, seen map[string]bool) error {
	switch {
	case !nameRule.MatchString(name):
		return b.fault(path+".name", what+" "+name, "name must be lower-case letters, digits and _, beginning with a letter, is %q", name)
	case slices.Contains(reserved, name):
		return b.fault(path+".name", what+" "+name, "name is a reserved word; choose another")
	case seen[name]:
		return b.fault(path+".name", what+" "+name, "declared twice; rename one of them")
	}
	seen[name] = true
	return nil
}

// types resolves event types in short (round.settled) or full form.
func (b *builder) types(path, within string, names []string) ([]*event.Info, error) {
	if len(names) == 0 {
		return nil, b.fault(path, within, "on needs at least one event type, e.g. [round.settled]")
	}
	var out []*event.Info
	for _, name := range names {
		info, ok := event.Lookup(name)
		if !ok {
			info, ok = event.Lookup("pitboss." + name + ".v1")
		}
		if !ok {
			return nil, b.fault(path, within, "unknown event type %q%s", name, nearest(name))
		}
		if !info.Flat() || info.Direction == event.Out {
			return nil, b.fault(path, within, "%s never reaches a player's state", name)
		}
		if !slices.Contains(out, info) {
			out = append(out, info)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Type < out[j].Type })
	return out, nil
}

// nearest suggests the event types with the same noun.
func nearest(name string) string {
	noun, _, _ := strings.Cut(name, ".")
	var list []string
	for _, info := range event.Types() {
		if short := shortType(info.Type); info.Direction != event.Out && strings.HasPrefix(short, noun+".") {
			list = append(list, short)
		}
	}
	if list == nil {
		return "; `pitboss schemas` lists them"
	}
	return "; there are " + strings.Join(list, ", ")
}

func shortType(typ string) string {
	return strings.TrimSuffix(strings.TrimPrefix(typ, "pitboss."), ".v1")
}

func (b *builder) plan(info *event.Info) *plan {
	p, ok := b.set.plans[info.Type]
	if !ok {
		p = &plan{typ: info.Type}
		b.set.plans[info.Type] = p
	}
	return p
}

// language returns the language of expressions over events of a type, and over features
// if they are given.
func (b *builder) language(info *event.Info, features []variable) (*language, error) {
	at := fmt.Sprint(info.Type, len(features) > 0)
	l, ok := b.languages[at]
	if !ok {
		var err error
		if l, err = newLanguage(dataVariables(info), eventVariables(), features); err != nil {
			return nil, err
		}
		if b.languages == nil {
			b.languages = map[string]*language{}
		}
		b.languages[at] = l
	}
	return l, nil
}

// program compiles text for events of one type and returns its index in the plan, or -1
// if text is empty. Equal texts share a program, so that it runs once per event.
func (b *builder) program(info *event.Info, text string, features []variable, want ...kind) (int, error) {
	if text == "" {
		return -1, nil
	}
	at := info.Type + "\x00" + text
	p := b.plan(info)
	if n, ok := b.programAt[at]; ok && slices.Contains(want, p.programs[n].code.kind) {
		return n, nil
	}
	l, err := b.language(info, features)
	if err != nil {
		return 0, err
	}
	prog, err := l.compile(text, want...)
	if err != nil {
		return 0, fmt.Errorf("%w (on %s)", err, shortType(info.Type))
	}
	p.programs = append(p.programs, prog)
	b.programAt[at] = len(p.programs) - 1
	return len(p.programs) - 1, nil
}

// hash32 returns the hash that identifies a declaration in stored state.
func hash32(text string) uint32 { return uint32(xxhash.Sum64String(text)) }

// slot returns the index of the slot with this identity, adding it if new.
func (b *builder) slot(sl slot) (int, bool, error) {
	if n, ok := b.slotAt[sl.text]; ok {
		return n, false, nil
	}
	sl.hash = hash32(sl.text)
	if n, taken := b.set.bySlot[sl.hash]; taken {
		return 0, false, fmt.Errorf("its identity collides with that of %q; change the declaration slightly", b.set.slots[n].text)
	}
	n := len(b.set.slots)
	b.set.slots = append(b.set.slots, &sl)
	b.set.bySlot[sl.hash] = n
	b.slotAt[sl.text] = n
	return n, true, nil
}

// register adds a slot that no feature reads: a reminder's or a condition's.
func (b *builder) register(text, path, within string) (int, error) {
	n, _, err := b.slot(slot{text: text, agg: opRegister, value: -1, of: -1, active: -1})
	if err != nil {
		return 0, b.fault(path, within, "%v", err)
	}
	return n, nil
}

// finish sets the plans' fact writers, sorts their inputs, numbers the ordered slots and
// the half-lives, and computes the set's hash.
func (b *builder) finish() error {
	s := b.set
	for _, info := range event.Types() {
		if write, ok := factWriters[info.Type]; ok {
			b.plan(info).facts = write
		}
	}
	if err := b.markRounds(); err != nil {
		return err
	}
	for _, p := range s.plans {
		sort.Slice(p.inputs, func(i, j int) bool { return p.inputs[i].input < p.inputs[j].input })
		p.row = len(p.inputs) > 0 || p.typ == event.TypeRoundSettled
	}
	for n, in := range s.inputs {
		if !in.unit {
			s.valued |= 1 << n
		}
	}
	s.headAt = make([]int, len(s.slots))
	classes := map[float64]int{}
	for n, sl := range s.slots {
		if _, ok := classes[sl.halfLife]; !ok {
			classes[sl.halfLife] = len(classes)
		}
		sl.class = classes[sl.halfLife]
		if sl.ordered {
			s.headAt[n] = len(s.ordered)
			s.ordered = append(s.ordered, n)
		}
	}
	s.listNames()
	n := len(s.features)
	s.scopes.New = func() any {
		return &scope{vals: make([]float64, n), have: make([]uint32, n), growing: make(growing, len(classes))}
	}
	return nil
}

// listNames lists the vector's features and hashes the declarations behind them.
func (s *Set) listNames() {
	h := xxhash.New()
	fmt.Fprintln(h, fileVersion, s.lateness, s.rollback, s.cap)
	for i, f := range s.features {
		fmt.Fprintln(h, f.decl.Name, f.decl.Helper, f.empty, f.decl.Expr, f.decl.Agg)
		for _, n := range []int{f.num, f.den} {
			if n >= 0 {
				fmt.Fprintln(h, s.slots[n].text)
			}
		}
		if !f.decl.Helper {
			s.vector = append(s.vector, i)
			s.names = append(s.names, f.decl.Name)
			quoted := `,"` + f.decl.Name + `":`
			if len(s.names) == 1 {
				quoted = quoted[1:]
			}
			s.quoted = append(s.quoted, []byte(quoted))
			s.jsonSize += len(quoted) + 12
		}
	}
	s.hash = fmt.Sprintf("%016x", h.Sum64())
}
