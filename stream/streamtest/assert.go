package streamtest

import (
	"context"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// AssertPending fails the test unless exactly the entries with these IDs are pending in a
// group: delivered, and not acked. The order of the IDs is of no concern. AssertPending is for
// the test's own goroutine.
func AssertPending(t testing.TB, client redis.UniversalClient, stream, group string, ids ...string) {
	t.Helper()
	assertIDs(t, "pending in group "+group, pendingIDs(t, client, stream, group), ids)
}

// AssertAcked fails the test unless the acked entries of a group are exactly the entries with
// these IDs. An acked entry is an entry in the stream that was delivered to the group and is no
// longer pending. The order of the IDs is of no concern. AssertAcked is for the test's own
// goroutine.
func AssertAcked(t testing.TB, client redis.UniversalClient, stream, group string, ids ...string) {
	t.Helper()
	groups, err := client.XInfoGroups(context.Background(), stream).Result()
	if err != nil {
		t.Fatalf("looking for the groups of %s: %v", stream, err)
	}
	at := slices.IndexFunc(groups, func(g redis.XInfoGroup) bool { return g.Name == group })
	if at < 0 {
		t.Fatalf("%s has no group %q", stream, group)
	}
	last, err := offset.Parse(groups[at].LastDeliveredID)
	if err != nil {
		t.Fatal(err)
	}
	pending := pendingIDs(t, client, stream, group)
	acked := slices.DeleteFunc(EntryIDs(t, client, stream), func(text string) bool {
		id, err := offset.Parse(text)
		return err != nil || id.Compare(last) > 0 || slices.Contains(pending, text)
	})
	assertIDs(t, "acked in group "+group, acked, ids)
}

// deadLetterID has the value of stream.DeadLetterID. This package cannot import package stream,
// because the internal tests of stream import this package.
const deadLetterID = "millrace.id"

// AssertDeadLettered fails the test unless a dead-letter stream, see
// [millrace/stream.DeadLetterStream], holds one dead letter for each entry with one of these
// IDs, and no other dead letter. The order of the IDs is of no concern. AssertDeadLettered is
// for the test's own goroutine.
func AssertDeadLettered(t testing.TB, client redis.UniversalClient, deadLetters string, ids ...string) {
	t.Helper()
	letters, err := client.XRange(context.Background(), deadLetters, "-", "+").Result()
	if err != nil {
		t.Fatalf("reading %s: %v", deadLetters, err)
	}
	var origins []string
	for _, letter := range letters {
		id, _ := letter.Values[deadLetterID].(string)
		origins = append(origins, id)
	}
	assertIDs(t, "in "+deadLetters, origins, ids)
}

func pendingIDs(t testing.TB, client redis.UniversalClient, stream, group string) []string {
	t.Helper()
	var ids []string
	for from := "-"; ; from = "(" + ids[len(ids)-1] {
		page, err := client.XPendingExt(context.Background(), &redis.XPendingExtArgs{
			Stream: stream, Group: group, Start: from, End: "+", Count: 1000,
		}).Result()
		if err != nil {
			t.Fatalf("looking for what is pending in group %q of %s: %v", group, stream, err)
		}
		for _, entry := range page {
			ids = append(ids, entry.ID)
		}
		if len(page) < 1000 {
			return ids
		}
	}
}

func assertIDs(t testing.TB, where string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", where, got, want)
	}
}

// EntryIDs returns the IDs of all entries that a stream has, in their order. The test fails if
// the stream cannot be read within 30 seconds. EntryIDs is for the test's own goroutine.
func EntryIDs(t testing.TB, client redis.UniversalClient, stream string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitTimeout)
	defer cancel()
	var ids []string
	for from := "-"; ; from = "(" + ids[len(ids)-1] {
		page, err := client.XRangeN(ctx, stream, from, "+", 1000).Result()
		if err != nil {
			t.Fatalf("reading %s: %v", stream, err)
		}
		for _, message := range page {
			ids = append(ids, message.ID)
		}
		if len(page) < 1000 {
			return ids
		}
	}
}
