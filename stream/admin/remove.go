package admin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
)

// ErrPending comes from removing a consumer that has pending entries: they would be lost with
// it. Claim them first, see [Admin.Claim].
var ErrPending = errors.New("admin: entries are pending on the consumer, which would be lost with it; claim them first")

// Removed is the result of removing something.
type Removed struct {
	// Gone says that it was there, and is not any more.
	Gone bool
	// Pending is how many entries were pending in a group that was removed: they are not
	// pending on anybody any more.
	Pending int64
}

// RemoveConsumer plans to remove a consumer without pending entries from a group. One that lives
// makes its name anew with its next read, and loses nothing. The error wraps [ErrPending] if
// entries are pending on it, and [ErrNoReader] if there is no such group or consumer; Do looks
// again, in one step with the removal.
func (a *Admin) RemoveConsumer(ctx context.Context, r Reader, consumer string) (*Plan[Removed], error) {
	what := fmt.Sprintf("removing consumer %s of %s", consumer, r)
	detail, member, err := a.memberOf(ctx, r, consumer)
	if err != nil {
		return nil, explain(what, err)
	}
	if member.Pending > 0 {
		return nil, fmt.Errorf("%w: %d on %s of %s", ErrPending, member.Pending, consumer, r)
	}
	client, err := conn.PrimaryOf(ctx, a.client, r.Stream)
	if err != nil {
		return nil, explain(what, err)
	}
	plan := newPlan(a, "remove consumer", detail.Reader.String(), func(ctx context.Context, _ *doing) (Removed, error) {
		gone, err := script.Leave.Run(ctx, client, []string{r.Stream}, r.Group, consumer).Int64()
		if err != nil {
			return Removed{}, explain(what, err)
		}
		if gone == 0 {
			return Removed{}, fmt.Errorf("%w: %s of %s got some since the plan was made", ErrPending, consumer, r)
		}
		return Removed{Gone: true}, nil
	})
	plan.Summary = fmt.Sprintf("consumer %s is removed from %s", consumer, r)
	plan.Affected = 1
	if member.live() {
		plan.Warnings = []string{"the consumer is live: it makes its name anew with its next read"}
	}
	return plan, nil
}

// live reports whether the consumer has sent something not long ago.
func (m Member) live() bool { return m.Presence != nil || m.Idle >= 0 && m.Idle < liveFor }

// memberOf returns a consumer of a group.
func (a *Admin) memberOf(ctx context.Context, r Reader, consumer string) (ReaderDetail, Member, error) {
	if r.Group == "" {
		return ReaderDetail{}, Member{}, fmt.Errorf("%w: %s has no consumers that Redis knows; give a group", stream.ErrInvalidOption, r)
	}
	detail, err := a.Reader(ctx, r)
	if err != nil {
		return detail, Member{}, err
	}
	at := slices.IndexFunc(detail.Members, func(m Member) bool { return m.Name == consumer })
	if at < 0 {
		return detail, Member{}, fmt.Errorf("%w: %s has no consumer %q", ErrNoReader, r, consumer)
	}
	return detail, detail.Members[at], nil
}

// RemoveGroup plans to destroy a group, and to remove its records from the registry. Its
// place in the stream and its pending entries are lost. Do is refused with [ErrUnattended] while
// the group has a live consumer, unless it is [Unattended]: a consumer makes the group anew, and
// begins where its stream.WithStart says. It is a [*MovedError] if the group has read on, or
// something else is pending.
func (a *Admin) RemoveGroup(ctx context.Context, r Reader) (*Plan[Removed], error) {
	what := "removing " + r.String()
	if r.Group == "" {
		return nil, fmt.Errorf("%w: RemoveGroup of %s: a label has no group; forget it", stream.ErrInvalidOption, r)
	}
	detail, err := a.Reader(ctx, r)
	if err != nil {
		return nil, err
	}
	client, err := conn.PrimaryOf(ctx, a.client, r.Stream)
	if err != nil {
		return nil, explain(what, err)
	}
	live := 0
	for _, m := range detail.Members {
		if m.live() {
			live++
		}
	}
	var plan *Plan[Removed]
	plan = newPlan(a, "remove group", r.String(), func(ctx context.Context, d *doing) (Removed, error) {
		if live > 0 && !d.unattended {
			return Removed{}, ErrUnattended
		}
		anyway := ""
		if d.anyway {
			anyway = "anyway"
		}
		gone, err := destroyScript.Run(ctx, client, []string{r.Stream}, r.Group, detail.Position, detail.Pending, anyway).Int64()
		if err == nil && gone == 0 {
			return Removed{}, &MovedError{Plan: plan.Summary, What: r.String() + " has read on, or has gone,"}
		}
		if err != nil {
			return Removed{}, explain(what, err)
		}
		return Removed{Gone: true, Pending: detail.Pending}, a.unregister(ctx, r)
	})
	plan.Summary = fmt.Sprintf("%s is destroyed; %d entries are pending in it, and it is at %s", r, detail.Pending, detail.Position)
	plan.Affected = 1
	if live > 0 {
		plan.Warnings = []string{fmt.Sprintf("live consumers: %d; they make the group anew where their WithStart says: stop them first", live)}
	}
	return plan, nil
}

// unregister removes a reader from the registry, with its control record.
func (a *Admin) unregister(ctx context.Context, r Reader) error {
	err := a.editRegistered(ctx, r.Stream, func(record *Registered) {
		record.Readers = slices.DeleteFunc(record.Readers, func(address string) bool { return address == r.Address() })
	})
	if err != nil {
		return err
	}
	return explain("removing the control record of "+r.String(), a.client.HDel(ctx, a.keyspace.control(), controlField(r)).Err())
}

// Forget plans to remove all records of a label: its offset in the hashes that are known here
// ([WithOffsets]), its position in the stream (see stream.Mirror), and its record in the
// registry. A consumer of the label that starts later begins where its stream.WithStart says. It
// is a [*MovedError] if the offset has changed. A group that is gone, and is still in the
// registry, is forgotten likewise; one that is there is for [Admin.RemoveGroup].
func (a *Admin) Forget(ctx context.Context, r Reader) (*Plan[Removed], error) {
	what := "forgetting " + r.String()
	s, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	topic, err := a.topic(ctx, s, r.Stream)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(topic.Standings, func(s Standing) bool { return s.Reader == r })
	switch {
	case at < 0 && !slices.Contains(topic.Registered.Readers, r.Address()):
		return nil, explain(what, ErrNoReader)
	case at >= 0 && r.Group != "":
		return nil, fmt.Errorf("%w: Forget of %s: the group is there; remove it", stream.ErrInvalidOption, r)
	}
	f := &forget{admin: a, reader: r}
	if r.Group == "" {
		f.offset = s.offsets[r.Label]
		if f.store, err = a.storeOf(ctx, r.Label); err != nil {
			return nil, explain(what, err)
		}
	}
	f.summary = fmt.Sprintf("%s is forgotten; its offset is %s", r, orElse(f.offset, "not known here"))
	plan := newPlan(a, "forget", r.String(), f.do)
	plan.Summary, plan.Affected = f.summary, 1
	if n := len(s.present[r]); n > 0 {
		plan.Warnings = []string{fmt.Sprintf("live consumers: %d; they save their offset anew: stop them first", n)}
	}
	return plan, nil
}

// forget is the removal of the records of a reader.
type forget struct {
	admin         *Admin
	reader        Reader
	store, offset string
	summary       string
}

func (f *forget) do(ctx context.Context, d *doing) (Removed, error) {
	if f.store != "" {
		err := f.admin.edit(ctx, f.store, f.reader.Label, func(now string) (string, error) {
			if now != f.offset && !d.anyway {
				return "", &MovedError{Plan: f.summary, What: "the offset has changed"}
			}
			return "", nil
		})
		if err != nil {
			return Removed{}, err
		}
	}
	if f.reader.Label != "" {
		err := f.admin.client.XGroupDestroy(ctx, f.reader.Stream, stream.PositionGroup(f.reader.Label)).Err()
		if err != nil && conn.Classify(err).Class != conn.Gone && !strings.Contains(err.Error(), "requires the key to exist") {
			return Removed{}, explain("removing the position of "+f.reader.String(), err)
		}
	}
	err := f.admin.unregister(ctx, f.reader)
	return Removed{Gone: err == nil}, err
}

// ForgetTopic plans to remove a topic from the registry, with the orders to its readers. The
// stream, its groups and dead letters stay. An agent of a consumer that runs writes it anew. It
// is a [*MovedError] if an agent has renewed the record.
func (a *Admin) ForgetTopic(ctx context.Context, name string) (*Plan[Removed], error) {
	s, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	record, known := s.registered[name]
	if !known {
		return nil, explain("forgetting "+name, ErrNoTopic)
	}
	var plan *Plan[Removed]
	plan = newPlan(a, "forget topic", name, func(ctx context.Context, d *doing) (Removed, error) {
		err := a.edit(ctx, a.keyspace.topics(), name, func(now string) (string, error) {
			found, err := decodeRecord[Registered](a.keyspace.topics(), name, orElse(now, "{}"))
			if err == nil && found.Seen != record.Seen && !d.anyway {
				return "", &MovedError{Plan: plan.Summary, What: "an agent has renewed the record"}
			}
			return "", nil
		})
		if err != nil {
			return Removed{}, err
		}
		for _, address := range record.Readers {
			if err := a.client.HDel(ctx, a.keyspace.control(), name+" "+address).Err(); err != nil {
				return Removed{}, explain("removing the control records of "+name, err)
			}
		}
		return Removed{Gone: true}, nil
	})
	plan.Summary = fmt.Sprintf("%s is removed from the registry, which has %d readers of it, last seen %s", name, len(record.Readers), record.Seen.Time().UTC().Format(time.RFC3339))
	plan.Affected = 1
	return plan, nil
}

//go:embed destroy.lua
var destroySource string

// destroyScript destroys the group ARGV[1] if it is at ARGV[2] and ARGV[3] entries are pending in
// it, or if ARGV[4] is not empty. It returns whether it did.
var destroyScript = redis.NewScript(destroySource)
