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
	"millrace/stream/admin/internal/letters"
	"millrace/stream/admin/internal/redrive"
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
	r := &redriving{admin: a, cfg: cfg, job: redrive.Job{
		Source: a.client, Dead: cfg.Where.deadLetterStream(topic), Client: a.client, Target: topic, Topic: topic, Addresses: map[string]int64{},
	}}
	if cfg.To != "" {
		r.job.Target = cfg.To
	}
	if cfg.Client != nil {
		r.job.Client, r.job.Apart = cfg.Client, true
	}
	switch {
	case cfg.Everybody:
		r.job.To = redrive.Everybody
	case cfg.ToGroup != "":
		r.job.To = stream.Identity{Group: cfg.ToGroup}.Address()
	}
	if cfg.MaxRedrives == 0 {
		r.cfg.MaxRedrives = DefaultMaxRedrives
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	r.job.MaxRedrives = r.cfg.MaxRedrives
	if err := r.choose(ctx); err != nil {
		return nil, readingFailed(r.job.Dead, err)
	}
	p := newPlan(a, "redrive", topic, r.do)
	p.Affected, p.Summary = int64(len(r.job.Letters)), r.summary()
	p.Details = r.details()
	if len(r.job.Letters) > 0 {
		r.job.Seen = r.job.Look(ctx)
		p.Warnings = r.warnings()
		if r.failing > 0 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%d of the letters could not be decoded, or were too large; they come back unless their reader has another version now", r.failing))
		}
		p.moved = r.moved
	}
	return p, nil
}

// redriving is a redrive that is planned, and then done: the job, and the letters that are not
// part of it.
type redriving struct {
	admin       *Admin
	cfg         RedriveConfig
	job         redrive.Job
	looked      int64
	strangers   int64 // entries that are no letters
	guarded     int64 // redriven too often
	undecodable int64
	failing     int64 // planned, although they could not be decoded
	wide        int64 // more fields than a script can pass on
	otherwise   int64 // not chosen
}

// moved returns why the plan is not what would happen now.
func (r *redriving) moved(ctx context.Context) (string, error) {
	return r.job.Vanished(r.job.Look(ctx)), nil
}

// do does the plan.
func (r *redriving) do(ctx context.Context, d *doing) (Redriven, error) {
	j, planned := r.job, int64(len(r.job.Letters))
	j.Rate, j.Behind = d.rate, d.behind
	j.Tell = func(p redrive.Progress) {
		d.tell(Progress{Done: p.Done, Of: planned, Behind: p.Behind, Returned: p.Returned, Waiting: p.Waiting})
	}
	j.Returned = func(returned, of int) error { return &ReturnedError{Returned: returned, Of: of} }
	how, err := j.Do(ctx)
	done := Redriven{Planned: planned, Moved: how.Moved, Unsure: how.Unsure, Gone: how.Gone, Left: how.Left, Returned: how.Returned}
	if err != nil {
		err = fmt.Errorf("admin: redriving %s to %s stopped, %v; planned again, it goes on: %w", j.Dead, j.Target, done, err)
	}
	return done, err
}

// ReturnedError says that a redrive was stopped because its entries fail again: it comes from
// [Plan.Do]. Mend the cause first; the letters that are left are still there.
type ReturnedError struct {
	// Returned of the last Of entries that their reader has got to came back as letters.
	Returned, Of int
}

func (e *ReturnedError) Error() string {
	return fmt.Sprintf("%d of the last %d entries have come back as dead letters: they fail again; mend the cause first", e.Returned, e.Of)
}

func (r *redriving) check() error {
	problems := r.cfg.Where.problems(r.job.Topic)
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: "+format, append([]any{stream.ErrInvalidOption}, args...)...))
	}
	if r.cfg.MaxRedrives < 0 {
		refuse("RedriveConfig.MaxRedrives %d is negative; give a number, or 0 for %d", r.cfg.MaxRedrives, DefaultMaxRedrives)
	}
	if r.cfg.Everybody && r.cfg.ToGroup != "" {
		refuse("RedriveConfig has Everybody and ToGroup %q; give one of them", r.cfg.ToGroup)
	}
	if r.cfg.Client == nil && r.cfg.To != "" && r.cfg.To == r.job.Dead {
		refuse("RedriveConfig.To %q is where the letters are; give another stream", r.cfg.To)
	}
	return errors.Join(problems...)
}

// choose looks at the letters, and keeps those that are to be redriven.
func (r *redriving) choose(ctx context.Context) error {
	for page, err := range r.cfg.Where.lookedAt().Pages(ctx, r.admin.client, r.job.Dead) {
		if err != nil {
			return err
		}
		for _, entry := range page {
			r.looked++
			letter, is := letters.Of(entry)
			switch {
			case !is:
				r.strangers++
			case !r.cfg.Where.matches(r.job.Topic, &letter):
				r.otherwise++
			case letter.Redrives >= r.cfg.MaxRedrives:
				r.guarded++
			case letter.Undecodable() && !r.cfg.AlsoUndecodable:
				r.undecodable++
			case len(letter.Pairs) > redrive.Widest:
				r.wide++
			default:
				r.job.Letters = append(r.job.Letters, letter.Planned())
				if letter.Undecodable() {
					r.failing++
				}
				r.job.Addresses[r.job.AddressOf(&letter)]++
			}
		}
	}
	return nil
}

func (r *redriving) summary() string {
	if r.looked == 0 {
		return fmt.Sprintf("nothing to redrive: %s has no such entry, or does not exist; consumers that write elsewhere say so in their middleware.DeadLetterConfig", r.job.Dead)
	}
	text := fmt.Sprintf("%d of %d dead letters go back to %s", len(r.job.Letters), r.looked-r.strangers, r.job.Target)
	switch addresses := slices.Sorted(maps.Keys(r.job.Addresses)); {
	case len(addresses) == 0:
		return text
	case r.cfg.Everybody:
		return text + ", for each of its readers"
	case len(addresses) == 1:
		return text + ", for " + spoken(addresses[0]) + " only"
	default:
		for i, address := range addresses {
			addresses[i] = fmt.Sprintf("%d for %s", r.job.Addresses[address], spoken(address))
		}
		return text + ", " + strings.Join(addresses, ", ") + ", and no other"
	}
}

// spoken returns an address as people say it: group billing.
func spoken(address string) string { return strings.Replace(address, ":", " ", 1) }

func (r *redriving) details() (list []Detail) {
	add := func(n int64, name, format string, args ...any) {
		if n > 0 {
			list = append(list, Detail{name, fmt.Sprintf(format, args...)})
		}
	}
	add(int64(len(r.job.Letters)), "order", "they come behind all that wait in %s; the order of a key is not kept", r.job.Target)
	add(r.guarded, "guard", "%d left: redriven %d times already; edit or drop them", r.guarded, r.cfg.MaxRedrives)
	add(r.undecodable, "undecodable", "%d left: not to be decoded, or too large; AlsoUndecodable takes them", r.undecodable)
	add(r.wide, "wide", "%d left: more than %d fields, which no script can move", r.wide, redrive.Widest/2)
	add(r.otherwise, "others", "%d left: not chosen", r.otherwise)
	add(r.strangers, "strangers", "%d left: they are no dead letters", r.strangers)
	return list
}

// warnings tells of readers that will not handle the entries as they are meant to.
func (r *redriving) warnings() (list []string) {
	seen := r.job.Seen
	if seen.Err != nil {
		return []string{fmt.Sprintf("it is not known who reads %s, and how far behind: %v", r.job.Target, seen.Err)}
	}
	if seen.Missing {
		return []string{fmt.Sprintf("the stream %s does not exist, and nobody reads it; it will be made", r.job.Target)}
	}
	var others []string
	for _, name := range slices.Sorted(maps.Keys(seen.Groups)) {
		address := stream.Identity{Group: name}.Address()
		if r.job.Addresses[address] == 0 {
			others = append(others, name)
		} else if behind := seen.Groups[name].Behind; behind >= farBehind {
			list = append(list, fmt.Sprintf("group %s is %d entries behind; WaitWhileBehind holds back", name, behind))
		}
	}
	for _, address := range slices.Sorted(maps.Keys(r.job.Addresses)) {
		if name, is := strings.CutPrefix(address, "group:"); is && !seen.Has(name) {
			list = append(list, fmt.Sprintf("%s has no group %s, so that nobody handles %d of the entries; ToGroup gives them to another one", r.job.Target, name, r.job.Addresses[address]))
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
