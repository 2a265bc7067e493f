package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/stream/internal/loss"
	"millrace/stream/internal/mode"
)

// LossError tells of entries that a consumer will never see, or of a place in a
// stream that is no more. It is found at the start, after every trouble with the
// server, when a consumer lags, and now and then while it idles. It goes to the log
// and to observers ([LossObserver]), in log mode to the policy of [WithLossPolicy],
// and out of Run if that says stop. A consumer in group mode always goes on: its
// place is the group's.
type LossError struct {
	// Stream is the topic's name, and Label or Group the consumer's.
	Stream, Label, Group string
	// Cause is the reason.
	Cause LossCause
	// From is the last entry that the consumer, or the group, had read, To the first one that
	// the stream has behind it, if any, and the entries between them are lost. Where that is
	// not known so exactly, the lost entries are some of those behind From and not behind To.
	// For a pending entry that is gone, both are that entry. With LossAhead, LossReplaced and
	// LossRecreated the entries that were read last have vanished themselves, From being the
	// last of them.
	From, To string
	// Count is how many entries were lost, if Exact is set; otherwise it is the
	// most that it can be, and -1 if even that is not known.
	Count int64
	Exact bool
}

// LossCause is the reason of a loss.
type LossCause string

const (
	// LossTrimmed is that entries were trimmed away, or deleted, before they were
	// read.
	LossTrimmed LossCause = "entries were trimmed or deleted before they were read"
	// LossRecreated is that the stream is not the one that was read: it was deleted,
	// evicted or expired, and perhaps made again.
	LossRecreated LossCause = "the stream was deleted, or is another one now"
	// LossAhead is that the place is behind the end of the stream: a failover, or
	// a restart, has taken away entries that were read already, or the server's
	// clock went back.
	LossAhead LossCause = "the offset is ahead of the stream"
	// LossReplaced is that the last entry that was read is not in the stream, in
	// which there are older ones and newer ones: after a failover or a restart
	// others were added in its place.
	LossReplaced LossCause = "the stream has other entries in the place of those that were read"
	// LossGroup is that the group was deleted, and with it the note of the entries that were
	// pending on consumers that do not run any more.
	LossGroup LossCause = "the group was deleted"
	// LossMoved is that the group was set to another place further on (XGROUP SETID), so that
	// it leaves out entries that were not read.
	LossMoved LossCause = "the group was set to another place"
	// LossConsumer is that the consumer was removed from the group while entries were pending
	// on it (XGROUP DELCONSUMER), or that another consumer has made the group again, and with
	// it the note of them is gone. The entries that it has in hand, from From to To, it handles
	// all the same.
	LossConsumer LossCause = "the consumer was removed from the group with entries pending"
	// LossPending is that an entry was pending, is not in the stream any more, and is not
	// handled from memory by the consumer that had it; in either mode also, that one over
	// the limit of [WithMaxEntryBytes], of which nothing is kept here, has gone before it
	// could be copied to the dead letters.
	LossPending LossCause = "a pending entry was trimmed or deleted"
)

func (e *LossError) Error() string {
	owner := fmt.Sprintf("label %q", e.Label)
	if e.Group != "" {
		owner = fmt.Sprintf("group %q", e.Group)
	}
	count := "it is not known how many"
	switch {
	case e.Exact:
		count = fmt.Sprint(e.Count)
	case e.Count >= 0:
		count = fmt.Sprint("at most ", e.Count)
	}
	return fmt.Sprintf("stream: entries of %s lost for %s: %s (from %s to %s; %s)", e.Stream, owner, e.Cause, orNone(e.From), orNone(e.To), count)
}

func orNone(id string) string {
	if id == "" {
		return "the end"
	}
	return id
}

// lossCauses are the public names of the causes.
var lossCauses = [...]LossCause{
	loss.Trimmed:         LossTrimmed,
	loss.Recreated:       LossRecreated,
	loss.Ahead:           LossAhead,
	loss.Replaced:        LossReplaced,
	loss.GroupDeleted:    LossGroup,
	loss.GroupMoved:      LossMoved,
	loss.ConsumerRemoved: LossConsumer,
	loss.PendingDeleted:  LossPending,
}

// lossError returns a loss as the consumer tells it.
func (e *engine) lossError(found loss.Finding) *LossError {
	return &LossError{
		Stream: e.identity.Stream, Label: e.identity.Label, Group: e.identity.Group,
		Cause: lossCauses[found.Cause], From: found.From, To: found.To, Count: found.Count, Exact: found.Exact,
	}
}

// resume asks the policy where to go on after a loss. An error is the end of the run.
func (e *engine) resume(ctx context.Context, found loss.Finding) (mode.Start, error) {
	lost := e.lossError(found)
	var start Start
	err := isolated(func() (err error) {
		start, err = e.config.lossPolicy(ctx, lost)
		return err
	})
	if told := (*LossError)(nil); err != nil && !errors.As(err, &told) {
		err = fmt.Errorf("%w: %w", lost, err)
	}
	return start.at, err
}

// LossPolicy decides where a consumer in log mode goes on after a loss. An error
// ends Run, which returns it together with the loss. It is called by the goroutine
// that reads, which waits for it.
type LossPolicy func(ctx context.Context, loss *LossError) (Start, error)

// ResumeAtKnown goes on behind the last entry that this consumer has read and that
// the stream still has; where there is none, or it is not known, with the first entry
// of the stream. It loses nothing that the stream has, and has entries handled again
// rather than left out. It is the default.
func ResumeAtKnown(context.Context, *LossError) (Start, error) {
	return Start{mode.Start{Known: true}}, nil
}

// ResumeAtFirst goes on with the first entry that the stream has.
func ResumeAtFirst(context.Context, *LossError) (Start, error) { return FromBeginning(), nil }

// ResumeAtEnd goes on with the entries that are added from now on, and leaves out those that
// the stream has.
func ResumeAtEnd(context.Context, *LossError) (Start, error) { return FromEnd(), nil }

// ResumeBack returns the policy that goes on with the first entry whose ID is at most
// d older than the last one that was read, or than the end of the stream, whichever
// is older.
func ResumeBack(d time.Duration) LossPolicy {
	return func(context.Context, *LossError) (Start, error) { return Start{mode.Start{Back: &d}}, nil }
}

// StopOnLoss ends Run.
func StopOnLoss(_ context.Context, loss *LossError) (Start, error) { return Start{}, loss }

// WithLossPolicy sets where the consumer goes on when its place in the stream, or
// entries behind it, are lost. Default, also for nil: [ResumeAtKnown].
//
// The default neither stands still nor leaves anything out: lost entries cannot be brought back
// by waiting, and a consumer that stops for it at night loses the next entries too. Where
// handling entries again is worse than that, use [StopOnLoss]. Whatever the policy, each loss
// is in the log, as an error.
//
// A stored offset is set back when the policy goes back, if the store can do that
// (offset.Resetter, as those of package offset); otherwise it stays where it is, and
// the loss is found again after a restart, until new entries have passed it.
func WithLossPolicy(policy LossPolicy) Option {
	return option{"WithLossPolicy", logConsumer, func(c *config) {
		if policy == nil {
			policy = ResumeAtKnown
		}
		c.lossPolicy = policy
	}}
}
