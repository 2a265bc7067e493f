package effect

import "strconv"

// MaxArgs is how many arguments an effect may have besides its key: unpack in a script takes no
// more than about 8,000 values.
const MaxArgs = 7_900

// MaxBytes is how large the arguments of one effect may be together. A server takes no value
// that is larger (proto-max-bulk-len) unless it is told to, and no entry of twice the size.
const MaxBytes = 512 << 20

// The size of one commit: the server does nothing else meanwhile.
const (
	CommitEntries = 100
	CommitBytes   = 1 << 20
)

// verb is the command of an effect, as the scripts take it.
type verb string

const (
	xadd    verb = "a"
	hincrby verb = "i"
)

// effect is one write.
type effect struct {
	target *Target
	verb   verb
	args   []string // behind the key
}

// List is the effects of one run of a handler, in the order in which they were asked for.
type List struct {
	effects []effect
	bytes   int64
	args    int // of the wire form
}

// overhead is about the memory that an effect, or one of its arguments, takes besides its text.
const overhead = 32

func (l *List) add(e effect) {
	l.effects = append(l.effects, e)
	l.bytes += 2 * overhead
	for _, arg := range e.args {
		l.bytes += int64(len(arg)) + overhead
	}
	l.args += 3 + len(e.args)
}

// Len returns how many effects there are. A nil list has none.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.effects)
}

// Bytes returns about how much memory the list takes. A nil list takes none.
func (l *List) Bytes() int64 {
	if l == nil {
		return 0
	}
	return l.bytes
}

// AppendArgs appends the wire form. first is the number of the first target's key among KEYS,
// counted from 1.
func (l *List) AppendArgs(args []any, targets *Targets, first int) []any {
	if l == nil {
		return append(args, 0)
	}
	args = append(args, len(l.effects))
	for i := range l.effects {
		e := &l.effects[i]
		args = append(args, string(e.verb), first+targets.place[e.target], len(e.args))
		for j := range e.args {
			args = append(args, &e.args[j]) // as a string, each would be an allocation
		}
	}
	return args
}

// ArgsLen returns how many arguments the wire form has.
func (l *List) ArgsLen() int {
	if l == nil {
		return 1
	}
	return 1 + l.args
}

// Each calls do for each effect, with its key and its arguments behind that: those of XADD for a
// stream, field and increment for a hash.
func (l *List) Each(do func(key string, kind Kind, args []string)) {
	if l == nil {
		return
	}
	for _, e := range l.effects {
		do(e.target.Key, e.target.Kind, e.args)
	}
}

// Add returns the effect that adds an entry to a stream: args are those of XADD behind the key.
func Add(target *Target, args []string) Effect { return Effect{effect{target, xadd, args}} }

// Increment returns the effect that adds n to a field of a hash.
func Increment(target *Target, field string, n int64) Effect {
	return Effect{effect{target, hincrby, []string{field, strconv.FormatInt(n, 10)}}}
}

// Effect is one effect that is to go into a buffer.
type Effect struct{ effect }

// Size returns how many arguments the effect has, and their bytes together.
func (e Effect) Size() (args int, bytes int64) {
	for _, arg := range e.args {
		bytes += int64(len(arg))
	}
	return len(e.args), bytes
}
