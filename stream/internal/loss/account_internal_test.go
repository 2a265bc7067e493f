package loss

import (
	"fmt"
	"testing"
	"time"

	"millrace/stream/internal/resp"
)

// lookedAt is the state of a group at the end of a stream to which so many entries were added, of
// which so many have gone, and that another consumer has last read so long ago; -1 is
// never.
func lookedAt(added, gone int64, quiet time.Duration, others string) *groupState {
	last := fmt.Sprint(added, "-0")
	at := &groupState{
		last: last, now: last, generated: last, read: added, sure: 1,
		added: added, length: added - gone, deleted: resp.Beginning, quiet: -1, others: others, timed: 1,
	}
	if quiet >= 0 {
		at.quiet = quiet.Milliseconds()
	}
	return at
}

// The entries that a group has passed have to have been given to its only reader, in any
// order of looks and reads.
func TestAccount(t *testing.T) {
	t.Parallel()
	const never = -1
	look := func(at *groupState, during ...string) func(*account) {
		return func(a *account) {
			look := a.begin()
			for _, first := range during {
				a.read(first, 5)
			}
			a.end(look, at)
		}
	}
	read := func(first string, n int) func(*account) {
		return func(a *account) { a.read(first, n) }
	}
	rounds := func(a *account) { a.round(); a.round() }
	void := func(a *account) { a.void(true) }
	trimmed := Finding{Cause: Trimmed, From: "20-0", To: "50-0", Count: 25, Exact: true}
	before := look(lookedAt(20, 0, never, "a"))
	for name, row := range map[string]struct {
		steps []func(*account)
		want  Finding
	}{
		"all of it":                       {[]func(*account){before, read("21-0", 30), look(lookedAt(50, 45, never, "a")), rounds}, Finding{}},
		"some trimmed":                    {[]func(*account){before, read("46-0", 5), look(lookedAt(50, 45, never, "a")), rounds}, trimmed},
		"some left out":                   {[]func(*account){before, read("46-0", 5), look(lookedAt(50, 0, never, "a")), rounds}, Finding{Cause: GroupMoved, From: "20-0", To: "50-0", Count: 25, Exact: true}},
		"on its way during the look":      {[]func(*account){before, look(lookedAt(50, 45, never, "a")), read("46-0", 5), rounds}, trimmed},
		"taken in during the look":        {[]func(*account){before, look(lookedAt(50, 45, never, "a"), "46-0"), rounds}, trimmed},
		"all on its way":                  {[]func(*account){before, look(lookedAt(50, 45, never, "a")), read("21-0", 30), rounds}, Finding{}},
		"read before it begins":           {[]func(*account){look(lookedAt(20, 0, never, "a"), "16-0"), read("46-0", 5), look(lookedAt(50, 45, never, "a")), rounds}, trimmed},
		"read after it begins":            {[]func(*account){look(lookedAt(20, 0, never, "a"), "21-0"), read("46-0", 5), look(lookedAt(50, 40, never, "a")), rounds}, Finding{Cause: Trimmed, From: "20-0", To: "50-0", Count: 20, Exact: true}},
		"behind the second look":          {[]func(*account){before, read("46-0", 5), look(lookedAt(50, 45, never, "a"), "51-0"), read("56-0", 5), rounds}, trimmed},
		"and that is not forgotten":       {[]func(*account){before, read("21-0", 30), look(lookedAt(50, 45, never, "a"), "51-0"), read("56-0", 5), rounds, look(lookedAt(60, 55, never, "a")), rounds}, Finding{}},
		"too early to say":                {[]func(*account){before, look(lookedAt(50, 45, never, "a")), func(a *account) { a.round() }}, Finding{}},
		"a look between":                  {[]func(*account){before, look(lookedAt(50, 45, never, "a")), look(lookedAt(60, 45, never, "a")), read("46-0", 5), rounds}, trimmed},
		"another has read":                {[]func(*account){before, read("46-0", 5), look(lookedAt(50, 45, 0, "a")), rounds}, Finding{}},
		"another has read, long ago":      {[]func(*account){before, read("46-0", 5), look(lookedAt(50, 45, time.Hour, "a")), rounds}, trimmed},
		"another has come, or gone":       {[]func(*account){before, read("46-0", 5), look(lookedAt(50, 45, never, "b")), rounds}, Finding{}},
		"a read has failed":               {[]func(*account){before, void, look(lookedAt(50, 45, never, "a")), rounds}, Finding{}},
		"a read has failed in the look":   {[]func(*account){before, func(a *account) { look := a.begin(); a.void(true); a.end(look, lookedAt(50, 45, never, "a")) }, rounds}, Finding{}},
		"the look has found it":           {[]func(*account){before, func(a *account) { at := lookedAt(50, 45, never, "a"); at.found = "unread"; a.end(a.begin(), at) }, rounds}, Finding{}},
		"the group was set back":          {[]func(*account){look(lookedAt(50, 0, never, "a")), look(lookedAt(20, 0, never, "a")), rounds}, Finding{}},
		"its counter tells what was lost": {[]func(*account){before, read("46-0", 5), func(a *account) { at := lookedAt(50, 45, never, "a"); at.timed = 0; a.end(a.begin(), at) }, rounds}, Finding{}},
		"it is not known where it stands": {[]func(*account){before, func(a *account) {
			at := lookedAt(50, 45, never, "a")
			at.generated, at.sure = "60-0", 0
			a.end(a.begin(), at)
		}, rounds}, Finding{}},
	} {
		a := &account{}
		for _, step := range row.steps {
			step(a)
		}
		got := a.takeSkipped()
		if got != row.want {
			t.Errorf("%s: told %+v, want %+v", name, got, row.want)
		}
		if a.takeSkipped().Cause != None {
			t.Errorf("%s: told twice", name)
		}
	}
}
