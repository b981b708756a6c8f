// Package feature computes features from a player's events. They are declared in
// models/features.yaml, not coded. The package defines what a player's state means
// (facts, features, reminders, when a decision is due), how an event changes it
// ([Set.Fold]) and how it is stored ([Set.Append]).
//
// Within the lateness window the resulting state does not depend on the order in which
// events arrive: facts are last-writer-wins registers in event time, sums commute, and
// everything else is folded over a short timeline that is sorted by event time.
// docs/features.md is the reference of the language.
package feature

import (
	"fmt"
	"os"
	"sync"
	"time"

	"pitboss/internal/strictyaml"
)

// Set is a compiled features.yaml. It is immutable and safe for concurrent use.
type Set struct {
	hash  string
	names []string // of the features in the vector, in order of declaration

	features []*feature // in order of declaration, helpers included
	vector   []int      // features in the vector
	slots    []*slot    // what the state stores, in a fixed order
	bySlot   map[uint32]int
	ordered  []int    // slots that are folded over the timeline
	headAt   []int    // by slot: the index of an ordered slot in ordered
	inputs   []*input // the values of an event that the timeline stores
	byInput  map[uint32]int
	plans    map[string]*plan
	remind   []*reminder
	conds    []*condition
	watch    *watch   // the condition with markers; nil: there is none
	asks     []string // names of the conditions
	quoted   [][]byte // `"name":` of the vector's features, with a comma in front of all but the first
	jsonSize int      // the approximate size of a vector as JSON

	valued   uint64 // inputs whose values rows store
	recorded uint64 // the input of markRounds, as a mask: rounds that a rollback can undo
	lateness int64  // milliseconds
	rollback int64  // milliseconds
	cap      int    // entries in the timeline
	always   bool

	scopes sync.Pool // *scope
}

// Load reads and compiles the declarations in the file at path. Errors name
// file, line and feature.
func Load(path string) (*Set, error) {
	d, err := Read(path)
	if err != nil {
		return nil, err
	}
	return d.Compile()
}

// Declarations is a features.yaml that is read but not compiled. Compiling takes longer,
// so a starting process can do other work in between.
type Declarations struct {
	file string
	src  []byte
	decl *File
}

// Read reads the declarations in the file at path.
func Read(path string) (*Declarations, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	return readFile(path, b)
}

func readFile(path string, src []byte) (*Declarations, error) {
	d := &Declarations{path, src, &File{}}
	if err := strictyaml.Decode(src, d.decl); err != nil { // an unknown member is an error
		return nil, strictyaml.AsProblems(path, err)[0]
	}
	return d, nil
}

// Names lists the features of the vector, in order of declaration.
func (d *Declarations) Names() []string {
	var names []string
	for i := range d.decl.Features {
		if !d.decl.Features[i].Helper {
			names = append(names, d.decl.Features[i].Name)
		}
	}
	return names
}

// Names lists the features of the vector that the file at path declares, in order. It
// is faster than [Load] because it compiles nothing.
func Names(path string) ([]string, error) {
	d, err := Read(path)
	if err != nil {
		return nil, err
	}
	return d.Names(), nil
}

// ScoreAlways makes every applied event a decision point and ignores score_when. It
// must be called before the set is used.
func (s *Set) ScoreAlways() { s.always, s.asks = true, []string{"always"} }

// Names lists the features of the vector, in order of declaration.
func (s *Set) Names() []string { return s.names }

// Hash identifies the declarations from which the vector is computed: two sets with
// equal hashes give equal vectors for equal events. It has 16 hex digits.
func (s *Set) Hash() string { return s.hash }

// Lateness returns how much older than the player's latest event an event may be and
// still count.
func (s *Set) Lateness() time.Duration { return time.Duration(s.lateness) * time.Millisecond }

// feature is one declaration, compiled.
type feature struct {
	eval  evaluator
	num   int // slot, or -1
	den   int // slot of a mean's or ratio's denominator, or -1
	empty float64
	// derived features have an expression over others instead of slots.
	expr *program
	decl Declaration // last, so that the fields that every vector reads share a cache line
}

// evaluator says how a feature's value is read from its slots.
type evaluator uint8

const (
	readSum     evaluator = iota // num
	readShare                    // num / den, both commutative
	readOrdered                  // num, an ordered slot
	readDerived
)

// op is an Agg as a small integer, because every event switches on it.
type op uint8

const (
	opRegister op = iota // reminders and spacing
	opCount
	opSum
	opMean
	opRatio
	opMax
	opMin
	opLast
	opSince
	opStreak
	opChanges
	opDistinct
	opGap
	opLength
	opFollow
)

var ops = map[Agg]op{
	Count: opCount, Sum: opSum, Mean: opMean, Ratio: opRatio, Max: opMax, Min: opMin, Last: opLast, Since: opSince,
	Streak: opStreak, Changes: opChanges, Distinct: opDistinct, Gap: opGap, Length: opLength, Follow: opFollow,
}

// slot is one number (or small table) in the state. Features with the same
// declaration share one.
type slot struct {
	agg     op
	float   bool // the value is a float64, else an int64
	ordered bool

	halfLife float64        // milliseconds; decay
	class    int            // slots of one class have the same half-life
	size     int64          // milliseconds; window
	month    bool           // of a window: only the days of the current calendar month count
	zone     *time.Location // of the month; nil: UTC
	width    int64          // milliseconds of one bucket; window
	gap      int64          // milliseconds; session

	// Ordered slots only.
	mask   uint64
	value  int   // input, or -1
	of     int   // input: a ratio's denominator, or what a follow comes after
	active int   // input: what keeps a session open
	streak int64 // follow: how many in a row
	within int64 // follow: milliseconds
	pause  int64 // gap: a longer one is a break, milliseconds; 0: none is
	limit  int   // distinct: how many values are remembered

	hash uint32 // identity in stored state: the declaration, not its name
	text string // what the hash is of
}

// input is a stream of values drawn from events, which the timeline stores.
type input struct {
	hash  uint32
	text  string
	unit  bool // the value is always 1: only presence is stored
	float bool
	bool  bool // the values are 0 or 1
}

// plan says what an event of one type does.
type plan struct {
	typ      string
	programs []*program
	sums     []sumStep
	inputs   []inputStep
	row      bool // events of this type have a row in the timeline
	facts    func(*State, position, any)
	set      []reminderStep
	cancel   []reminderStep
	conds    []condStep
}

// sumStep adds one value to a commutative slot. where and value are indices of the
// plan's programs, or -1. For rounds, input is the timeline's input that keeps what was
// added; for other types it is -1.
type sumStep struct{ slot, where, value, input int }

// inputStep draws one value for the timeline.
type inputStep struct{ input, where, value int }

type reminderStep struct{ reminder, where int }

type condStep struct{ cond, when int }

// reminder is a pair of registers and a delay.
type reminder struct {
	decl  ReminderDeclaration
	after int64 // milliseconds
	slot  int
}

// condition is one entry of score_when.
type condition struct {
	decl     Condition
	spacing  int64 // milliseconds
	slot     int
	reminder int // -1: none
}

// Conditions lists the names of the score_when conditions, in order of declaration.
// After [Set.ScoreAlways] the only one is "always".
func (s *Set) Conditions() []string { return s.asks }
