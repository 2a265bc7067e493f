package effect

// Kind is the type of a target's key, in the words of the TYPE command.
type Kind string

// The kinds of targets.
const (
	Stream Kind = "stream"
	Hash   Kind = "hash"
)

// Target is a key that handlers may write to. Two outputs have two targets, even if their keys
// are equal: a target is known by its address.
type Target struct {
	Key  string
	Kind Kind
}

// Targets are all targets of a consumer, in the order of their keys in a commit. They do not
// change. Nil is a consumer without effects.
type Targets struct {
	list  []*Target
	place map[*Target]int
}

// NewTargets returns the targets of a list.
func NewTargets(list []*Target) *Targets {
	t := &Targets{list: list, place: make(map[*Target]int, len(list))}
	for i, target := range list {
		t.place[target] = i
	}
	return t
}

// Has reports whether a target is one of them.
func (t *Targets) Has(target *Target) bool {
	_, has := t.place[target]
	return has
}

// Keys returns the keys of the targets, in their order.
func (t *Targets) Keys() []string {
	keys := make([]string, len(t.list))
	for i, target := range t.list {
		keys[i] = target.Key
	}
	return keys
}

// Kinds returns the kinds of the targets, in their order, as the scripts take them: one word with
// a blank behind each.
func (t *Targets) Kinds() string {
	kinds := ""
	for _, target := range t.list {
		kinds += string(target.Kind) + " "
	}
	return kinds
}
