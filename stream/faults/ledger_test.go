package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// ledger compares what a server has as settled with what was handled, and with the
// dead letters, of which it keeps count. It is for a server on which nothing is
// written meanwhile.
type ledger struct {
	trial *trial
	admin redis.UniversalClient

	// Up to these there is nothing more to look at.
	checked, read string
	letters       map[string][]letter // by the ID of the entry
	vanished      int                 // how many letters Redis has acknowledged and lost
	asRead        int                 // how many have the fields as a consumer had read them
}

// letter is a dead letter: its own ID, and the fields of the entry.
type letter struct {
	id    string
	entry []string
}

func (tr *trial) newLedger(admin redis.UniversalClient) *ledger {
	l := &ledger{trial: tr, admin: admin, checked: "0-0", read: "0-0", letters: make(map[string][]letter)}
	tr.t.Cleanup(func() { // what is still pending tells what went wrong
		if tr.t.Failed() && tr.mode == groupMode {
			tr.t.Log(admin.XPendingExt(context.Background(), &redis.XPendingExtArgs{Stream: transfers.Name, Group: group, Start: "-", End: "+", Count: 20}))
			tr.t.Log(admin.XInfoConsumers(context.Background(), transfers.Name, group))
		}
	})
	return l
}

// forget is for a server that has lost everything.
func (l *ledger) forget() { l.checked, l.read, l.vanished, l.asRead = "0-0", "0-0", 0, 0 }

// audit looks at everything that is settled, and returns the IDs of what is not.
func (l *ledger) audit() (unsettled []string) {
	t := l.trial.t
	t.Helper()
	isSettled := l.settled()
	l.readLetters() // afterwards: a letter is written before its entry is settled, or with it
	contiguous := true
	for _, one := range l.rawEntries(transfers.Name, l.checked) {
		if !isSettled(one.id) {
			unsettled = append(unsettled, one.id)
			contiguous = false
			continue
		}
		l.check(one.id, one.entry)
		if contiguous {
			l.checked = one.id
		}
	}
	return unsettled
}

// check looks at one entry that is settled.
func (l *ledger) check(id string, pairs []string) {
	t := l.trial.t
	t.Helper()
	letters := l.letters[id]
	if !isForDeadLetters(pairs) {
		if !l.trial.hasEnded(id) {
			t.Errorf("%s is settled, and was not handled to its end", id)
		}
		if len(letters) > 0 {
			t.Errorf("%s is in the dead letters, and can be handled", id)
		}
		return
	}
	if len(letters) == 0 && l.trial.endedAsRedisLost(id) {
		l.vanished++
	} else if len(letters) == 0 {
		t.Errorf("%s is settled, and is not in the dead letters", id)
	}
	for _, one := range letters {
		switch {
		case slices.Equal(one.entry, pairs):
		case slices.Equal(one.entry, asRead(pairs)) && l.trial.endedAsRedisLost(id):
			// A primary that is none any more, or has just become one, was asked for the
			// entry, and did not have it.
			l.asRead++
		default:
			t.Errorf("%s is not in the dead letters as it was, byte for byte:\n%q\n%q", id, pairs, one.entry)
		}
	}
}

// asRead returns the fields of an entry as a consumer has them: without their order, and
// of a name that repeats with the last value.
func asRead(pairs []string) (fields []string) {
	last := make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		last[pairs[i]] = pairs[i+1]
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		fields = append(fields, name, last[name])
	}
	return fields
}

func isForDeadLetters(pairs []string) bool {
	fate := fateOfEntry(pairs)
	return fate == hopeless || fate == elsewhere || fate == garbled
}

func fateOfEntry(pairs []string) fate {
	number, err := strconv.Atoi(valueOf(pairs, "number"))
	if err != nil {
		return garbled
	}
	return fateOf(number)
}

// valueOf returns the first value of a field.
func valueOf(pairs []string, name string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return ""
}

// settled returns what says whether the server has an entry as settled.
func (l *ledger) settled() func(id string) bool {
	t := l.trial.t
	t.Helper()
	if l.trial.mode == logMode {
		saved, err := l.admin.HGet(t.Context(), offset.DefaultKey, transfers.Name).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		return func(id string) bool { return saved != "" && compare(id, saved) <= 0 }
	}
	groups, err := l.admin.XInfoGroups(t.Context(), transfers.Name).Result()
	if err != nil || len(groups) != 1 {
		t.Fatalf("there are the groups %v, %v", groups, err)
	}
	list, err := l.admin.XPendingExt(t.Context(), &redis.XPendingExtArgs{
		Stream: transfers.Name, Group: group, Start: "-", End: "+", Count: 1_000_000,
	}).Result()
	if err != nil {
		t.Fatal(err)
	}
	pending := make(map[string]bool, len(list))
	for _, one := range list {
		pending[one.ID] = true
	}
	return func(id string) bool { return compare(id, groups[0].LastDeliveredID) <= 0 && !pending[id] }
}

// isComplete reports whether the server has everything as settled.
func (l *ledger) isComplete() bool {
	last, err := l.admin.XRevRangeN(l.trial.t.Context(), transfers.Name, "+", "-", 1).Result()
	return err == nil && len(last) > 0 && l.settled()(last[0].ID) && l.pending() == 0
}

// pending returns how many entries are pending, which in log mode are none.
func (l *ledger) pending() int64 {
	t := l.trial.t
	t.Helper()
	if l.trial.mode == logMode {
		return 0
	}
	pending, err := l.admin.XPending(t.Context(), transfers.Name, group).Result()
	if err != nil {
		t.Fatal(err)
	}
	return pending.Count
}

// hasSettled reports whether the server has all of these entries as settled.
func (l *ledger) hasSettled(ids []string) bool {
	isSettled := l.settled()
	return !slices.ContainsFunc(ids, func(id string) bool { return !isSettled(id) })
}

// readLetters takes in the dead letters that are new.
func (l *ledger) readLetters() {
	t := l.trial.t
	t.Helper()
	owner := stream.DeadLetterLabel
	if l.trial.mode == groupMode {
		owner = stream.DeadLetterGroup
	}
	want := []string{
		stream.DeadLetterOrigin, stream.DeadLetterID, owner,
		stream.DeadLetterAttempts, stream.DeadLetterCause, stream.DeadLetterTime,
	}
	for _, one := range l.rawEntries(stream.DeadLetterStream(transfers.Name), l.read) {
		l.read = one.id
		own := max(0, len(one.entry)-2*len(want))
		names := make([]string, 0, len(want))
		for i := own; i < len(one.entry); i += 2 {
			names = append(names, one.entry[i])
		}
		if !slices.Equal(names, want) || strings.Contains(strings.Join(one.entry[own:], " "), canary) {
			t.Errorf("the dead letter %s has the fields %q", one.id, one.entry[own:])
			continue
		}
		entry := one.entry[:own]
		if !isForDeadLetters(entry) {
			t.Errorf("the dead letter %s is of an entry that can be handled", one.id)
		}
		origin := valueOf(one.entry[own:], stream.DeadLetterID)
		l.letters[origin] = append(l.letters[origin], letter{one.id, entry})
	}
}

// close looks at everything once more, when all has been settled, and at the letters
// that are there more than once. Where the move and the ack are one step there are
// none; elsewhere a fault must have taken the reply to the first one away.
func (l *ledger) close() string {
	t := l.trial.t
	t.Helper()
	l.forget()
	letters := l.letters
	l.letters = make(map[string][]letter)
	if unsettled := l.audit(); len(unsettled) > 0 {
		t.Errorf("%d entries are not settled, %v is the first", len(unsettled), unsettled[0])
	}
	for id, list := range l.letters {
		letters[id] = list
	}
	total, again := 0, 0
	for id, list := range letters {
		total += len(list)
		again += len(list) - 1
		for i := range list[1:] {
			atOnce := l.trial.mode == groupMode && fateOfEntry(list[i].entry) != elsewhere
			if atOnce || !l.trial.faultBetween(list[i].id, list[i+1].id) {
				t.Errorf("%s is in the dead letters as %s and as %s, and no fault explains that", id, list[i].id, list[i+1].id)
			}
		}
	}
	return fmt.Sprintf("%d dead letters, of which %d are there once more because of a fault and %d as they were read, besides %d that Redis has lost", total, again, l.asRead, l.vanished)
}

// rawEntry is an entry as the server has it: repeated names and the order of fields
// are in no map.
type rawEntry struct {
	id    string
	entry []string
}

// rawEntries returns the entries of a stream behind an ID.
func (l *ledger) rawEntries(key, after string) (list []rawEntry) {
	t := l.trial.t
	t.Helper()
	reply, err := l.admin.Do(t.Context(), "XRANGE", key, "("+after, "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range reply {
		parts := one.([]any)
		entry := rawEntry{id: parts[0].(string)}
		for _, text := range parts[1].([]any) {
			entry.entry = append(entry.entry, text.(string))
		}
		list = append(list, entry)
	}
	return list
}

func compare(a, b string) int {
	x, _ := offset.Parse(a)
	y, _ := offset.Parse(b)
	return x.Compare(y)
}

// span is when a fault was, and whether Redis may have lost what it had acknowledged.
type span struct {
	begun, over time.Time
	loses       bool
}

// faultBetween reports whether there was a fault at some time between two IDs that
// the server has given, or shortly before.
func (tr *trial) faultBetween(from, to string) bool {
	first, _ := offset.Parse(from)
	last, _ := offset.Parse(to)
	// What was sent during a fault can arrive when that is over, and nobody waits for
	// the reply any more.
	const late = time.Second
	begun, over := time.UnixMilli(int64(first.Ms)).Add(-late), time.UnixMilli(int64(last.Ms)+1)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.ContainsFunc(tr.spans, func(s span) bool { return s.begun.Before(over) && s.over.After(begun) })
}

// endedAsRedisLost reports whether the processing of an entry has ended during a fault
// in which Redis may lose what it has acknowledged: the dead letter can be on a primary
// that is no more, the offset or the ack of its entry on the one that has followed.
func (tr *trial) endedAsRedisLost(id string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	at := tr.ended[id]
	return slices.ContainsFunc(tr.spans, func(s span) bool { return s.loses && s.begun.Before(at) && s.over.After(at) })
}

// hasEnded reports whether the processing of an entry has come to its end.
func (tr *trial) hasEnded(id string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return !tr.ended[id].IsZero()
}
