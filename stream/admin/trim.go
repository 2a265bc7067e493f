package admin

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/internal/conn"
)

// trim is a trim that is being planned.
type trim struct {
	name   string
	client redis.UniversalClient
	// floor is the ID before which all readers have passed everything, and holder the reader
	// that is there.
	floor  offset.ID
	holder string
	labels []string // whose offsets the trimmer has to load
}

// Trim plans to drop the entries of a stream that every group and every known label has passed,
// as a [stream.Trimmer] does it: no entry is dropped that is pending, or that a reader has not
// come to. A label whose offset is not in a hash that is known here ([WithOffsets]), nor
// mirrored in the stream, keeps everything. Do looks at the readers anew, so that the plan
// holds whatever they have done since; it drops more if they have passed more.
//
// The error wraps [ErrNoTopic] if there is no such stream, and [stream.ErrNoPosition] if no
// reader of it is known.
func (a *Admin) Trim(ctx context.Context, name string) (*Plan[stream.TrimResult], error) {
	what := "planning a trim of " + name
	topic, err := a.Topic(ctx, name)
	if err == nil && topic.Missing {
		err = ErrNoTopic
	}
	if err == nil && len(topic.Standings) == 0 {
		err = stream.ErrNoPosition
	}
	if err != nil {
		return nil, explain(what, err)
	}
	t := &trim{name: name}
	if t.client, err = conn.PrimaryOf(ctx, a.client, name); err != nil {
		return nil, explain(what, err)
	}
	plan := newPlan(a, "trim", name, func(ctx context.Context, _ *doing) (stream.TrimResult, error) { return a.trim(ctx, t) })
	if err := t.findFloor(ctx, a, topic, plan); err != nil {
		return nil, explain(what, err)
	}
	n, text, err := t.count(ctx, topic)
	if err != nil {
		return nil, explain(what, err)
	}
	plan.Affected = n
	plan.Summary = fmt.Sprintf("%s loses %s of %d entries: those before %s", name, text, topic.Length, t.floor)
	plan.Details = []Detail{{"floor", fmt.Sprintf("%s, where %s is", t.floor, t.holder)}}
	return plan, nil
}

// findFloor finds the reader that is furthest behind.
func (t *trim) findFloor(ctx context.Context, a *Admin, topic Topic, plan *Plan[stream.TrimResult]) error {
	for _, standing := range topic.Standings {
		text, err := t.passed(ctx, topic, standing)
		if err != nil {
			return err
		}
		if r := standing.Reader; r.Group == "" && !standing.Mirrored {
			t.labels = append(t.labels, r.Label)
			key, err := a.storeOf(ctx, r.Label)
			if err != nil {
				return err
			}
			if key == "" {
				text = "0-0"
				plan.Warnings = append(plan.Warnings, fmt.Sprintf("%s keeps everything: its offset is in no hash that is known here; name the hash, mirror the offsets, or forget the label", r))
			}
		}
		at, err := offset.Parse(text)
		if err != nil {
			return err
		}
		if t.holder == "" || at.Compare(t.floor) < 0 {
			t.floor, t.holder = at, standing.Reader.String()
		}
	}
	return nil
}

// passed returns the ID before which a reader has passed everything.
func (t *trim) passed(ctx context.Context, topic Topic, standing Standing) (string, error) {
	position := orElse(standing.Position, "0-0")
	if standing.Pending == 0 || topic.First == "" {
		return position, nil
	}
	// Pending entries that are gone from the stream hold nothing.
	oldest, err := t.client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: t.name, Group: standing.Reader.Group, Start: topic.First, End: "+", Count: 1}).Result()
	if err != nil || len(oldest) == 0 {
		return position, err
	}
	pending, err := offset.Parse(oldest[0].ID)
	if err != nil {
		return "", err
	}
	at, err := offset.Parse(position)
	return minID(pending, at).String(), err
}

// count counts the entries before the floor.
func (t *trim) count(ctx context.Context, topic Topic) (n int64, text string, err error) {
	first, err := offset.Parse(topic.First)
	if err != nil || t.floor.Compare(first) <= 0 {
		return 0, "0", nil
	}
	last, err := offset.Parse(topic.Last)
	if err != nil {
		return 0, "", err
	}
	if t.floor.Compare(last) >= 0 { // the last one stays, if it is there
		n = topic.Length
		if t.floor == last {
			n--
		}
		return n, fmt.Sprint(n), nil
	}
	s := seek{client: t.client, reader: Reader{Stream: t.name}, info: &redis.XInfoStream{Length: topic.Length}}
	s.info.FirstEntry.ID, s.info.LastEntry.ID = topic.First, topic.Last
	before := t.floor
	if before.Seq > 0 {
		before.Seq--
	} else {
		before = offset.ID{Ms: before.Ms - 1, Seq: ^uint64(0)}
	}
	return s.countBetween(ctx, offset.ID{}, before)
}

// trim has a trimmer do it.
func (a *Admin) trim(ctx context.Context, t *trim) (stream.TrimResult, error) {
	var opts []stream.TrimmerOption
	for _, label := range t.labels {
		key, err := a.storeOf(ctx, label)
		if err != nil {
			return stream.TrimResult{}, explain("looking for the offset of "+label, err)
		}
		store, err := offset.NewRedis(a.client, orElse(key, offset.DefaultKey))
		if err != nil {
			return stream.TrimResult{}, err
		}
		opts = append(opts, stream.WithOffsets(store, label))
	}
	trimmer, err := stream.NewTrimmer(a.client, t.name, opts...)
	if err != nil {
		return stream.TrimResult{}, err
	}
	return trimmer.Trim(ctx)
}
