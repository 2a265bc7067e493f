package feed

import (
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
)

// pace is how many entries a feed asks for at a time: no more than are expected to
// fit, as far as the last ones tell. It is only a guess, which saves reading over
// what is not kept; that memory is bounded is the intake's doing.
type pace struct {
	resp.Budget
	count, most int
	limit       replyLimit
	// alone is set when even a read of one entry, with the one at the place, broke off,
	// until the limit grows.
	alone bool
}

// learn looks at the entries of a read. It goes down at once, and up slowly:
// where large entries come between small ones it would go up and down otherwise,
// and each time read half of them for nothing.
func (p *pace) learn(b resp.Batch) {
	p.limit.worked()
	fit := int64(p.limit.of(p.most, time.Now()))
	if n := int64(b.Len()); n > 0 && b.Bytes > 0 {
		fit = min(fit, p.Room/max(1, b.Bytes/n))
	}
	p.count = max(1, min(int(fit), 2*p.count))
	p.Steady, p.alone = p.count == p.most, p.alone && p.limit.entries == 1
}

// failed looks at the failure of a read, and returns the error to report.
func (p *pace) failed(err error) error {
	if cut, is := contain.As[*conn.CutError](err); is {
		if !p.limit.cut(p.count, cut.Begun, time.Now()) {
			return cut.Err
		}
		cut.Asked, cut.Least = p.count, p.alone
		p.count, p.Steady, p.alone = p.limit.entries, false, p.count == 1
	}
	return err
}

func newPace(in resp.Budget, most int) pace {
	in.Steady = true
	return pace{Budget: in, count: most, most: most}
}
