package app

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"millrace/codec"
	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// span is a part of a stream, as the flags say it.
type span struct {
	since    time.Duration
	from, to string
}

func (p *span) flags(flags *pflag.FlagSet) {
	flags.DurationVar(&p.since, "since", 0, "entries of so long ago until now (`time`), such as 1h")
	flags.StringVar(&p.from, "from", "", "entries from this `place` on: an ID, a time such as \"2026-11-28 10:00\", an age such as 15m, begin")
	flags.StringVar(&p.to, "to", "", "entries up to this `place`")
}

// given reports whether a flag was.
func (p *span) given() bool { return p.since != 0 || p.from != "" || p.to != "" }

// parse returns the part of the stream.
func (p *span) parse(now time.Time) (admin.Span, error) {
	if p.since != 0 && (p.from != "" || p.to != "") {
		return admin.Span{}, usage(errors.New("give --since, or --from and --to, not both"))
	}
	if p.since < 0 {
		return admin.Span{}, usage(errors.New("--since is negative; give how long ago it began"))
	}
	if p.since > 0 {
		return admin.Since(p.since), nil
	}
	from, to := admin.Begin(), admin.End()
	var problems []error
	for _, one := range []struct {
		text  string
		place *admin.Place
	}{{p.from, &from}, {p.to, &to}} {
		if one.text == "" {
			continue
		}
		place, err := admin.ParsePlace(one.text, now)
		problems = append(problems, err)
		*one.place = place
	}
	return admin.Between(from, to), errors.Join(problems...)
}

// filter chooses entries by their fields.
type filter struct {
	texts []string
	parts []filterPart
}

// filterPart is one condition.
type filterPart struct {
	name, value string
	contains    bool
}

func (f *filter) flag(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.texts, "where", nil, "only entries with the `field`: name=value, or name~text for values that contain it; may be repeated")
}

// parse reads the texts of the flags.
func (f *filter) parse() error {
	f.parts = nil
	for _, text := range f.texts {
		at := strings.IndexAny(text, "=~")
		if at <= 0 {
			return usage(fmt.Errorf("--where %q: write it as name=value or name~text", text))
		}
		f.parts = append(f.parts, filterPart{text[:at], text[at+1:], text[at] == '~'})
	}
	return nil
}

// matches reports whether fields, unpacked, have all that is wanted.
func (f *filter) matches(fields codec.Fields) bool {
	fields = display.Unpacked(fields)
	for _, part := range f.parts {
		if !part.matches(fields) {
			return false
		}
	}
	return true
}

func (p filterPart) matches(fields codec.Fields) bool {
	for name, value := range fields.All() {
		if name == p.name && (value == p.value || p.contains && strings.Contains(value, p.value)) {
			return true
		}
	}
	return false
}

// letters chooses dead letters, as the flags say.
type letters struct {
	cause, reader, dead string
	since, olderThan    time.Duration
	redrives            int
	ids                 []string
}

func (l *letters) flags(flags *pflag.FlagSet) {
	flags.StringVar(&l.cause, "cause", "", "only letters whose cause has this `text`, as dead causes shows it or as it was")
	flags.StringVar(&l.reader, "reader", "", "only letters of this group, or label:`name`")
	flags.DurationVar(&l.since, "since", 0, "only letters of so long ago until now (`time`)")
	flags.DurationVar(&l.olderThan, "older-than", 0, "only letters that are older (`time`)")
	flags.IntVar(&l.redrives, "redrives", 0, "only letters that were redriven so `often`, or more")
	flags.StringSliceVar(&l.ids, "id", nil, "only letters with these `IDs`")
	deadFlag(flags, &l.dead)
}

// deadFlag adds the flag for letters in another stream than the usual one.
func deadFlag(flags *pflag.FlagSet, dead *string) {
	flags.StringVar(dead, "dead-letters", "", "`stream` of the letters (default the topic's usual one)")
}

// placeOf says for people in which stream there are none.
func placeOf(dead string) string {
	if dead == "" {
		return " in the usual stream; --dead-letters names another one"
	}
	return " in " + display.Clean(dead)
}

// where returns the choice that the flags make.
func (l *letters) where(now time.Time) (admin.Where, error) {
	where := admin.Where{Cause: l.cause, OlderThan: l.olderThan, MinRedrives: l.redrives, IDs: l.ids, DeadLetterStream: l.dead}
	if l.since < 0 {
		return where, usage(errors.New("--since is negative; give how long ago it began"))
	}
	if l.since > 0 {
		where.Since = now.Add(-l.since)
	}
	if label, is := strings.CutPrefix(l.reader, "label:"); is {
		where.Reader.Label = label
	} else {
		where.Reader.Group = groupName(l.reader)
	}
	return where, nil
}
