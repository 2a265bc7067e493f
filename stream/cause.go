package stream

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
	"unicode"

	"millrace/stream/internal/contain"
)

// causeOf returns the key that failures of one kind share: the types of the error and of
// all that it wraps, and the identity of the innermost ones. The text of an error is of
// no use as a key: it may hold an entry's ID, or a value.
func causeOf(failure error) string {
	var key strings.Builder
	left := 16
	_ = contain.CaughtPanic(func() { describe(&key, failure, &left) })
	return key.String()
}

func describe(key *strings.Builder, err error, left *int) {
	if *left--; err == nil || *left < 0 {
		return
	}
	fmt.Fprintf(key, "%T ", err)
	wrapped := contain.WrappedBy(err)
	for _, inner := range wrapped {
		describe(key, inner, left)
	}
	if len(wrapped) > 0 {
		return
	}
	switch value := reflect.ValueOf(err); {
	case value.CanInt() || value.CanUint(): // such as a syscall.Errno
		fmt.Fprintf(key, "%d ", err)
	case value.Kind() == reflect.String, reflect.TypeOf(err) == typeOfText:
		key.WriteString(shape(err.Error()))
	}
}

// typeOfText is the type of the errors of errors.New: sentinels, and texts that were put
// together.
var typeOfText = reflect.TypeOf(contain.ErrGoexit)

// shape returns the start of a text without the words that have digits or quotes, such
// as IDs.
func shape(text string) string {
	const longest = 128
	words := strings.Fields(text[:min(len(text), longest)])
	for i, word := range words {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune("\"'`", r) }) {
			words[i] = "#"
		}
	}
	return strings.Join(words, " ")
}

// tellHeld logs that an entry is held: at Error if its cause is new to the log, else at
// Debug, unless a middleware has logged this delivery.
func (r *run) tellHeld(d *delivery, failure error) {
	report := r.window.NoteCause(d.it, causeOf(failure))
	log := r.engine.log
	if !report.Due {
		if !d.entry.logged && log.Enabled(context.Background(), slog.LevelDebug) {
			log.Debug(heldText, "entry_id", d.it.ID, "attempt", d.entry.Deliveries, "err", failure)
		}
		return
	}
	if panicked, is := contain.As[*PanicError](failure); is {
		log = log.With("stack", string(panicked.Stack))
	}
	if report.First {
		log.Error(heldText, "entry_id", d.it.ID, "attempt", d.entry.Deliveries, "err", failure)
		return
	}
	log.Error("entries held: they fail, and will be delivered again", "held", report.Held, "oldest", report.Oldest,
		"failures", report.Failures, "entries", report.Entries, "lasts", report.Lasts, "err", failure)
}

const heldText = "entry held: it failed and will be delivered again"

// logEndedCauses logs the causes because of which no entry is held any more.
func (r *run) logEndedCauses() {
	for _, c := range r.window.TakeEndedCauses() {
		r.engine.log.Info("delivery works again", "failures", c.Failures, "entries", c.Entries, "lasted", time.Since(c.Since))
	}
}
