package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

// A group that is removed between the plan and its doing stops it.
func TestGroupThatVanishes(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	buryMany(t, client, 400)
	client.XGroupCreateMkStream(t.Context(), orders, "billing", "0")
	p := planned(t, a, admin.RedriveConfig{})
	client.XGroupDestroy(t.Context(), orders, "billing")
	var moved *admin.MovedError
	if _, err := p.Do(t.Context(), by); !errors.As(err, &moved) || !strings.Contains(err.Error(), "group billing of orders was removed") {
		t.Errorf("done all the same: %v", err)
	}
	want(t, "letters", length(t, client, dead), 400)

	client.XGroupCreate(t.Context(), orders, "billing", "0")
	done, err := planned(t, a, admin.RedriveConfig{}).Do(t.Context(), by, admin.Rate(100), admin.Report(func(p admin.Progress) {
		if p.Done >= 50 {
			client.XGroupDestroy(t.Context(), orders, "billing")
		}
	}))
	if err == nil || !strings.Contains(err.Error(), "group billing of orders was removed, so that nobody would handle the entries") {
		t.Errorf("gone meanwhile: %v", err)
	}
	if done.Left < 100 || done.Moved+done.Left != 400 {
		t.Errorf("%+v", done)
	}
}

func TestRedriveAtARate(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	buryMany(t, client, 300)
	begun := time.Now()
	redrive(t, a, admin.RedriveConfig{}, admin.Rate(200))
	// The first page is at once, and each waits for those before it.
	if took := time.Since(begun); took < 1200*time.Millisecond {
		t.Errorf("300 letters at 200 a second took %v", took)
	}
	wantEachOnce(t, client, orders, 300)
}

// The redrive holds back while its reader is behind, and goes on with it.
func TestRedriveWaitsWhileBehind(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	buryMany(t, client, 500)
	client.XGroupCreateMkStream(t.Context(), orders, "billing", "0")
	var most, waits int64
	read := func(n int64) {
		found, err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "c", Streams: []string{orders, ">"}, Count: n, NoAck: true, Block: -1}).Result()
		if err != nil && !errors.Is(err, redis.Nil) || err == nil && len(found) == 0 {
			t.Error(err)
		}
	}
	done := redrive(t, a, admin.RedriveConfig{}, admin.WaitWhileBehind(100), admin.Report(func(p admin.Progress) {
		groups, err := client.XInfoGroups(t.Context(), orders).Result()
		if err != nil {
			t.Error(err)
			return
		}
		most = max(most, groups[0].Lag)
		if p.Waiting != "" {
			waits++
		}
		read(150)
	}))
	want(t, "result", done, admin.Redriven{Planned: 500, Moved: 500})
	if most > 201 || most < 50 {
		t.Errorf("the group was up to %d behind, and the redrive waited %d times", most, waits)
	}
	bury(t, client, letter{pairs: []string{"id", "a"}, label: "search"})
	if _, err := planned(t, a, admin.RedriveConfig{}).Do(t.Context(), by, admin.WaitWhileBehind(1)); err == nil || !strings.Contains(err.Error(), "WaitWhileBehind knows how far groups are behind") {
		t.Errorf("for a label: %v", err)
	}
	want(t, "letters", length(t, client, dead), 1)
}

// Redis does not tell how far a group is behind that begins in the middle.
func TestRedriveWaitsWhereTheLagIsUnknown(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	many := make([][]string, 50)
	for i := range many {
		many[i] = []string{"id", "x"}
	}
	ids := add(t, client, orders, many...)
	client.XGroupCreate(t.Context(), orders, "billing", ids[9])
	buryMany(t, client, 10)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting string
	done, err := planned(t, a, admin.RedriveConfig{}).Do(ctx, by, admin.WaitWhileBehind(30), admin.Report(func(p admin.Progress) {
		waiting += p.Waiting
		cancel()
	}))
	if !errors.Is(err, context.Canceled) || done != (admin.Redriven{Planned: 10, Left: 10}) || !strings.Contains(waiting, "40 entries behind") {
		t.Errorf("%+v, %v, waiting: %q", done, err, waiting)
	}
	want(t, "behind less", redrive(t, a, admin.RedriveConfig{}, admin.WaitWhileBehind(60)).Moved, 10)
}

// A redrive stops by itself when its entries come back.
func TestRedriveStopsWhenEntriesReturn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fails func(n int) bool
		stops bool
	}{
		{"all", func(int) bool { return true }, true},
		{"a third", func(n int) bool { return n%3 == 0 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, client := startRedis(t)
			a := newAdmin(t, client)
			letters := 600
			if c.stops {
				letters = 2000
			}
			buryMany(t, client, letters)
			n := 0
			stop := giveUp(t, client, func(*stream.Message[order]) error {
				if n++; c.fails(n) {
					return errors.New("not today")
				}
				return nil
			})
			p := planned(t, a, admin.RedriveConfig{})
			// An entry that is not of the redrive fails, too.
			add(t, client, orders, []string{"n", "1000", "amount", "1"})
			done, err := p.Do(t.Context(), by, admin.Rate(300))
			stop()
			var returned *admin.ReturnedError
			if errors.As(err, &returned) != c.stops || !c.stops && err != nil {
				t.Fatalf("%+v, %v", done, err)
			}
			if !c.stops {
				want(t, "moved", done.Moved, 600)
				if done.Returned < 50 || done.Returned > 200 {
					t.Errorf("%d came back", done.Returned)
				}
				return
			}
			if returned.Of != 100 || returned.Returned < 51 || done.Returned < 100 || done.Left < 100 || done.Left+done.Moved != int64(letters) {
				t.Errorf("%+v, %v", done, err)
			}
			// The letters that came back have been redriven once, and are the same entries.
			back, _ := lettersOf(t, a, admin.Where{MinRedrives: 1})
			for _, l := range back {
				if l.Redrives != 1 || !strings.HasPrefix(l.OriginID, "1700000000000-") || l.EntryID == l.OriginID {
					t.Fatalf("letter %+v", l)
				}
			}
		})
	}
}

// giveUp starts a consumer of group billing that gives entries up at once. stop waits for its
// end.
func giveUp(t testing.TB, client *redis.Client, handle func(*stream.Message[order]) error) (stop func()) {
	t.Helper()
	instance := streamtest.NewInstance(t, client)
	instance.Start(newConsumer(t, client, "billing", handle))
	return func() {
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
	}
}
