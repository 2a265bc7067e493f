package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// Sought is the result of a seek.
type Sought struct {
	// From is where the reader was, empty for a label without an offset, and To where it is
	// now: reading goes on behind it.
	From, To string
	// Agents is how many consumers were told, and Obeyed how many have gone there; both are
	// zero where the place was set without them.
	Agents, Obeyed int
	// Waiting says that no consumer was there to obey: the order waits for one to start.
	Waiting bool
}

const (
	// seekCounts is up to how many entries a plan of a seek counts; beyond that it estimates.
	seekCounts = 100_000
	// liveFor is how long a consumer counts as live after its last command.
	liveFor = time.Minute
	// obeyWithin is how long a seek waits for agents, and obeyEvery how often it looks.
	obeyWithin, obeyEvery = 10 * time.Second, 100 * time.Millisecond
)

// seek is a seek that is being planned, and done.
type seek struct {
	admin   *Admin
	reader  Reader
	client  redis.UniversalClient
	info    *redis.XInfoStream
	detail  ReaderDetail
	summary string
	store   string // the hash that has the offset of a label, empty if another store has it
	from    offset.ID
	to      offset.ID
	read    int64 // how many entries the group has read at to, -1 if that is not known
	silent  int   // live consumers of the group that cannot be told
}

// Seek plans to set a group or a label to another place, from where it goes on: behind an entry,
// at the first entry of a time or of the stream, or behind its last one. Entries that are
// pending stay so.
//
// Consumers with an agent (see [NewAgent]) are told: they finish what they have begun, and go
// there; Do waits for ten seconds until they have. A group without live consumers is set
// directly. Else Do is refused with [ErrUnattended] unless it is [Unattended]: consumers of a
// group without an agent notice it at their next read, report a loss if entries were left out,
// and may still handle what they have read before; a consumer of a label without an agent is not
// seen from here, and undoes it with its next save. A label whose offset is in a store that is
// not known here (see [WithOffsets]), and that has no agent, gets an order that waits for its
// next start.
//
// Do finds that the world has changed if the reader was set elsewhere meanwhile, or has passed
// the place by itself. Reading on is no such thing. The error wraps [ErrNoTopic] or
// [ErrNoReader] if there is no such reader, and [ErrNoPlace] for a place behind the end of the
// stream.
func (a *Admin) Seek(ctx context.Context, r Reader, to Place) (*Plan[Sought], error) {
	what := "planning a seek of " + r.String()
	s, err := a.newSeek(ctx, r, to)
	if err != nil {
		return nil, explain(what, err)
	}
	found, err := s.effect(ctx)
	if err != nil {
		return nil, explain(what, err)
	}
	plan := newPlan(a, "seek", r.String(), s.do)
	plan.Summary, plan.Affected, plan.Warnings, plan.moved = s.summary, found.count, s.warnings(), s.moved
	plan.Details = append(found.details, Detail{"live", s.live()})
	if n := s.detail.Pending; n > 0 {
		plan.Details = append(plan.Details, Detail{"pending", fmt.Sprintf("%d entries are pending, and stay so", n)})
	}
	return plan, nil
}

func (a *Admin) newSeek(ctx context.Context, r Reader, to Place) (*seek, error) {
	detail, err := a.Reader(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &seek{admin: a, reader: r, detail: detail}
	if s.client, err = conn.PrimaryOf(ctx, a.client, r.Stream); err != nil {
		return nil, err
	}
	if s.info, err = infoOf(ctx, s.client, r.Stream); err != nil {
		return nil, err
	}
	if s.to, err = s.place(ctx, to); err != nil {
		return nil, err
	}
	if detail.Position != "" {
		if s.from, err = offset.Parse(detail.Position); err != nil {
			return nil, fmt.Errorf("the offset of the label is no ID; look at it, and correct or remove it: %w", err)
		}
	}
	if r.Group == "" {
		s.store, err = a.storeOf(ctx, r.Label)
	} else {
		s.silent = silentOf(detail.Members)
		s.read, err = s.stream().Number(ctx, s.to.String())
	}
	s.summary = fmt.Sprintf("%s goes from %s to %s", r, orElse(detail.Position, "no offset"), to)
	if text := s.to.String(); text != to.String() {
		s.summary += ", behind " + text
	}
	return s, err
}

// place returns the ID that a place has now. A time behind the last entry is the end.
func (s *seek) place(ctx context.Context, to Place) (offset.ID, error) {
	generated := generatedOf(s.info)
	id := to.behind(generated)
	if id.Compare(generated) <= 0 {
		return id, nil
	}
	if to.kind == placeTime {
		now, err := s.client.Time(ctx).Result()
		if err != nil {
			return id, err
		}
		if !to.time.After(now) {
			return generated, nil
		}
		return id, fmt.Errorf("%w: %s is in the future; give a time that is over, or the end", ErrNoPlace, to)
	}
	return id, fmt.Errorf("%w: %s is behind the end of %s, which is at %s", ErrNoPlace, to, s.reader.Stream, generated)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// storeOf returns the hash that has the offset of a label, empty if none has.
func (a *Admin) storeOf(ctx context.Context, label string) (string, error) {
	for _, key := range a.offsets {
		_, err := a.client.HGet(ctx, key, label).Result()
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, redis.Nil) {
			return "", err
		}
	}
	return "", nil
}

// isConsumer reports whether a name in a group is that of a consumer. The others are probes, and
// the one that holds entries which were handed back.
func isConsumer(name string) bool {
	return name != script.HandedBackTo && !strings.HasPrefix(name, script.ProbePrefix)
}

// silentOf counts live consumers without an agent.
func silentOf(members []Member) (n int) {
	for _, m := range members {
		if m.Presence == nil && m.Idle < liveFor && isConsumer(m.Name) {
			n++
		}
	}
	return n
}

// effect is the consequence of a seek.
type effect struct {
	count   int64
	details []Detail
}

func (s *seek) effect(ctx context.Context) (effect, error) {
	switch order := s.to.Compare(s.from); {
	case s.detail.Position == "":
		return effect{details: []Detail{{"from", "the offset of the label is not known here"}}}, nil
	case order < 0:
		n, text, err := s.countBetween(ctx, s.to, s.from)
		return effect{n, []Detail{
			{"again", text + " entries are delivered a second time"},
			{"effects", "handlers must stand it; middleware.Dedup skips those that it remembers"},
		}}, err
	case order > 0:
		n, text, err := s.countBetween(ctx, s.from, s.to)
		return effect{n, []Detail{{"left out", text + " entries are not delivered"}}}, err
	default:
		return effect{details: []Detail{{"nothing", "it is there already"}}}, nil
	}
}

func (s *seek) stream() loss.Stream { return loss.Stream{Client: s.client, Name: s.reader.Stream} }

// countBetween counts the entries behind an ID up to another one, both included, and says
// whether that is an estimate.
func (s *seek) countBetween(ctx context.Context, low, high offset.ID) (n int64, text string, err error) {
	first, firstErr := offset.Parse(s.info.FirstEntry.ID)
	last, lastErr := offset.Parse(s.info.LastEntry.ID)
	if s.info.Length == 0 || firstErr != nil || lastErr != nil {
		return 0, "0", nil
	}
	if low.Compare(first) < 0 && high.Compare(last) >= 0 {
		return s.info.Length, strconv.FormatInt(s.info.Length, 10), nil
	}
	n, whole, err := s.stream().Count(ctx, resp.After(low.String()), high.String(), seekCounts)
	if err != nil || whole {
		return n, strconv.FormatInt(n, 10), err
	}
	low, high = maxID(low, first), minID(high, last)
	if whole := float64(last.Ms - first.Ms); whole > 0 {
		n = max(n, int64(float64(s.info.Length)*float64(high.Ms-low.Ms)/whole))
	}
	return n, fmt.Sprintf("about %d (estimated by time)", n), nil
}

func minID(a, b offset.ID) offset.ID {
	if a.Compare(b) < 0 {
		return a
	}
	return b
}

func maxID(a, b offset.ID) offset.ID {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

func (s *seek) live() string {
	switch told := s.detail.Agents; {
	case told > 0 && s.silent > 0:
		return fmt.Sprintf("consumers with an agent: %d, which go there when they have finished what they have begun; without one: %d", told, s.silent)
	case told > 0:
		return fmt.Sprintf("consumers with an agent: %d, which go there when they have finished what they have begun", told)
	case s.silent > 0:
		return fmt.Sprintf("consumers without an agent: %d", s.silent)
	case s.reader.Group != "":
		return "no consumer is live: the group is set at once"
	default:
		return "no agent has a consumer of the label"
	}
}

func (s *seek) warnings() (list []string) {
	switch {
	case s.silent > 0:
		list = append(list, fmt.Sprintf("%d live consumers have no agent, and cannot be told: stop them, or do it unattended; they may still handle what they have read, and report a loss if entries are left out", s.silent))
	case s.detail.Agents > 0 || s.reader.Group != "":
	case s.store != "":
		list = append(list, "a consumer of the label without an agent is not seen from here, and undoes it with its next save: see that none runs, and do it unattended")
	default:
		list = append(list, "the store of the offset is not known here, and nobody is there to be told: the order waits for the next start of a consumer with an agent")
	}
	if s.reader.Group != "" && s.read < 0 {
		list = append(list, "how many entries the group is behind is unknown until it has caught up: the place is far from both ends of the stream, or an entry behind it was deleted by its ID")
	}
	return list
}
