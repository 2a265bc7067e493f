package stream_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// newTrimmer makes a trimmer of orders that fails the test if it cannot.
func newTrimmer(t testing.TB, client redis.UniversalClient, opts ...stream.TrimmerOption) *stream.Trimmer {
	t.Helper()
	trimmer, err := stream.NewTrimmer(client, orders.Name, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return trimmer
}

// trim trims orders once.
func trim(t testing.TB, client redis.UniversalClient, opts ...stream.TrimmerOption) stream.TrimResult {
	t.Helper()
	result, err := newTrimmer(t, client, opts...).Trim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// addIDs adds entries with these IDs.
func addIDs(t testing.TB, client redis.UniversalClient, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: id, Values: []string{"id", id, "amount", "1"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// addUpTo adds the entries 1-0 to n-0.
func addUpTo(t testing.TB, client redis.UniversalClient, n int) {
	t.Helper()
	pipe := client.Pipeline()
	for i := 1; i <= n; i++ {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprintf("%d-0", i), Values: []string{"id", fmt.Sprint(i), "amount", "1"}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func makeGroup(t testing.TB, client redis.UniversalClient, group, at string) {
	t.Helper()
	if err := client.XGroupCreateMkStream(t.Context(), orders.Name, group, at).Err(); err != nil {
		t.Fatal(err)
	}
}

// deliverTo has the group take n entries more.
func deliverTo(t testing.TB, client redis.UniversalClient, group string, n int64) {
	t.Helper()
	if err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{orders.Name, ">"}, Count: n, Block: -1}).Err(); err != nil {
		t.Fatal(err)
	}
}

func ack(t testing.TB, client redis.UniversalClient, group string, ids ...string) {
	t.Helper()
	if n, err := client.XAck(t.Context(), orders.Name, group, ids...).Result(); err != nil || n != int64(len(ids)) {
		t.Fatalf("acked %d, %v", n, err)
	}
}

func wantIDs(t testing.TB, client redis.UniversalClient, want ...string) {
	t.Helper()
	if got := streamtest.EntryIDs(t, client, orders.Name); !slices.Equal(got, want) {
		t.Errorf("the stream has %v, want %v", got, want)
	}
}

func saved(t testing.TB, labelsAndIDs ...string) *offset.Memory {
	t.Helper()
	store := &offset.Memory{}
	for i := 0; i < len(labelsAndIDs); i += 2 {
		if err := store.Save(t.Context(), labelsAndIDs[i], labelsAndIDs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func TestTrimToTheOldestPendingThenToTheLastDelivered(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 9)
	makeGroup(t, client, "billing", "0")
	result := trim(t, client)
	wantIDs(t, client, "1-0", "2-0", "3-0", "4-0", "5-0", "6-0", "7-0", "8-0", "9-0")
	if result.Trimmed != 0 || result.Remaining != 9 || result.Floor != "0-0" {
		t.Errorf("a new group: %+v", result)
	}

	deliverTo(t, client, "billing", 6)
	ack(t, client, "billing", "1-0", "2-0", "3-0", "5-0")
	result = trim(t, client)
	wantIDs(t, client, "4-0", "5-0", "6-0", "7-0", "8-0", "9-0")
	held := stream.Position{Owner: "billing", ID: "4-0", State: stream.PositionPending}
	if result.Trimmed != 3 || result.Remaining != 6 || result.Floor != "4-0" || len(result.Positions) != 1 || result.Positions[0] != held || result.Capped != 0 || result.Losses != nil {
		t.Errorf("4-0 is pending: %+v", result)
	}

	ack(t, client, "billing", "4-0", "6-0")
	result = trim(t, client)
	wantIDs(t, client, "6-0", "7-0", "8-0", "9-0")
	held = stream.Position{Owner: "billing", ID: "6-0", State: stream.PositionPassed}
	if result.Trimmed != 2 || result.Floor != "6-0" || result.Positions[0] != held {
		t.Errorf("nothing is pending: %+v", result)
	}

	// All is done: the last one stays.
	deliverTo(t, client, "billing", 6)
	ack(t, client, "billing", "7-0", "8-0", "9-0")
	if result = trim(t, client); result.Trimmed != 3 || result.Remaining != 1 {
		t.Errorf("all is done: %+v", result)
	}
	wantIDs(t, client, "9-0")
}

// What is pending, and lost already, holds back nothing: nobody can process it.
func TestTrimPassesWhatIsPendingAndGone(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 9)
	makeGroup(t, client, "billing", "0")
	deliverTo(t, client, "billing", 7)
	ack(t, client, "billing", "4-0", "5-0", "7-0")
	if result := trim(t, client, stream.WithHardMaxLen(6)); result.Capped != 3 || len(result.Losses) != 1 || result.Losses[0].Count != 3 {
		t.Errorf("got %+v", result)
	}
	if result := trim(t, client); result.Floor != "6-0" || result.Trimmed != 2 {
		t.Errorf("got %+v", result)
	}
}

// A group that was put back reads again from there, whatever it has pending.
func TestTrimToAGroupThatWasPutBack(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 9)
	makeGroup(t, client, "billing", "0")
	deliverTo(t, client, "billing", 6)
	ack(t, client, "billing", "1-0", "2-0", "3-0", "4-0")
	if err := client.XGroupSetID(t.Context(), orders.Name, "billing", "2-0").Err(); err != nil {
		t.Fatal(err)
	}
	if result := trim(t, client); result.Floor != "2-0" || result.Trimmed != 1 || result.Positions[0].State != stream.PositionPassed {
		t.Errorf("got %+v", result)
	}
}

func TestTrimToTheSlowestOfGroupsAndLabels(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 9)
	makeGroup(t, client, "fast", "9-0")
	makeGroup(t, client, "slow", "5-0")
	store, other := saved(t, "billing", "3-0", "mail", "9-0"), saved(t, "audit", "7-0")
	options := []stream.TrimmerOption{stream.WithOffsets(store, "mail", "billing"), stream.WithOffsets(other, "audit")}
	result := trim(t, client, options...)
	wantIDs(t, client, "3-0", "4-0", "5-0", "6-0", "7-0", "8-0", "9-0")
	want := []stream.Position{
		{Owner: "billing", Label: true, ID: "3-0", State: stream.PositionPassed},
		{Owner: "slow", ID: "5-0", State: stream.PositionPassed},
		{Owner: "audit", Label: true, ID: "7-0", State: stream.PositionPassed},
		{Owner: "fast", ID: "9-0", State: stream.PositionPassed},
		{Owner: "mail", Label: true, ID: "9-0", State: stream.PositionPassed},
	}
	if !slices.Equal(result.Positions, want) {
		t.Errorf("the positions are %+v, want %+v", result.Positions, want)
	}
	if err := store.Save(t.Context(), "billing", "8-0"); err != nil {
		t.Fatal(err)
	}
	if result = trim(t, client, options...); result.Floor != "5-0" {
		t.Errorf("the floor is %s, want that of the slow group", result.Floor)
	}
	wantIDs(t, client, "5-0", "6-0", "7-0", "8-0", "9-0")

	// One whose offset is not there may start anywhere.
	result = trim(t, client, append(options, stream.WithOffsets(store, "new"))...)
	if held := (stream.Position{Owner: "new", Label: true, ID: "0-0", State: stream.PositionMissing}); result.Trimmed != 0 || result.Positions[0] != held {
		t.Errorf("a label without an offset: %+v", result)
	}
}

// Who stands beyond the end of the stream has not read what will come.
func TestTrimHoldsForAPositionAheadOfTheStream(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 5)
	makeGroup(t, client, "done", "5-0")
	result := trim(t, client, stream.WithOffsets(saved(t, "billing", "6-0"), "billing"))
	if held := (stream.Position{Owner: "billing", Label: true, ID: "0-0", State: stream.PositionAhead}); result.Trimmed != 0 || result.Positions[0] != held {
		t.Errorf("got %+v", result)
	}
	// An offset whose entry was deleted is not ahead.
	if err := client.XDel(t.Context(), orders.Name, "5-0").Err(); err != nil {
		t.Fatal(err)
	}
	if result = trim(t, client, stream.WithOffsets(saved(t, "billing", "5-0"), "billing")); result.Trimmed != 4 || result.Remaining != 0 {
		t.Errorf("after XDEL of the last: %+v", result)
	}
}

func TestTrimWithoutAnyPosition(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 5)
	result, err := newTrimmer(t, client).Trim(t.Context())
	if !errors.Is(err, stream.ErrNoPosition) || result.Trimmed != 0 || result.Remaining != 5 {
		t.Errorf("got %+v, %v", result, err)
	}
	wantIDs(t, client, "1-0", "2-0", "3-0", "4-0", "5-0")
	// A hard limit asks nobody, so that there is nothing to guess; nobody is
	// known to have lost anything.
	if result := trim(t, client, stream.WithHardMaxLen(2)); result.Trimmed != 3 || result.Capped != 3 || result.Losses != nil || result.Remaining != 2 {
		t.Errorf("with a limit: %+v", result)
	}
}

func TestTrimOfNothing(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for _, opts := range [][]stream.TrimmerOption{nil, {stream.WithHardMaxLen(1), stream.WithHardMaxAge(time.Hour)}} {
		if result := trim(t, client, opts...); result.Remaining != 0 || result.Trimmed != 0 {
			t.Errorf("a missing key: %+v", result)
		}
	}
	if n := client.Exists(t.Context(), orders.Name).Val(); n != 0 {
		t.Error("the trim has made the key")
	}
	makeGroup(t, client, "billing", "0")
	for _, opts := range [][]stream.TrimmerOption{nil, {stream.WithHardMaxLen(1), stream.WithHardMaxAge(time.Hour)}} {
		if result := trim(t, client, opts...); result.Remaining != 0 || result.Trimmed != 0 || len(result.Positions) != 1 {
			t.Errorf("an empty stream: %+v", result)
		}
	}
	client.Set(t.Context(), orders.Name, "x", 0)
	if _, err := newTrimmer(t, client).Trim(t.Context()); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || !strings.Contains(err.Error(), orders.Name) {
		t.Errorf("a wrong type: %v", err)
	}
}

// What a script compares as numbers above 2^53 is rounded: 2^53+1 is 2^53.
func TestTrimWithHugeIDs(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	all := []string{"0-1", "9-9", "10-0", "10-9007199254740992", "10-9007199254740993", "10-18446744073709551615", "9007199254740993-0", "18446744073709551615-9", "18446744073709551615-18446744073709551614", "18446744073709551615-18446744073709551615"}
	addIDs(t, client, all...)
	for i, id := range all {
		if i > 0 {
			// A second position just behind says whether the lesser was taken.
			result := trim(t, client, stream.WithOffsets(saved(t, "a", id, "b", all[i-1]), "a", "b"))
			if result.Floor != all[i-1] || result.Positions[0].Owner != "b" {
				t.Errorf("the floor of %s and %s is %s", id, all[i-1], result.Floor)
			}
			wantIDs(t, client, all[i-1:]...)
		}
		trim(t, client, stream.WithOffsets(saved(t, "a", id), "a"))
		wantIDs(t, client, all[i:]...)
	}
}

// More than one step, and nodes that the trim takes in part.
func TestTrimInSteps(t *testing.T) {
	t.Parallel()
	for _, nodes := range []string{"1", "100", "0", "30000"} {
		t.Run(nodes, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t, "--stream-node-max-entries", nodes, "--stream-node-max-bytes", "0", "--appendfsync", "no").Client()
			addUpTo(t, client, 25_000)
			result := trim(t, client, stream.WithOffsets(saved(t, "a", "24950-0"), "a"))
			if all := streamtest.EntryIDs(t, client, orders.Name); result.Trimmed != 24_949 || result.Remaining != 51 || all[0] != "24950-0" || len(all) != 51 {
				t.Errorf("got %+v", result)
			}
		})
	}
}

func TestHardMaxLenReportsWhatEachOwnerLost(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendfsync", "no").Client()
	addUpTo(t, client, 3000)
	makeGroup(t, client, "done", "3000-0")
	makeGroup(t, client, "dead", "0")
	makeGroup(t, client, "behind", "1200-0")
	makeGroup(t, client, "pending", "0")
	deliverTo(t, client, "pending", 2000)
	for i := 1; i <= 2000; i++ {
		if i != 7 && i != 10 && i != 1999 && i != 2000 {
			ack(t, client, "pending", fmt.Sprintf("%d-0", i))
		}
	}
	if err := client.XDel(t.Context(), orders.Name, "8-0", "10-0", "1250-0").Err(); err != nil {
		t.Fatal(err)
	}
	store := saved(t, "billing", "1990-0", "mail", "2001-0")
	options := []stream.TrimmerOption{stream.WithOffsets(store, "billing", "mail", "new"), stream.WithHardMaxLen(1000)}
	result := trim(t, client, options...)
	// There were 2997, so that 1997 go: up to 2000-0.
	if all := streamtest.EntryIDs(t, client, orders.Name); len(all) != 1000 || all[0] != "2001-0" {
		t.Errorf("%d remain, from %s", len(all), all[0])
	}
	if result.Trimmed != 1997 || result.Capped != 1997 || result.Remaining != 1000 {
		t.Errorf("got %+v", result)
	}
	want := []stream.TrimLoss{
		{Owner: "behind", From: "1201-0", To: "2000-0", Count: 799},
		{Owner: "billing", Label: true, From: "1991-0", To: "2000-0", Count: 10},
		{Owner: "dead", From: "1-0", To: "2000-0", Count: 1997},
		{Owner: "new", Label: true, From: "1-0", To: "2000-0", Count: 1997},
		{Owner: "pending", From: "7-0", To: "2000-0", Count: 3},
	}
	slices.SortFunc(result.Losses, func(a, b stream.TrimLoss) int { return strings.Compare(a.Owner, b.Owner) })
	if !slices.Equal(result.Losses, want) {
		t.Errorf("the losses are %v, want %v", result.Losses, want)
	}
	// The second time nothing is lost again. What was pending and is gone does
	// not hold back anybody any more.
	if result = trim(t, client, options...); result.Trimmed != 0 || result.Losses != nil {
		t.Errorf("the second time: %+v", result)
	}
	if err := client.XGroupDestroy(t.Context(), orders.Name, "dead").Err(); err != nil {
		t.Fatal(err)
	}
	addIDs(t, client, "3001-0")
	// One more entry, one less: two had not passed it.
	result = trim(t, client, options...)
	if all := streamtest.EntryIDs(t, client, orders.Name); len(all) != 1000 || all[0] != "2002-0" || result.Capped != 1 || len(result.Losses) != 4 {
		t.Errorf("one more: %+v", result)
	}
}

// Up to the floor the hard limit takes nothing from anybody, even if it is over.
func TestHardMaxLenTakesWhatWasPassedFirst(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 10)
	makeGroup(t, client, "billing", "7-0")
	if result := trim(t, client, stream.WithHardMaxLen(4)); result.Trimmed != 6 || result.Capped != 0 || result.Losses != nil {
		t.Errorf("within the limit: %+v", result)
	}
	// 7-0 is behind: its going is no loss.
	if result := trim(t, client, stream.WithHardMaxLen(3)); result.Trimmed != 1 || result.Capped != 1 || result.Losses != nil {
		t.Errorf("the entry at the floor: %+v", result)
	}
	wantIDs(t, client, "8-0", "9-0", "10-0")
}

func TestHardMaxAge(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	at := func(age time.Duration) string { return fmt.Sprintf("%d-0", now.Add(-age).UnixMilli()) }
	addIDs(t, client, "5-0", at(3*time.Hour), at(time.Hour))
	makeGroup(t, client, "billing", "0")
	if result := trim(t, client, stream.WithHardMaxAge(200*365*24*time.Hour)); result.Trimmed != 0 {
		t.Errorf("a time before 1970: %+v", result)
	}
	result := trim(t, client, stream.WithHardMaxAge(2*time.Hour))
	wantIDs(t, client, at(time.Hour))
	if want := (stream.TrimLoss{Owner: "billing", From: "5-0", To: at(3 * time.Hour), Count: 2}); result.Capped != 2 || len(result.Losses) != 1 || result.Losses[0] != want {
		t.Errorf("got %+v", result)
	}
	addIDs(t, client, at(30*time.Minute))
	for _, trimmed := range []int64{1, 0} { // the newest stays
		if result := trim(t, client, stream.WithHardMaxAge(time.Minute)); result.Trimmed != trimmed || result.Remaining != 1 {
			t.Errorf("the newest: %+v", result)
		}
	}
}

func TestTrimWithAStoreThatFails(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 5)
	makeGroup(t, client, "done", "5-0")
	for name, store := range map[string]offset.Store{
		"down": &flakyStore{failLoads: io.ErrUnexpectedEOF},
		"odd":  constStore{id: "$"},
	} {
		if result, err := newTrimmer(t, client, stream.WithOffsets(store, "billing"), stream.WithHardMaxLen(1)).Trim(t.Context()); err == nil || !strings.Contains(err.Error(), `"billing"`) || result.Trimmed != 0 {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
	wantIDs(t, client, "1-0", "2-0", "3-0", "4-0", "5-0")
}

func TestTrimOnAFullServer(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addUpTo(t, client, 9)
	makeGroup(t, client, "billing", "5-0")
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(t.Context(), "x", "y", 0).Err(); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Fatalf("the server is not full: %v", err)
	}
	if result := trim(t, client, stream.WithHardMaxLen(4)); result.Trimmed != 5 || len(result.Losses) != 0 {
		t.Errorf("got %+v", result)
	}
}

func TestNewTrimmerReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	var noClient *redis.Client
	_, err := stream.NewTrimmer(noClient, " ", nil,
		stream.WithOffsets(nil, "a"), stream.WithOffsets(&offset.Memory{}), stream.WithOffsets(&offset.Memory{}, "a", " "),
		stream.WithHardMaxLen(0), stream.WithHardMaxAge(999*time.Microsecond), stream.WithTrimInterval(0), stream.WithHeldWarning(-time.Second),
		stream.WithTrimReport(nil), stream.WithLogger(nil))
	if !errors.Is(err, stream.ErrInvalidOption) {
		t.Fatalf("got %v, want ErrInvalidOption", err)
	}
	for _, text := range []string{
		"client is nil", `stream " "`, `WithOffsets(nil, "a")`, "WithOffsets without a label", `WithOffsets with the label " "`,
		"WithHardMaxLen(0)", "WithHardMaxAge(999", "WithTrimInterval(0s)", "WithHeldWarning(-1s)",
	} {
		wantProblem(t, err, text)
	}
	if strings.Contains(err.Error(), "WithLogger") || strings.Contains(err.Error(), "WithTrimReport") {
		t.Errorf("an option is refused that is for a trimmer: %v", err)
	}
	_, err = stream.NewMirror(noClient, "", nil)
	for _, text := range []string{"client is nil", `stream ""`, "store is nil"} {
		wantProblem(t, err, text)
	}
}

func TestTrimInACluster(t *testing.T) {
	t.Parallel()
	client := clusterClient(t)
	addUpTo(t, client, 9)
	makeGroup(t, client, "billing", "7-0")
	mirror, err := stream.NewMirror(client, orders.Name, &offset.Memory{})
	if err != nil {
		t.Fatal(err)
	}
	if err := mirror.Save(t.Context(), "mail", "6-0"); err != nil {
		t.Fatal(err)
	}
	if result := trim(t, client, stream.WithHardMaxLen(3)); result.Trimmed != 6 || result.Capped != 1 || result.Losses != nil {
		t.Errorf("got %+v", result)
	}
	wantIDs(t, client, "7-0", "8-0", "9-0")
}

// The rights that the documentation names are enough, and none of them is idle.
func TestTrimAndMirrorWithLeastRights(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rights []string
		work   func(t *testing.T, admin, client *redis.Client) error
	}{
		"trim": {strings.Fields("+xinfo|stream +xinfo|groups +xpending +xtrim +evalsha +eval +xrange +time"), func(t *testing.T, admin, client *redis.Client) error {
			addUpTo(t, admin, 9)
			makeGroup(t, admin, "billing", "0")
			deliverTo(t, admin, "billing", 5)
			ack(t, admin, "billing", "1-0", "2-0")
			_, err := newTrimmer(t, client, stream.WithHardMaxAge(200*365*24*time.Hour), stream.WithHardMaxLen(6)).Trim(t.Context())
			return err
		}},
		"mirror": {strings.Fields("+xgroup|create +xgroup|setid"), func(t *testing.T, _, client *redis.Client) error {
			mirror, err := stream.NewMirror(client, orders.Name, &offset.Memory{})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = mirror.Load(t.Context(), "a")
			return errors.Join(err, mirror.Save(t.Context(), "a", "5-0"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, "--user", "limited", "on", ">any", "~orders", "-@all")
			admin := server.Client()
			client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "limited", Password: "any", DisableIdentity: true, Protocol: 2})
			defer func() { _ = client.Close() }()
			// Without each of them in turn, and at last with all.
			for i := range len(test.rights) + 1 {
				missing := "nothing"
				rights := append([]string{"ACL", "SETUSER", "limited", "-@all"}, test.rights...)
				if i < len(test.rights) {
					missing = test.rights[i]
					rights = slices.Delete(rights, 4+i, 5+i)
				}
				args := make([]any, len(rights))
				for i, right := range rights {
					args[i] = right
				}
				if err := errors.Join(admin.Do(t.Context(), args...).Err(), admin.Del(t.Context(), orders.Name).Err(), admin.ScriptFlush(t.Context()).Err()); err != nil {
					t.Fatal(err)
				}
				err := test.work(t, admin, client)
				if i == len(test.rights) && err != nil {
					t.Errorf("with all rights: %v", err)
				}
				if i < len(test.rights) && !lacksRight(err) {
					t.Errorf("without %s: %v", missing, err)
				}
			}
		})
	}
}

// lacksRight reports whether a server has refused a command, or one of a script: before
// Redis 7.2, and since.
func lacksRight(err error) bool {
	text := fmt.Sprint(err)
	return redis.IsPermissionError(err) || strings.Contains(text, "can't run this command") || strings.Contains(text, "ACL failure in script")
}
