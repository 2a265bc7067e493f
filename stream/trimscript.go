package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/offset"
	"millrace/stream/internal/script"
)

const (
	// trimStep is about how many entries one run of the script trims, so that the
	// server is free again in between: that many small ones take 0.1 ms.
	trimStep = 10_000
	// trimWalk bounds the steps of one run beyond the floor, where it looks at each entry:
	// to fetch an entry counts four, and to ask whether one is pending in a group counts
	// one. That takes a millisecond.
	trimWalk = 1500
)

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
