package admin

import (
	"context"
	"errors"
	"fmt"

	"millrace/stream/admin/internal/letters"
	"millrace/stream/admin/internal/redrive"
)

// Dropped is the result of a drop. All its numbers count letters.
type Dropped struct {
	// Planned is how many the plan had, and Deleted how many of them were deleted.
	Planned, Deleted int64
	// Unsure is how many of Deleted another drop, or a redrive, may have taken at the same
	// moment: an answer was lost, and the letter was gone when the server was asked again.
	Unsure int64
	// Gone is how many were gone before, and Left how many are still there.
	Gone, Left int64
}

// String says it for people.
func (d Dropped) String() string {
	text := fmt.Sprintf("%d of %d deleted", d.Deleted, d.Planned)
	if d.Unsure > 0 {
		text += fmt.Sprintf(", %d of these perhaps by others, as an answer was lost", d.Unsure)
	}
	if d.Gone > 0 {
		text += fmt.Sprintf(", %d gone before", d.Gone)
	}
	if d.Left > 0 {
		text += fmt.Sprintf(", %d left", d.Left)
	}
	return text
}

// Drop plans to delete dead letters: exactly those that are chosen now, and no entry that is no
// letter. Their entries are then nowhere any more. Doing the plan stops with an error that says
// how many are left when a server refuses, does not answer for half a minute, or when ctx ends.
// [Report] works. All problems of where come back in one error, each wrapping
// [stream.ErrInvalidOption].
func (a *Admin) Drop(ctx context.Context, topic string, where Where) (*Plan[Dropped], error) {
	if err := errors.Join(where.problems(topic)...); err != nil {
		return nil, err
	}
	dead := where.deadLetterStream(topic)
	var chosen []letters.Planned
	var looked, strangers int64
	for page, err := range where.lookedAt().Pages(ctx, a.client, dead) {
		if err != nil {
			return nil, readingFailed(dead, err)
		}
		for _, entry := range page {
			letter, is := letters.Of(entry)
			switch {
			case !is:
				strangers++
			case where.matches(topic, &letter):
				chosen = append(chosen, letter.Planned())
				looked++
			default:
				looked++
			}
		}
	}
	p := newPlan(a, "drop", topic, func(ctx context.Context, d *doing) (Dropped, error) {
		return a.drop(ctx, d, dead, chosen)
	})
	p.Affected = int64(len(chosen))
	p.Summary = fmt.Sprintf("%d of %d dead letters in %s are deleted for ever", len(chosen), looked, dead)
	if strangers > 0 {
		p.Details = []Detail{{"strangers", fmt.Sprintf("%d left: they are no dead letters", strangers)}}
	}
	return p, nil
}

// drop deletes the letters of a plan.
func (a *Admin) drop(ctx context.Context, d *doing, dead string, planned []letters.Planned) (Dropped, error) {
	how, err := redrive.Drop(ctx, a.client, dead, planned, func(done int64) {
		d.tell(Progress{Done: done, Of: int64(len(planned)), Behind: -1})
	})
	done := Dropped{Planned: int64(len(planned)), Deleted: how.Moved, Unsure: how.Unsure, Gone: how.Gone, Left: how.Left}
	if err != nil {
		err = fmt.Errorf("admin: deleting letters of %s stopped, %v: %w", dead, done, err)
	}
	return done, err
}
