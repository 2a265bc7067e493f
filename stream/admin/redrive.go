package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/internal/conn"
)

// RedriveConfig says which letters are redriven, and how. The zero value takes every letter of
// the topic that was redriven less than three times, and gives it back to the reader that gave
// it up.
type RedriveConfig struct {
	// Where chooses the letters.
	Where Where
	// MaxRedrives is how often an entry may be redriven. Letters that have reached it stay:
	// they would fail once more. Edit or drop them. Default, and for 0: 3.
	MaxRedrives int
	// Everybody gives the entries to each reader of the topic. By default the header
	// [stream.HeaderFor] names the one reader that gave the entry up, and others skip it.
	Everybody bool
	// ToGroup gives the entries to this group, in place of the reader that gave them up, for
	// one that is no more.
	ToGroup string
	// To is the key of another stream that gets the entries. Default: the topic.
	To string
	// Client has the server of the stream that gets the entries, where that is another one
	// than the letters'. It is not closed. Default: the admin's own.
	Client redis.UniversalClient
	// AlsoUndecodable takes letters, too, that were given up because they cannot be decoded
	// or are too large. By default these stay: nothing changes by itself.
	AlsoUndecodable bool
}

// Redriven is the result of a redrive. All its numbers count letters.
type Redriven struct {
	// Planned is how many the plan had.
	Planned int64
	// Moved is how many have become entries again. The number follows from the letters that
	// the server still has at the end, and not from its answers, some of which may be lost.
	Moved int64
	// Unsure is how many of Moved another redrive, or a drop, may have taken at the same
	// moment: an answer was lost, and the letter was gone when the server was asked again.
	Unsure int64
	// Gone is how many were gone before they were to be moved: others have moved or deleted
	// them.
	Gone int64
	// Left is how many are still there. The same redrive, planned again, takes them.
	Left int64
	// Returned is how many of the entries have come back as letters so far, where the letters
	// of the stream that got them are read.
	Returned int64
}

// String says it for people.
func (r Redriven) String() string {
	text := fmt.Sprintf("%d of %d moved", r.Moved, r.Planned)
	for _, part := range []struct {
		n    int64
		text string
	}{
		{r.Unsure, "%d of these perhaps by others, as an answer was lost"},
		{r.Gone, "%d gone before"},
		{r.Left, "%d left"},
		{r.Returned, "%d came back"},
	} {
		if part.n > 0 {
			text += fmt.Sprintf(", "+part.text, part.n)
		}
	}
	return text
}

// DefaultMaxRedrives is how often an entry is redriven by default.
const DefaultMaxRedrives = 3

// Redrive plans to make entries of dead letters again, in the order in which they were given
// up, at the end of the topic's stream. The plan has the letters of this moment; one that comes
// later is not among them. Doing it moves up to 25 letters in one step on the server: each is a
// letter or an entry at any moment, and never both, whatever becomes of the connection, the
// server or this process. A redrive that was interrupted is planned again, and goes on. Two at
// the same time move each letter once.
//
// Where the two streams are in different slots of a cluster, or on two servers, a letter is
// moved in two steps, with a key beside the stream that gets it, such as
// {orders}:once:redrive:{orders}:dead:<ID>, which is kept for a day. A redrive that was killed
// between the steps and is not repeated within that day can add an entry twice, and so can a
// failover of the stream's server between them.
//
// The entry has the fields of the original, byte for byte, and the headers [stream.HeaderFor],
// [stream.HeaderOriginID] and [stream.HeaderRedrives]. It is a new entry with a new ID, behind
// those that wait; the order of a key is not kept.
//
// Doing the plan stops with a [*ReturnedError] when the entries fail again, and with an error
// that says how many are left when a server refuses, does not answer for half a minute, when
// the reader's group is removed, or when ctx ends; see [Redriven]. [Rate], [WaitWhileBehind]
// and [Report] work. All problems of the config come back in one error, each wrapping
// [stream.ErrInvalidOption].
//
// It takes the Redis rights
//
//	~<topic> ~{<topic>}:dead +xrange +xrevrange +xadd +xdel +eval +evalsha +xinfo|groups
//	~{<topic>}:once:*  +get +set +del    where letters are moved in two steps
//
// [Admin.Edit] takes the same, [Admin.Drop] takes +xrange +xrevrange +xdel +eval +evalsha, and
// [Admin.DeadLetters] and [Admin.Causes] take +xrange and +xrevrange, all of the letters' key.
// [Where.OlderThan] takes +time besides. Without +xinfo|groups the plan warns that it knows no
// readers.
func (a *Admin) Redrive(ctx context.Context, topic string, cfg RedriveConfig) (*Plan[Redriven], error) {
	r := &redrive{admin: a, topic: topic, cfg: cfg, dead: cfg.Where.deadLetterStream(topic), target: topic, client: a.client}
	if cfg.To != "" {
		r.target = cfg.To
	}
	if cfg.Client != nil {
		r.client = cfg.Client
	}
	if cfg.MaxRedrives == 0 {
		r.cfg.MaxRedrives = DefaultMaxRedrives
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.choose(ctx); err != nil {
		return nil, readingFailed(r.dead, err)
	}
	p := newPlan(a, "redrive", topic, r.do)
	p.Affected, p.Summary = int64(len(r.letters)), r.summary()
	p.Details = r.details()
	if len(r.letters) > 0 {
		r.seen = r.look(ctx)
		p.Warnings = r.warnings(r.seen)
		if r.failing > 0 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%d of the letters could not be decoded, or were too large; they come back unless their reader has another version now", r.failing))
		}
		p.moved = func(ctx context.Context) (string, error) { return r.vanished(r.seen, r.look(ctx)), nil }
	}
	return p, nil
}

// redrive is a redrive that is planned, and then done.
type redrive struct {
	admin        *Admin
	topic        string
	dead, target string
	client       redis.UniversalClient // of the target
	cfg          RedriveConfig
	letters      []plannedLetter
	readers      map[string]int64 // of the letters, by their addresses
	seen         readersSeen
	looked       int64
	strangers    int64 // entries that are no letters
	guarded      int64 // redriven too often
	undecodable  int64
	failing      int64 // planned, although they could not be decoded
	wide         int64 // more fields than a script can pass on
	otherwise    int64 // not chosen
	// edited are the pairs that replace those of the one letter of an edit; nil is none.
	edited []string
}

// plannedLetter is a letter of a plan: enough to know it again, and to make pages of.
type plannedLetter struct {
	id, last string
	size     int
}

func (l *Letter) planned() plannedLetter {
	return plannedLetter{l.ID, l.last, l.size}
}

func (r *redrive) check() error {
	problems := r.cfg.Where.problems(r.topic)
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: "+format, append([]any{stream.ErrInvalidOption}, args...)...))
	}
	if r.cfg.MaxRedrives < 0 {
		refuse("RedriveConfig.MaxRedrives %d is negative; give a number, or 0 for %d", r.cfg.MaxRedrives, DefaultMaxRedrives)
	}
	if r.cfg.Everybody && r.cfg.ToGroup != "" {
		refuse("RedriveConfig has Everybody and ToGroup %q; give one of them", r.cfg.ToGroup)
	}
	if r.cfg.Client == nil && r.cfg.To != "" && r.cfg.To == r.dead {
		refuse("RedriveConfig.To %q is where the letters are; give another stream", r.cfg.To)
	}
	return errors.Join(problems...)
}

// choose looks at the letters, and keeps those that are to be redriven.
func (r *redrive) choose(ctx context.Context) error {
	r.readers = make(map[string]int64)
	for page, err := range r.cfg.Where.entries(ctx, r.admin.client, r.dead) {
		if err != nil {
			return err
		}
		for _, entry := range page {
			r.looked++
			letter, is := letterOf(r.dead, entry)
			switch {
			case !is:
				r.strangers++
			case !r.cfg.Where.matches(r.topic, &letter):
				r.otherwise++
			case letter.Redrives >= r.cfg.MaxRedrives:
				r.guarded++
			case letter.undecodable() && !r.cfg.AlsoUndecodable:
				r.undecodable++
			case 2*letter.Fields.Len() > widest:
				r.wide++
			default:
				r.letters = append(r.letters, letter.planned())
				if letter.undecodable() {
					r.failing++
				}
				r.readers[r.addressOf(&letter)]++
			}
		}
	}
	return nil
}

// addressOf returns the address of the reader that gets the entry of a letter. It is empty if
// all readers get it.
func (r *redrive) addressOf(letter *Letter) string {
	switch {
	case r.cfg.Everybody:
		return ""
	case r.cfg.ToGroup != "":
		return stream.Identity{Group: r.cfg.ToGroup}.Address()
	default:
		return letter.Reader.Address()
	}
}

// undecodable reports whether the letter was given up before its handler had it.
func (l *Letter) undecodable() bool { return strings.Contains(l.Cause, "cannot decode entry ") }

func (r *redrive) summary() string {
	if r.looked == 0 {
		return fmt.Sprintf("nothing to redrive: %s has no such entry, or does not exist; consumers that write elsewhere say so in their middleware.DeadLetterConfig", r.dead)
	}
	text := fmt.Sprintf("%d of %d dead letters go back to %s", len(r.letters), r.looked-r.strangers, r.target)
	switch addresses := slices.Sorted(maps.Keys(r.readers)); {
	case len(addresses) == 0:
		return text
	case r.cfg.Everybody:
		return text + ", for each of its readers"
	case len(addresses) == 1:
		return text + ", for " + spoken(addresses[0]) + " only"
	default:
		for i, address := range addresses {
			addresses[i] = fmt.Sprintf("%d for %s", r.readers[address], spoken(address))
		}
		return text + ", " + strings.Join(addresses, ", ") + ", and no other"
	}
}

// spoken returns an address as people say it: group billing.
func spoken(address string) string { return strings.Replace(address, ":", " ", 1) }

func (r *redrive) details() (list []Detail) {
	add := func(n int64, name, format string, args ...any) {
		if n > 0 {
			list = append(list, Detail{name, fmt.Sprintf(format, args...)})
		}
	}
	add(int64(len(r.letters)), "order", "they come behind all that wait in %s; the order of a key is not kept", r.target)
	add(r.guarded, "guard", "%d left: redriven %d times already; edit or drop them", r.guarded, r.cfg.MaxRedrives)
	add(r.undecodable, "undecodable", "%d left: not to be decoded, or too large; AlsoUndecodable takes them", r.undecodable)
	add(r.wide, "wide", "%d left: more than %d fields, which no script can move", r.wide, widest/2)
	add(r.otherwise, "others", "%d left: not chosen", r.otherwise)
	add(r.strangers, "strangers", "%d left: they are no dead letters", r.strangers)
	return list
}

// warnings tells of readers that will not handle the entries as they are meant to.
func (r *redrive) warnings(seen readersSeen) (list []string) {
	if seen.err != nil {
		return []string{fmt.Sprintf("it is not known who reads %s, and how far behind: %v", r.target, seen.err)}
	}
	if seen.missing {
		return []string{fmt.Sprintf("the stream %s does not exist, and nobody reads it; it will be made", r.target)}
	}
	var others []string
	for _, name := range slices.Sorted(maps.Keys(seen.groups)) {
		address := stream.Identity{Group: name}.Address()
		if r.readers[address] == 0 {
			others = append(others, name)
		} else if behind := seen.groups[name].behind; behind >= farBehind {
			list = append(list, fmt.Sprintf("group %s is %d entries behind; WaitWhileBehind holds back", name, behind))
		}
	}
	for _, address := range slices.Sorted(maps.Keys(r.readers)) {
		if name, is := strings.CutPrefix(address, "group:"); is && !seen.has(name) {
			list = append(list, fmt.Sprintf("%s has no group %s, so that nobody handles %d of the entries; ToGroup gives them to another one", r.target, name, r.readers[address]))
		}
	}
	if len(others) > 0 && !r.cfg.Everybody {
		list = append(list, fmt.Sprintf("it is not known which versions the consumers of %s run; those that do not know the header %s handle the entries too",
			strings.Join(others, ", "), stream.HeaderFor))
	}
	return list
}

// farBehind is how many entries a group is behind when a plan warns of it.
const farBehind = 1000

// readersSeen are the groups of a stream at one moment, with how far they are behind; -1 is
// not known.
type readersSeen struct {
	groups  map[string]groupSeen
	missing bool // there is no such stream
	err     error
}

type groupSeen struct {
	behind  int64  // entries that are not acked, or not read yet
	pending int64  // those of them that are not acked
	last    string // the last entry that was read
}

func (s *readersSeen) has(group string) bool {
	_, has := s.groups[group]
	return has
}

// look asks for the groups of the target.
func (r *redrive) look(ctx context.Context) readersSeen {
	client, err := conn.PrimaryOf(ctx, r.client, r.target)
	if err != nil {
		return readersSeen{err: err}
	}
	groups, err := client.XInfoGroups(ctx, r.target).Result()
	if conn.Classify(err).Class == conn.Gone {
		return readersSeen{missing: true}
	}
	if err != nil {
		return readersSeen{err: conn.Explain(err)}
	}
	seen := readersSeen{groups: make(map[string]groupSeen)}
	for _, group := range groups {
		behind := int64(-1)
		if group.Lag >= 0 {
			behind = group.Lag + group.Pending
		}
		seen.groups[group.Name] = groupSeen{behind, group.Pending, group.LastDeliveredID}
	}
	return seen
}

// vanished says which group of the plan has gone since; empty if none has.
func (r *redrive) vanished(before, now readersSeen) string {
	if now.err != nil {
		return "" // it is tried, and may be all there is a right for
	}
	for _, name := range slices.Sorted(maps.Keys(before.groups)) {
		if r.readers[stream.Identity{Group: name}.Address()] > 0 && !now.has(name) {
			return fmt.Sprintf("group %s of %s was removed", name, r.target)
		}
	}
	return ""
}
