package stream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream/internal/commit"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/window"
	"millrace/stream/streamtest"
)

// hostileLetter is a dead letter made of whatever the fuzzer likes.
type hostileLetter struct {
	stream, target, owner, id, cause string
	attempts                         int64
	pairs                            []string

	group, elsewhere, gone bool
}

const (
	letterGroup     = 1 << iota // in group mode
	letterElsewhere             // with a client of its own, so without a script
	letterGone                  // the entry is deleted before the move
)

// fieldsFrom splits text at its first byte into fields, so that each byte can be in
// a field, and names and values can be empty.
func fieldsFrom(text string) []string {
	if text == "" {
		return []string{"", ""}
	}
	pairs := strings.Split(text[1:], text[:1])
	if len(pairs)%2 != 0 {
		pairs = append(pairs, "")
	}
	return pairs
}

// FuzzDeadLetter moves an entry to its dead-letter stream, on each of the ways that
// there are, and takes the letter apart as its documentation says.
func FuzzDeadLetter(f *testing.F) {
	client := streamtest.StartRedis(f, "--appendonly", "no").Client()
	for how := range byte(letterGone << 1) {
		f.Add("orders", " id x id y", "", "me", "of no use", uint64(1700000000000), uint64(7), int64(how), how)
		f.Add("{a}b", "\x00millrace.id\x00theirs\x00millrace.id\x00again\x00\x00", "dead\xff", "\xff", strings.Repeat("\xffa", 1000), uint64(0), uint64(0), int64(-1), how)
	}
	f.Fuzz(func(t *testing.T, stream, fields, target, owner, cause string, ms, seq uint64, attempts int64, how byte) {
		letter := hostileLetter{
			stream: stream, target: target, owner: owner, cause: cause, attempts: attempts, pairs: fieldsFrom(fields),
			group: how&letterGroup != 0, elsewhere: how&letterElsewhere != 0, gone: how&letterGone != 0,
		}
		if isBlank(stream) { // as these are refused
			letter.stream += "s"
		}
		if isBlank(owner) {
			letter.owner += "o"
		}
		if target == letter.stream {
			letter.target = ""
		}
		if ms == 0 && seq == 0 {
			seq = 1
		}
		letter.id = offset.ID{Ms: ms, Seq: seq}.String()
		sameSlot(t, letter.stream)
		letter.check(t, client)
	})
}

func (l hostileLetter) check(t *testing.T, client *redis.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	target := l.target
	if target == "" {
		target = DeadLetterStream(l.stream)
	}
	entry := l.prepare(ctx, t, client, target)

	var log bytes.Buffer
	dead := &DeadLetterError{Stream: l.target, Attempts: l.attempts, Err: errors.New(l.cause)}
	if l.elsewhere {
		dead.Client = client
	}
	e := &engine{
		client: client, identity: Identity{Stream: l.stream, Label: l.owner}, config: config{label: l.owner, claimIdle: time.Minute, logger: slog.Default()},
		log: slog.New(slog.NewTextHandler(&log, nil)), open: openLog,
	}
	if l.group {
		e.identity = Identity{Stream: l.stream, Group: l.owner}
		e.config.consumerName, e.open = "me", openGroup
	}
	r := e.newRun(ctx, ctx, nil)
	r.conns = conn.NewClients(1)
	defer r.conns.Close()
	if err := r.connect(); err != nil {
		t.Fatal(err)
	}
	from, err := e.open(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Source.Close() }()
	begun := time.Now()
	letter := r.newLetter(&delivery{it: &window.Item{ID: l.id}, entry: *entry}, dead, dead, 0)
	err = from.Settler.Settle(ctx, &commit.Batch{Letters: []*commit.Letter{letter}})
	if err != nil || letter.Err != nil || log.Len() > 0 {
		t.Fatalf("%v, %v, and in the log: %s", err, letter.Err, &log)
	}
	settled := letter.Settled
	if want := l.group && !l.elsewhere && !l.gone; settled != want {
		t.Errorf("settled: %t, want %t", settled, want)
	}

	pipe := client.Pipeline()
	letters := pipe.Do(ctx, "XRANGE", target, "-", "+")
	var pending *redis.XPendingCmd
	if l.group {
		pending = pipe.XPending(ctx, l.stream, l.owner)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	if l.group && (pending.Val().Count == 0) != settled {
		t.Errorf("settled: %t, and %d are pending", settled, pending.Val().Count)
	}
	found := letters.Val().([]any)
	if len(found) != 1 {
		t.Fatalf("there are %d dead letters", len(found))
	}
	l.readBack(t, textsOf(found[0].([]any)[1]), begun)
}

func textsOf(reply any) (texts []string) {
	for _, one := range reply.([]any) {
		texts = append(texts, one.(string))
	}
	return texts
}

// prepare adds the entry, and returns it as it is read.
func (l hostileLetter) prepare(ctx context.Context, t *testing.T, client *redis.Client, target string) *Entry {
	t.Helper()
	pipe := client.Pipeline()
	pipe.Del(ctx, l.stream, target)
	pipe.XAdd(ctx, &redis.XAddArgs{Stream: l.stream, ID: l.id, Values: l.pairs})
	if l.group {
		pipe.XGroupCreate(ctx, l.stream, l.owner, "0")
		pipe.XReadGroup(ctx, &redis.XReadGroupArgs{Group: l.owner, Consumer: "me", Streams: []string{l.stream, ">"}, Block: -1})
	}
	if l.gone {
		pipe.XDel(ctx, l.stream, l.id)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	return &Entry{Stream: l.stream, ID: l.id, Fields: codec.FieldsOf(l.pairs...)}
}

// readBack takes a dead letter apart: the last six fields are ours, and everything
// before them is the original.
func (l hostileLetter) readBack(t *testing.T, letter []string, begun time.Time) {
	t.Helper()
	if len(letter) < 12 {
		t.Fatalf("the letter is only %q", letter)
	}
	original, ours := letter[:len(letter)-12], letter[len(letter)-12:]
	// Also where the server does not have the fields any more.
	if !slices.Equal(original, l.pairs) {
		t.Errorf("the original is %q, want %q", original, l.pairs)
	}

	owner := DeadLetterLabel
	if l.group {
		owner = DeadLetterGroup
	}
	want := []string{
		DeadLetterOrigin, l.stream, DeadLetterID, l.id, owner, l.owner,
		DeadLetterAttempts, strconv.FormatInt(l.attempts, 10), DeadLetterCause, ours[9], DeadLetterTime, ours[11],
	}
	if !slices.Equal(ours, want) {
		t.Errorf("our own fields are %q, want %q", ours, want)
	}
	whole := strings.ToValidUTF8(l.cause, "\uFFFD")
	if cause := ours[9]; !utf8.ValidString(cause) || !strings.HasPrefix(whole, cause) || len(cause) > 1024 || len(cause) < min(len(whole), 1024-utf8.UTFMax+1) {
		t.Errorf("the cause has %d bytes, of %d: %q", len(cause), len(whole), cause)
	}
	if at, err := time.Parse(time.RFC3339Nano, ours[11]); err != nil || at.Location() != time.UTC || at.Before(begun.Round(0)) || at.After(time.Now()) {
		t.Errorf("given up at %q, %v", ours[11], err)
	}
}

// sameSlot checks that, where that is possible, a stream and its dead letters are in
// one slot of a cluster.
func sameSlot(t *testing.T, stream string) {
	t.Helper()
	tag, tagged := oracleTag(stream)
	got, _ := oracleTag(DeadLetterStream(stream))
	if DeadLetterStream(stream) == stream || (tagged || !strings.Contains(stream, "}")) && got != tag {
		t.Errorf("the dead letters of %q go to %q", stream, DeadLetterStream(stream))
	}
}

// oracleTag is the hash tag of a key, in the words of the cluster specification, and
// whether it is less than the key.
func oracleTag(key string) (tag string, tagged bool) {
	for i := range len(key) {
		if key[i] != '{' {
			continue
		}
		for j := i + 1; j < len(key); j++ {
			if key[j] == '}' {
				if j > i+1 {
					return key[i+1 : j], true
				}
				break
			}
		}
		break
	}
	return key, false
}
