package feed

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/streamtest"
)

// Where a reply can have but one entry, it is still found out in the same read whether the
// entry at the place has gone.
func TestAReadOfOneEntryLooksForTheOneBefore(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	for _, id := range []string{"1-0", "2-0", "3-0"} {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", ID: id, Values: []string{"a", "b"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := conn.NewReader(t.Context(), client, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	p := newPace(resp.NoLimit(""), 1)
	p.alone = true
	if ids, err := readBehindAt(r, 1, p); len(ids) != 1 || ids[0] != "2-0" || err != nil {
		t.Errorf("it has read %v, %v", ids, err)
	}
	if err := client.XTrimMinID(t.Context(), "s", "3-0").Err(); err != nil {
		t.Fatal(err)
	}
	if ids, err := readBehindAt(r, 1, p); len(ids) > 0 || !errors.Is(err, ErrNoWitness) {
		t.Errorf("it has read %v, %v, and the entry before has gone", ids, err)
	}
}
