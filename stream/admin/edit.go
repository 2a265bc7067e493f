package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/admin/internal/letters"
	"millrace/stream/admin/internal/redrive"
	"millrace/stream/internal/resp"
)

// Edit plans to redrive one letter with other fields: pairs are the names and values of the
// entry, in their order. They are written as they are; decode them with the topic's codec first
// to see that its readers take them. The entry goes to the reader that gave it up, at the end of
// the stream that it came from, with the headers of a redriven one and [HeaderEdited], which
// says who has done it. The letter is deleted in the same step, see [Admin.Redrive]. However
// often it was redriven does not matter.
//
// The letter is one of [Admin.DeadLetters]. If it is gone, or another one has its ID, the error
// is a [*LetterGoneError], here or as the result of doing the plan: Redriven.Gone is 1 then. The
// fields are in no log and in no audit.
func (a *Admin) Edit(ctx context.Context, letter Letter, pairs []string) (*Plan[Redriven], error) {
	topic, pairs := letter.Reader.Stream, slices.Clone(pairs)
	if err := checkEdit(letter, pairs); err != nil {
		return nil, err
	}
	address := letter.Reader.Address()
	r := &redriving{admin: a, job: redrive.Job{
		Source: a.client, Dead: letter.Stream, Client: a.client, Target: topic, Topic: topic,
		Letters: []letters.Planned{{ID: letter.ID, Last: letter.last, Size: letter.size}}, Addresses: map[string]int64{address: 1},
	}}
	id, err := offset.Parse(letter.ID)
	if err != nil {
		return nil, err
	}
	found, err := entries.ByIDs(ctx, a.client, letter.Stream, []offset.ID{id})
	if err != nil {
		return nil, readingFailed(letter.Stream, err)
	}
	gone := &LetterGoneError{Stream: letter.Stream, ID: letter.ID}
	if len(found) == 0 {
		return nil, gone
	}
	if there, is := letters.Of(found[0]); !is || there.Last != letter.last {
		return nil, gone
	}
	p := newPlan(a, "edit", topic, func(ctx context.Context, d *doing) (Redriven, error) {
		edited := letters.Letter{Pairs: pairs, EditedBy: d.who, OriginID: letter.OriginID, Redrives: letter.Redrives}
		r.job.Edited = edited.Restored(address)
		done, err := r.do(ctx, d)
		if err == nil && done.Gone > 0 {
			err = gone
		}
		return done, err
	})
	p.Affected = 1
	p.Summary = fmt.Sprintf("dead letter %s goes back to %s with other fields, for %s only", letter.ID, topic, spoken(address))
	r.job.Seen = r.job.Look(ctx)
	p.Warnings, p.moved = r.warnings(), r.moved
	return p, nil
}

// LetterGoneError says that a letter is not there any more: it was redriven or deleted. Look
// for it anew.
type LetterGoneError struct {
	// Stream is the key of the dead letters, and ID that of the letter.
	Stream, ID string
}

func (e *LetterGoneError) Error() string {
	return fmt.Sprintf("admin: dead letter %s is not in %s any more: it was redriven or deleted", e.ID, e.Stream)
}

// checkEdit returns everything that is wrong with an edit.
func checkEdit(letter Letter, pairs []string) error {
	var problems []error
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: "+format, append([]any{stream.ErrInvalidOption}, args...)...))
	}
	if letter.Stream == "" || letter.last == "" || resp.CompareIDs(letter.ID, resp.Beginning) == 0 {
		refuse("Edit: the letter is none; give one of DeadLetters")
	}
	switch {
	case len(pairs) == 0 || len(pairs)%2 != 0:
		refuse("Edit: %d texts are no pairs; give a name and a value for each field", len(pairs))
	case len(pairs) > redrive.Widest:
		refuse("Edit: %d fields are more than a script can pass on; give at most %d", len(pairs)/2, redrive.Widest/2)
	}
	for i := 0; i < len(pairs); i += 2 {
		switch name := pairs[i]; {
		case strings.TrimSpace(name) == "":
			refuse("Edit: the name of field %d is blank; give one", i/2+1)
		case slices.Contains([]string{stream.HeaderFor, stream.HeaderOriginID, stream.HeaderRedrives, HeaderEdited}, name):
			refuse("Edit: the header %s is set by the edit; leave it out", name)
		}
	}
	return errors.Join(problems...)
}
