package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
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
	where := Where{IDs: []string{letter.ID}, DeadLetterStream: letter.Stream}
	r := &redrive{
		admin: a, topic: topic, dead: letter.Stream, target: topic, client: a.client,
		cfg: RedriveConfig{Where: where}, readers: map[string]int64{letter.Reader.Address(): 1},
	}
	id, err := offset.Parse(letter.ID)
	if err != nil {
		return nil, err
	}
	found, err := readByIDs(ctx, a.client, letter.Stream, []offset.ID{id})
	if err != nil {
		return nil, readingFailed(letter.Stream, err)
	}
	gone := &LetterGoneError{Stream: letter.Stream, ID: letter.ID}
	if len(found) == 0 {
		return nil, gone
	}
	if there, is := letterOf(letter.Stream, found[0]); !is || there.last != letter.last {
		return nil, gone
	}
	r.letters, r.looked = []plannedLetter{letter.planned()}, 1
	p := newPlan(a, "edit", topic, func(ctx context.Context, d *doing) (Redriven, error) {
		edited := letter
		edited.Fields, edited.EditedBy = codec.FieldsOf(pairs...), d.who
		r.edited = edited.restored(letter.Reader.Address())
		done, err := r.do(ctx, d)
		if err == nil && done.Gone > 0 {
			err = gone
		}
		return done, err
	})
	p.Affected = 1
	p.Summary = fmt.Sprintf("dead letter %s goes back to %s with other fields, for %s only", letter.ID, topic, spoken(letter.Reader.Address()))
	r.seen = r.look(ctx)
	p.Warnings = r.warnings(r.seen)
	p.moved = func(ctx context.Context) (string, error) { return r.vanished(r.seen, r.look(ctx)), nil }
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
	case len(pairs) > widest:
		refuse("Edit: %d fields are more than a script can pass on; give at most %d", len(pairs)/2, widest/2)
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
