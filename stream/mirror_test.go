package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/offset/offsettest"
	"millrace/stream"
	"millrace/stream/streamtest"
)

func newMirror(t testing.TB, client redis.UniversalClient, store offset.Store) *stream.Mirror {
	t.Helper()
	mirror, err := stream.NewMirror(client, orders.Name, store)
	if err != nil {
		t.Fatal(err)
	}
	return mirror
}

// shown returns where the mirror shows a label, "" for nowhere.
func shown(t testing.TB, client redis.UniversalClient, label string) string {
	t.Helper()
	groups, err := client.XInfoGroups(t.Context(), orders.Name).Result()
	if err != nil && !strings.Contains(err.Error(), "no such key") {
		t.Fatal(err)
	}
	for _, group := range groups {
		if group.Name == stream.PositionGroup(label) {
			return group.LastDeliveredID
		}
	}
	return ""
}

func wantShown(t testing.TB, client redis.UniversalClient, label, want string) {
	t.Helper()
	if at := shown(t, client, label); at != want {
		t.Errorf("%q is shown at %q, want %q", label, at, want)
	}
}

// A mirror is a store like the one that it is around.
func TestMirrorKeepsTheContractOfAStore(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendfsync", "no").Client()
	open := func(t *testing.T, path string) offset.Store {
		t.Helper()
		file, err := offset.NewFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return mirroredFile{newMirror(t, client, file), path}
	}
	offsettest.Run(t, offsettest.Harness{
		New: func(t *testing.T) offset.Store {
			client.Del(t.Context(), orders.Name)
			return open(t, filepath.Join(t.TempDir(), "offsets.json"))
		},
		Reopen: func(t *testing.T, store offset.Store) offset.Store { return open(t, store.(mirroredFile).path) },
	})
}

type mirroredFile struct {
	*stream.Mirror
	path string
}

func TestMirrorShowsWhatTheStoreHas(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	store := &offset.Memory{}
	mirror := newMirror(t, client, store)
	ctx := t.Context()

	// A consumer that begins is shown before it has an offset.
	if id, found, err := mirror.Load(ctx, "a"); id != "" || found || err != nil {
		t.Errorf("loaded %q, %t, %v", id, found, err)
	}
	wantShown(t, client, "a", "0-0")

	for _, id := range []string{"5-5", "9007199254740992-0", "9007199254740993-0", "9007199254740992-7", "18446744073709551615-18446744073709551615", "1-0"} {
		if err := mirror.Save(ctx, "a", id); err != nil {
			t.Fatal(err)
		}
		want, _, _ := store.Load(ctx, "a")
		wantShown(t, client, "a", want) // which goes forward only
	}
	if id, found, err := mirror.Load(ctx, "a"); id != "18446744073709551615-18446744073709551615" || !found || err != nil {
		t.Errorf("loaded %q, %t, %v", id, found, err)
	}

	// A store that was put back, by hand or by a restart, puts back the mirror,
	// before its consumer reads the entries again.
	if err := store.Reset(ctx, "a", "2-0"); err != nil {
		t.Fatal(err)
	}
	if id, _, err := mirror.Load(ctx, "a"); id != "2-0" || err != nil {
		t.Errorf("loaded %q, %v", id, err)
	}
	wantShown(t, client, "a", "2-0")
	mirror = newMirror(t, client, saved(t, "a", "3-0"))
	if id, _, err := mirror.Load(ctx, "a"); id != "3-0" || err != nil {
		t.Errorf("loaded %q, %v", id, err)
	}
	wantShown(t, client, "a", "3-0")
	if _, _, err := newMirror(t, client, &offset.Memory{}).Load(ctx, "a"); err != nil {
		t.Error(err)
	}
	wantShown(t, client, "a", "0-0")

	// What was deleted comes again with the next offset.
	client.Del(ctx, orders.Name)
	if err := mirror.Save(ctx, "a", "4-0"); err != nil {
		t.Fatal(err)
	}
	wantShown(t, client, "a", "4-0")
	client.XGroupDestroy(ctx, orders.Name, stream.PositionGroup("a"))
	if err := mirror.Save(ctx, "a", "4-0"); err != nil { // an offset that the store has already
		t.Fatal(err)
	}
	wantShown(t, client, "a", "4-0")
}

// The mirror is never ahead of the store, whatever fails.
func TestMirrorAfterFailures(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	store := &flakyStore{}
	mirror := newMirror(t, client, store)
	ctx := t.Context()
	if err := mirror.Save(ctx, "a", "1-0"); err != nil {
		t.Fatal(err)
	}
	store.fail(io.ErrUnexpectedEOF, io.ErrUnexpectedEOF)
	if err := mirror.Save(ctx, "a", "2-0"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("saving: %v", err)
	}
	if _, _, err := mirror.Load(ctx, "b"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("loading: %v", err)
	}
	wantShown(t, client, "a", "1-0")
	wantShown(t, client, "b", "")
	store.fail(nil, nil)

	// Redis fails: the store goes on, the caller is told, and the next one mends it.
	client.Rename(ctx, orders.Name, "away")
	client.Set(ctx, orders.Name, "a text", 0)
	if err := mirror.Save(ctx, "a", "3-0"); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("saving: %v", err)
	}
	if id, _, err := mirror.Load(ctx, "a"); err == nil {
		t.Errorf("loaded %q without a mirror", id)
	}
	if id, _, _ := store.Load(ctx, "a"); id != "3-0" {
		t.Errorf("the store has %q", id)
	}
	client.Rename(ctx, "away", orders.Name)
	wantShown(t, client, "a", "1-0")
	if err := mirror.Save(ctx, "a", "3-0"); err != nil {
		t.Error(err)
	}
	wantShown(t, client, "a", "3-0")

	// A store that lets anything pass.
	mirror = newMirror(t, client, constStore{id: "$"})
	if _, _, err := mirror.Load(ctx, "a"); err == nil {
		t.Error(`"$" was loaded`)
	}
	if err := mirror.Save(ctx, "b", "7-"); err == nil {
		t.Error(`"7-" was saved`)
	}
	wantShown(t, client, "a", "3-0")
	wantShown(t, client, "b", "")
}

func TestMirrorOfManySaves(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendfsync", "no").Client()
	mirror := newMirror(t, client, &offset.Memory{})
	var saves sync.WaitGroup
	for i := range 8 {
		saves.Go(func() {
			for n := range 50 {
				if err := mirror.Save(context.Background(), "a", fmt.Sprintf("%d-%d", n, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	saves.Wait()
	wantShown(t, client, "a", "49-7")
}

// A trimmer that knows nothing of the store heeds the mirror, and says whose it is.
func TestTrimHeedsMirrors(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 9)
	makeGroup(t, client, "done", "9-0")
	file, err := offset.NewFile(filepath.Join(t.TempDir(), "offsets.json"))
	if err != nil {
		t.Fatal(err)
	}
	mirror := newMirror(t, client, file)
	if _, _, err := mirror.Load(t.Context(), "mail"); err != nil {
		t.Fatal(err)
	}
	result := trim(t, client)
	if held := (stream.Position{Owner: "mail", Label: true, ID: "0-0", State: stream.PositionPassed}); result.Trimmed != 0 || result.Positions[0] != held {
		t.Errorf("it has only begun: %+v", result)
	}
	if err := mirror.Save(t.Context(), "mail", "4-0"); err != nil {
		t.Fatal(err)
	}
	if result = trim(t, client); result.Trimmed != 3 || result.Floor != "4-0" || result.Positions[0].String() != `label "mail"` {
		t.Errorf("it has passed 4-0: %+v", result)
	}
	wantIDs(t, client, "4-0", "5-0", "6-0", "7-0", "8-0", "9-0")
	// Known twice, at two places, it loses the entries once, and rather too many.
	result = trim(t, client, stream.WithOffsets(saved(t, "mail", "5-0"), "mail"), stream.WithHardMaxLen(3))
	if want := (stream.TrimLoss{Owner: "mail", Label: true, From: "5-0", To: "6-0", Count: 2}); len(result.Losses) != 1 || result.Losses[0] != want {
		t.Errorf("got %v, want %v", result.Losses, want)
	}
	if text := result.Losses[0].String(); text != `label "mail" lost 2 entries, 5-0 to 6-0` {
		t.Error(text)
	}
}
