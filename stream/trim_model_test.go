package stream_test

import (
	"cmp"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// dice are choices that the fuzzer makes. When there are none left, all are 0.
type dice []byte

func (d *dice) roll(sides int) int {
	if len(*d) == 0 {
		return 0
	}
	n := int((*d)[0]) % sides
	*d = (*d)[1:]
	return n
}

// trimModel is a stream with its groups and offsets, as the documentation of
// [stream.Trimmer] speaks of them.
type trimModel struct {
	made    []offset.ID // every entry that was ever added
	entries []offset.ID
	groups  []*modelGroup
	labels  []modelLabel

	maxLen int64
	maxAge time.Duration
}

type modelGroup struct {
	name    string
	last    offset.ID
	pending []offset.ID
}

type modelLabel struct {
	name  string
	at    offset.ID
	found bool
}

// owner is somebody that has passed entries, or not.
type owner struct {
	stream.Position
	passed  offset.ID
	pending []offset.ID
}

// FuzzTrim has the dice make a stream, with groups and offsets anywhere in it and
// beyond it, on a server and in a model, and trims both.
func FuzzTrim(f *testing.F) {
	client := streamtest.StartRedis(f, "--appendonly", "no").Client()
	f.Fuzz(func(t *testing.T, choices []byte) {
		d := dice(choices)
		setup := client.Pipeline()
		m := roll(t.Context(), setup, &d)
		if _, err := setup.Exec(t.Context()); err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		got, err := newTrimmer(t, client, m.options(t)...).Trim(t.Context())
		want, wantErr := m.trim()
		if !reflect.DeepEqual(got, want) || !errors.Is(err, wantErr) {
			t.Errorf("trimmed: %+v, %v\nwant: %+v, %v", got, err, want, wantErr)
		}
		var left []string
		for _, id := range m.entries {
			left = append(left, id.String())
		}
		if there := streamtest.EntryIDs(t, client, orders.Name); !slices.Equal(there, left) {
			t.Errorf("the stream has %v, want %v", there, left)
		}
	})
}

// roll makes a stream, in the model and, when pipe is executed, on the server.
func roll(ctx context.Context, pipe redis.Pipeliner, d *dice) *trimModel {
	m := &trimModel{}
	pipe.Del(ctx, orders.Name)
	m.add(ctx, pipe, d)
	m.delete(ctx, pipe, d)
	for _, name := range []string{"billing", stream.PositionGroup("mail"), "10"}[:d.roll(4)] {
		m.consume(ctx, pipe, d, name)
	}
	// As the server lists them: so are losses told.
	slices.SortFunc(m.groups, func(a, b *modelGroup) int { return cmp.Compare(a.name, b.name) })
	m.delete(ctx, pipe, d)
	for _, name := range []string{"mail", "billing"}[:d.roll(3)] {
		m.labels = append(m.labels, modelLabel{name, m.somewhere(d), d.roll(4) != 0})
	}
	if d.roll(3) == 1 {
		m.maxLen = int64(1 + d.roll(12))
	}
	if d.roll(4) == 1 {
		m.maxAge = time.Hour
	}
	return m
}

func (m *trimModel) add(ctx context.Context, pipe redis.Pipeliner, d *dice) {
	id := []offset.ID{{}, {Ms: 1<<53 - 3, Seq: 1<<53 - 3}, {Ms: 5, Seq: math.MaxUint64 - 3}, {Ms: math.MaxUint64 - 3}}[d.roll(4)]
	for range d.roll(20) {
		before := id
		switch d.roll(3) {
		case 0:
			id.Seq++
		case 1:
			id = offset.ID{Ms: id.Ms + 1}
		case 2:
			id = offset.ID{Ms: id.Ms + 1, Seq: 1 << 53}
		}
		if id.Compare(before) <= 0 {
			break // there is no later one
		}
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: orders.Name, ID: id.String(), Values: []string{"id", "x"}})
		m.made = append(m.made, id)
	}
	m.entries = slices.Clone(m.made)
}

func (m *trimModel) delete(ctx context.Context, pipe redis.Pipeliner, d *dice) {
	m.entries = slices.DeleteFunc(m.entries, func(id offset.ID) bool {
		if d.roll(4) != 1 {
			return false
		}
		pipe.XDel(ctx, orders.Name, id.String())
		return true
	})
}

// consume makes a group, has it read and ack, and may set it elsewhere then.
func (m *trimModel) consume(ctx context.Context, pipe redis.Pipeliner, d *dice, name string) {
	g := &modelGroup{name: name, last: m.somewhere(d)}
	m.groups = append(m.groups, g)
	pipe.XGroupCreateMkStream(ctx, orders.Name, name, g.last.String())
	reads := d.roll(8)
	if reads > 0 {
		pipe.XReadGroup(ctx, &redis.XReadGroupArgs{Group: name, Consumer: "c", Streams: []string{orders.Name, ">"}, Count: int64(reads), Block: -1})
	}
	for _, id := range m.entries {
		if reads == 0 || id.Compare(g.last) <= 0 {
			continue
		}
		reads, g.last = reads-1, id
		if d.roll(2) == 1 {
			pipe.XAck(ctx, orders.Name, name, id.String())
		} else {
			g.pending = append(g.pending, id)
		}
	}
	if d.roll(5) == 1 {
		g.last = m.somewhere(d)
		pipe.XGroupSetID(ctx, orders.Name, name, g.last.String())
	}
}

// somewhere is a place in the stream, or beyond its end.
func (m *trimModel) somewhere(d *dice) offset.ID {
	switch n := d.roll(len(m.made) + 3); n {
	case 0:
		return offset.ID{}
	case 1:
		return offset.ID{Ms: math.MaxUint64, Seq: math.MaxUint64}
	case 2:
		return offset.ID{Ms: 7, Seq: 3}
	default:
		return m.made[n-3]
	}
}

func (m *trimModel) options(t *testing.T) (opts []stream.TrimmerOption) {
	t.Helper()
	store := &offset.Memory{}
	for _, label := range m.labels {
		if label.found {
			if err := store.Save(t.Context(), label.name, label.at.String()); err != nil {
				t.Fatal(err)
			}
		}
		opts = append(opts, stream.WithOffsets(store, label.name))
	}
	if m.maxLen > 0 {
		opts = append(opts, stream.WithHardMaxLen(m.maxLen))
	}
	if m.maxAge > 0 {
		opts = append(opts, stream.WithHardMaxAge(m.maxAge))
	}
	return opts
}

func (m *trimModel) trim() (result stream.TrimResult, err error) {
	if len(m.made) == 0 && len(m.groups) == 0 {
		return result, nil // there is no stream
	}
	owners := m.owners()
	for _, o := range owners {
		result.Positions = append(result.Positions, o.Position)
	}
	slices.SortStableFunc(result.Positions, func(a, b stream.Position) int { return idOf(a.ID).Compare(idOf(b.ID)) })
	if len(owners) > 0 {
		result.Floor = result.Positions[0].ID
		for len(m.entries) > 0 && m.entries[0].Compare(idOf(result.Floor)) < 0 {
			m.entries = m.entries[1:]
			result.Trimmed++
		}
	}
	losses := make([]stream.TrimLoss, len(owners))
	for m.tooMany() {
		gone := m.entries[0]
		m.entries = m.entries[1:]
		result.Trimmed++
		result.Capped++
		for i, o := range owners {
			if gone.Compare(o.passed) <= 0 && !slices.Contains(o.pending, gone) {
				continue
			}
			if losses[i].Count++; losses[i].Count == 1 {
				losses[i].From = gone.String()
			}
			losses[i].Owner, losses[i].Label, losses[i].To = o.Owner, o.Label, gone.String()
		}
	}
	for i, loss := range losses {
		// The same label may be known from a store and from a mirror: then the greater
		// loss is told, in the place of the first.
		same := func(other stream.TrimLoss) bool { return other.Owner == loss.Owner && other.Label == loss.Label }
		if at := slices.IndexFunc(result.Losses, same); loss.Count > 0 && at < 0 {
			result.Losses = append(result.Losses, loss)
		} else if loss.Count > 0 && loss.Count > result.Losses[at].Count {
			result.Losses[at] = losses[i]
		}
	}
	result.Remaining = int64(len(m.entries))
	if len(owners) == 0 && result.Remaining > 0 && m.maxLen == 0 && m.maxAge == 0 {
		err = stream.ErrNoPosition
	}
	return result, err
}

// tooMany says whether a hard limit takes the first entry. Those with IDs made of
// small numbers are old.
func (m *trimModel) tooMany() bool {
	return m.maxLen > 0 && int64(len(m.entries)) > m.maxLen ||
		m.maxAge > 0 && len(m.entries) > 1 && m.entries[0].Ms < 1e12
}

// owners are all groups and labels, as they are before a trim.
func (m *trimModel) owners() (owners []owner) {
	var end offset.ID
	if len(m.made) > 0 {
		end = m.made[len(m.made)-1]
	}
	place := func(name string, label bool, at offset.ID, pending []offset.ID) {
		o := owner{passed: at, pending: pending}
		o.Owner, o.Label, o.State = name, label, stream.PositionPassed
		if at.Compare(end) > 0 {
			o.passed, o.State = offset.ID{}, stream.PositionAhead
		}
		o.ID = o.passed.String()
		owners = append(owners, o)
	}
	for _, g := range m.groups {
		if g.name == stream.PositionGroup("mail") {
			place("mail", true, g.last, g.pending)
		} else {
			place(g.name, false, g.last, g.pending)
		}
		// What is pending holds, unless there is nothing left up to it.
		o := &owners[len(owners)-1]
		for _, id := range g.pending {
			if len(m.entries) > 0 && id.Compare(m.entries[0]) >= 0 && id.Compare(idOf(o.ID)) <= 0 {
				o.ID, o.State = id.String(), stream.PositionPending
				break
			}
		}
	}
	for _, label := range m.labels {
		place(label.name, true, label.at, nil)
		if !label.found {
			o := &owners[len(owners)-1]
			o.passed, o.ID, o.State = offset.ID{}, "0-0", stream.PositionMissing
		}
	}
	return owners
}

// idOf reads an ID that is one.
func idOf(text string) offset.ID {
	id, err := offset.Parse(text)
	if err != nil {
		panic(err)
	}
	return id
}
