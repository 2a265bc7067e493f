package streamtest

import (
	"slices"
	"strconv"
	"testing"

	"millrace/codec"
	"millrace/stream/internal/effect"
)

// Handled is a [millrace/stream.Message] of any type, or an Entry, by its address.
type Handled interface {
	Header(name string) string
	MarkLogged()
}

// MessageEffects are what a handler has asked for, for one message: see [Effects].
type MessageEffects struct{ buffer *effect.Buffer }

// Effects prepares a message that a test has made for a handler that publishes to an Output, or adds
// to Counters: without it, those return ErrNoEffects. The result has what the handler asked for.
// Nothing is written anywhere, and outputs need not be declared. Prepared again, the message begins
// anew.
//
//	msg := &stream.Message[Order]{Value: Order{...}}
//	effects := streamtest.Effects(t, msg)
//	err := handle(ctx, msg)
//	bills := effects.Output("bills")
//
// Anything but a message fails the test. It is safe for concurrent use.
func Effects(t testing.TB, msg Handled) *MessageEffects {
	t.Helper()
	e := &MessageEffects{effect.NewBuffer(nil)}
	if !effect.Arm(msg, e.buffer) {
		t.Fatalf("streamtest.Effects was given a %T; give a *stream.Message", msg)
	}
	return e
}

// Output returns the fields of each entry that was published to a topic, headers included, in the
// order of the calls. The topic's codec decodes them.
func (e *MessageEffects) Output(topic string) (entries []codec.Fields) {
	e.buffer.Open().Each(func(key string, kind effect.Kind, args []string) {
		if key == topic && kind == effect.Stream {
			entries = append(entries, codec.FieldsOf(args[slices.Index(args, "*")+1:]...))
		}
	})
	return entries
}

// Counter returns how much was added to a field of the counters with a key.
func (e *MessageEffects) Counter(key, field string) (sum int64) {
	e.buffer.Open().Each(func(of string, kind effect.Kind, args []string) {
		if of == key && kind == effect.Hash && args[0] == field {
			n, _ := strconv.ParseInt(args[1], 10, 64)
			sum += n
		}
	})
	return sum
}
