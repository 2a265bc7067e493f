package admin_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"millrace/stream"
	"millrace/stream/admin"
)

func only(t testing.TB, a *admin.Admin) admin.Letter {
	t.Helper()
	letters, _ := lettersOf(t, a, admin.Where{})
	if len(letters) != 1 {
		t.Fatalf("%d letters", len(letters))
	}
	return letters[0]
}

func editPlan(t testing.TB, a *admin.Admin, l admin.Letter, pairs ...string) *admin.Plan[admin.Redriven] {
	t.Helper()
	p, err := a.Edit(t.Context(), l, pairs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An edited entry has the new fields as they are, the headers of a redriven one, and who has
// edited it; the values are in no log and in no audit.
func TestEditRedrivesOtherFields(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	var log strings.Builder
	a := newAdmin(t, client, admin.WithAudit("audit"), admin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	client.XGroupCreateMkStream(t.Context(), orders, "billing", "0")
	bury(t, client, letter{pairs: []string{"id", "a", admin.HeaderEdited, "eve", stream.HeaderFor, "group:billing", stream.HeaderOriginID, "5-1", stream.HeaderRedrives, "3"}})
	l := only(t, a)
	want(t, "edited before by", l.EditedBy, "eve")
	pairs := []string{"id", "canary", "id", "\x00\xff", "traceparent", "00-1"}
	p := editPlan(t, a, l, pairs...)
	pairs[1] = "too late"
	want(t, "summary", p.Summary, "dead letter "+l.ID+" goes back to orders with other fields, for group billing only")
	done, err := p.Do(t.Context(), by)
	if err != nil || done != (admin.Redriven{Planned: 1, Moved: 1}) {
		t.Errorf("%+v, %v", done, err)
	}
	want(t, "entries", pairsOf(t, client, orders), [][]string{{
		"id", "canary", "id", "\x00\xff", "traceparent", "00-1", admin.HeaderEdited, "ada",
		stream.HeaderFor, "group:billing", stream.HeaderOriginID, "5-1", stream.HeaderRedrives, "4",
	}})
	want(t, "letters", length(t, client, dead), 0)
	said := log.String()
	for _, pairs := range pairsOf(t, client, "audit") {
		said += strings.Join(pairs, " ")
	}
	if !strings.Contains(said, "1 of 1 moved") || strings.Contains(said, "canary") || strings.Contains(said, "\xff") {
		t.Errorf("said: %s", said)
	}
	// Redriven again, it keeps who has edited it.
	bury(t, client, letter{pairs: pairsOf(t, client, orders)[0]})
	redrive(t, a, admin.RedriveConfig{MaxRedrives: 9})
	all := pairsOf(t, client, orders)
	want(t, "redriven again", strings.Join(all[1][6:], " "), admin.HeaderEdited+" ada millrace.for group:billing millrace.origin-id 5-1 millrace.redrives 5")
}

func TestEditOfALetterThatIsGone(t *testing.T) {
	t.Parallel()
	_, client := startRedis(t)
	a := newAdmin(t, client)
	bury(t, client, letter{pairs: []string{"id", "a"}})
	l := only(t, a)
	p, q := editPlan(t, a, l, "id", "b"), editPlan(t, a, l, "id", "c")
	if _, err := p.Do(t.Context(), by); err != nil {
		t.Error(err)
	}
	var gone *admin.LetterGoneError
	if done, err := q.Do(t.Context(), by); !errors.As(err, &gone) || gone.ID != l.ID || done.Gone != 1 || done.Moved != 0 {
		t.Errorf("edited twice: %+v, %v", done, err)
	}
	if _, err := a.Edit(t.Context(), l, []string{"id", "d"}); !errors.As(err, &gone) {
		t.Errorf("planned: %v", err)
	}
	// Another letter gets its ID, twice.
	replace := func() {
		client.Do(t.Context(), "del", dead)
		client.Do(t.Context(), append([]any{"xadd", dead, l.ID}, anys(letter{pairs: []string{"id", "a"}}.words())...)...)
	}
	replace()
	second := editPlan(t, a, only(t, a), "id", "d")
	replace()
	if done, err := second.Do(t.Context(), by); !errors.As(err, &gone) || done.Gone != 1 {
		t.Errorf("of another letter with its ID: %+v, %v", done, err)
	}
	if _, err := a.Edit(t.Context(), l, []string{"id", "d"}); !errors.As(err, &gone) {
		t.Errorf("planned for another letter with its ID: %v", err)
	}
	want(t, "entries", len(pairsOf(t, client, orders)), 1)
}

func TestEditIsChecked(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, nowhere(t))
	_, err := a.Edit(t.Context(), admin.Letter{}, []string{"", "secret", stream.HeaderRedrives, "secret", "odd"})
	for _, part := range []string{"give one of DeadLetters", "5 texts are no pairs", "name of field 1 is blank", "millrace.redrives is set by the edit"} {
		if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if _, err := a.Edit(t.Context(), admin.Letter{}, nil); err == nil || !strings.Contains(err.Error(), "0 texts") {
		t.Errorf("no fields: %v", err)
	}
	if _, err := a.Edit(t.Context(), admin.Letter{}, anyPairs(4000)); err == nil || !strings.Contains(err.Error(), "4000 fields") {
		t.Errorf("many fields: %v", err)
	}
}
