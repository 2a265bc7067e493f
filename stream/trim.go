package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
)

// Trimmer drops entries of one stream that everybody has passed: every group, and
// every consumer in log mode whose offset it knows. It trims up to the oldest entry
// that is pending anywhere, or the last that was delivered or saved, whichever
// comes first. That one stays: it is by this entry that a consumer sees that nothing
// in front of it was lost. [NewTrimmer] makes one.
//
// Offsets are known from the groups of a [Mirror], or by [WithOffsets]. It cannot know a
// consumer in log mode that has neither, and will trim entries that it has not read. A group
// without consumers holds everything: destroy it.
//
// A Trimmer is safe for concurrent use, and any number of them may trim one
// stream: nothing is remembered from one time to the next.
type Trimmer struct {
	config trimmerConfig
	stream string
	client redis.UniversalClient
}

// NewTrimmer makes a trimmer of the stream with the given key, the name of a topic.
// It does no I/O, starts nothing, and closes nothing. Everything that is wrong with
// the arguments and options comes back in one error, each problem wrapping
// [ErrInvalidOption].
//
// The client is a *redis.Client, sentinel-backed ones included, or a
// *redis.ClusterClient. Its user needs the Redis rights
//
//	~<topic> +xinfo|stream +xinfo|groups +xpending +xtrim +eval +evalsha
//
// and with a hard limit +xrange, and +time for [WithHardMaxAge].
func NewTrimmer(client redis.UniversalClient, stream string, opts ...TrimmerOption) (*Trimmer, error) {
	cfg := newTrimmerConfig(opts)
	if err := errors.Join(checkClient(client), checkStream(stream), cfg.validate()); err != nil {
		return nil, err
	}
	return &Trimmer{config: cfg, stream: stream, client: client}, nil
}

// String names the trimmer for people: trimmer of orders.
func (t *Trimmer) String() string { return "trimmer of " + t.stream }

// TrimResult is the result of one trim.
type TrimResult struct {
	// Trimmed is how many entries were removed, and Capped how many of them only
	// because of a hard limit.
	Trimmed, Capped int64
	// Remaining is how many entries the stream still has. The last one that
	// everybody has passed is among them.
	Remaining int64
	// Floor is the ID before which everybody has passed everything. It is empty when no reader
	// is known.
	Floor string
	// Positions are all groups and all known offsets, those that are furthest behind first: the
	// first one holds back the others.
	Positions []Position
	// Losses says whom a hard limit has taken entries from that they had not
	// passed. It is empty in all other cases.
	Losses []TrimLoss
}

// TrimLoss is the entries that a hard limit has taken from a group or a label.
type TrimLoss struct {
	// Owner is the name of the group or, if Label is set, the label of the offset.
	Owner string
	Label bool
	// From and To are the IDs of the first and of the last entry that it has lost,
	// and Count is how many there were, exactly: entries that were not delivered to
	// it yet, and those that were pending. Others in between it had processed.
	From, To string
	Count    int64
}

// String names the loss, such as group "billing" lost 3 entries, 1-0 to 5-0.
func (l TrimLoss) String() string {
	return fmt.Sprintf("%s lost %d entries, %s to %s", ownerName(l.Owner, l.Label), l.Count, l.From, l.To)
}

// ErrNoPosition comes from [Trimmer.Trim] when the stream has entries, but no group and no
// known offset: nothing was trimmed, because the places of the readers would be a guess. Give
// [WithOffsets] or [WithHardMaxLen], use a [Mirror], or make the group.
var ErrNoPosition = errors.New("nothing was trimmed: the stream has no group and no known offset; give WithOffsets or a hard limit, or mirror the offsets")

// Trim trims the stream once. Everything is decided and done on the server in one
// step, or in several that each look anew where there is much to trim, so that no
// entry is lost that is delivered, claimed or added meanwhile. A stream that is
// missing or empty is nothing to trim, and no error.
//
// After an error the result has the work before it. With a hard limit it is possible, if the
// connection broke, that entries were trimmed that no result reports: the error says so. Trim
// may be called again after every error. An offset that cannot be loaded is one, and nothing is
// trimmed.
func (t *Trimmer) Trim(ctx context.Context) (TrimResult, error) {
	return t.trim(ctx)
}

func (t *Trimmer) trim(ctx context.Context) (result TrimResult, err error) {
	args, err := t.args(ctx)
	if err != nil {
		return result, fmt.Errorf("stream: trimming %s: %w", t.stream, explain(err))
	}
	for {
		reply, err := t.step(ctx, args)
		if err != nil {
			return result, fmt.Errorf("stream: trimming %s: %w", t.stream, explain(err))
		}
		result.add(reply.TrimResult)
		if !reply.more {
			break
		}
	}
	if len(result.Positions) == 0 && result.Remaining > 0 && !t.config.capped() {
		return result, fmt.Errorf("stream: trimming %s: %w", t.stream, ErrNoPosition)
	}
	return result, nil
}

// args loads the offsets. They are older than the state that the script sees then, and so at or
// behind where their owners are.
func (t *Trimmer) args(ctx context.Context) ([]any, error) {
	maxLen, maxAge := int64(0), int64(0)
	if limit := t.config.maxLen; limit != nil {
		maxLen = *limit
	}
	if limit := t.config.maxAge; limit != nil {
		maxAge = limit.Milliseconds()
	}
	args := []any{script.TrimStep, script.TrimWalk, maxLen, maxAge}
	for _, known := range t.config.offsets {
		id, found, err := load(ctx, known.store, known.label)
		var parsed offset.ID
		if err == nil && found {
			parsed, err = offset.Parse(id)
			id = parsed.String()
		}
		if err != nil {
			return nil, fmt.Errorf("loading the offset %q: %w", known.label, err)
		}
		if !found {
			id = ""
		}
		args = append(args, known.label, id)
	}
	return args, nil
}

func (t *Trimmer) step(ctx context.Context, args []any) (trimReply, error) {
	// Once: a second run would find nothing to do, and the entries that the first had trimmed
	// beyond the floor would be in no report.
	reply, err := script.Trim.Run(ctx, t.client, []string{t.stream}, args...).Slice()
	if err != nil {
		return trimReply{}, t.unknown(ctx, err)
	}
	return parseTrimReply(reply)
}

// unknown adds to an error that it may hide a loss, if it may.
func (t *Trimmer) unknown(ctx context.Context, err error) error {
	if conn.NeverRan(ctx, err) || !t.config.capped() {
		return err
	}
	return fmt.Errorf("there is no reply, so that entries may have been lost by the hard limit that no result reports: %w", err)
}

// add adds the work of a further step.
func (r *TrimResult) add(step TrimResult) {
	step.Trimmed += r.Trimmed
	step.Capped += r.Capped
	step.Losses = addLosses(r.Losses, step.Losses)
	*r = step
}

// addLosses adds later losses to earlier ones of the same owners.
func addLosses(losses, later []TrimLoss) []TrimLoss {
next:
	for _, loss := range later {
		for i := range losses {
			if known := &losses[i]; known.Owner == loss.Owner && known.Label == loss.Label {
				known.Count, known.To = known.Count+loss.Count, loss.To
				continue next
			}
		}
		losses = append(losses, loss)
	}
	return losses
}

// trimReply is the result of the script.
type trimReply struct {
	TrimResult
	more bool
}

// parseTrimReply reads the script's reply, and takes nothing on trust: a proxy, or
// a hook of the client's, may have made it.
func parseTrimReply(reply []any) (trimReply, error) {
	var (
		r         trimReply
		more      int64
		positions []any
	)
	if !script.Scan(reply, &r.Trimmed, &r.Capped, &r.Remaining, &more, &r.Floor, &positions) ||
		r.Capped < 0 || r.Trimmed < r.Capped || r.Remaining < 0 || r.Floor != "" && !isID(r.Floor) {
		return trimReply{}, errors.New("the server's reply is not that of the script")
	}
	r.more = more == 1
	for i, each := range positions {
		var (
			p           Position
			kind, state string
			loss        TrimLoss
		)
		fields, ok := each.([]any)
		ok = ok && script.Scan(fields, &kind, &p.Owner, &p.ID, &state, &loss.Count, &loss.From, &loss.To) &&
			(kind == "group" || kind == "label") && isID(p.ID) && loss.Count >= 0 &&
			(loss.Count == 0 || isID(loss.From) && isID(loss.To))
		p.State = PositionState(state)
		switch p.State {
		case PositionPassed, PositionPending, PositionMissing, PositionAhead:
		default:
			ok = false
		}
		if !ok {
			return trimReply{}, fmt.Errorf("the server's reply is not that of the script, in position %d", i+1)
		}
		p.Label = kind == "label"
		if label, mirrored := strings.CutPrefix(p.Owner, positionPrefix); mirrored && !p.Label {
			p.Owner, p.Label = label, true
		}
		r.Positions = append(r.Positions, p)
		if loss.Count > 0 {
			loss.Owner, loss.Label = p.Owner, p.Label
			r.addLoss(loss)
		}
	}
	slices.SortStableFunc(r.Positions, Position.compare)
	return r, nil
}

// addLoss adds the loss of an owner. One that is there already is the same label,
// once from a store and once from a mirror: it has not lost the entries twice. If
// one is behind, it is not known here whether it is the same consumer's, and the
// greater loss is told.
func (r *trimReply) addLoss(loss TrimLoss) {
	for i, other := range r.Losses {
		if other.Owner == loss.Owner && other.Label == loss.Label {
			if loss.Count > other.Count {
				r.Losses[i] = loss
			}
			return
		}
	}
	r.Losses = append(r.Losses, loss)
}

func isID(text string) bool {
	_, err := offset.Parse(text)
	return err == nil
}
