package history_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

func TestRecorderKeepsWhatHappens(t *testing.T) {
	t.Parallel()
	recorder := history.Recorder{Key: "account"}
	_, _ = recorder.Publish("pub", "k", func() (string, error) { return "1-0", nil })
	_, _ = recorder.Publish("pub", "k", func() (string, error) { return "", errors.New("lost") })
	for i, outcome := range []error{
		nil, stream.Skip("no"), &stream.DecodeError{Err: errors.New("no")}, fmt.Errorf("wrapped: %w", &stream.DeadLetterError{Err: errors.New("no")}),
		errors.New("no"), stream.Permanent(errors.New("no")), context.Canceled,
	} {
		handle := recorder.Middleware("me")(func(context.Context, *stream.Entry) error { return outcome })
		entry := &stream.Entry{ID: fmt.Sprint(i, "-0"), Fields: codec.FieldsOf("account", "A", "", "B")}
		if err := handle(t.Context(), entry); !errors.Is(err, outcome) {
			t.Errorf("the middleware returns %v, want %v", err, outcome)
		}
	}
	store := recorder.Store("me", &offset.Memory{})
	if _, _, err := store.Load(t.Context(), "label"); err != nil {
		t.Error(err)
	}
	if err := store.Save(t.Context(), "label", "5-0"); err != nil {
		t.Error(err)
	}
	if err := store.Save(t.Context(), "label", "x"); err == nil {
		t.Error("a refused save looks like a success")
	}
	if id, found, err := store.Load(t.Context(), "label"); id != "5-0" || !found || err != nil {
		t.Errorf("loaded %q, %t, %v", id, found, err)
	}
	resetter, ok := store.(offset.Resetter)
	if !ok {
		t.Fatal("the recorder hides that offsets can be set back")
	}
	if err := resetter.Reset(t.Context(), "label", "4-0"); err != nil {
		t.Error(err)
	}
	if err := resetter.Reset(t.Context(), "label", "x"); err == nil {
		t.Error("a refused reset looks like a success")
	}
	if id, found, err := store.Load(t.Context(), "label"); id != "4-0" || !found || err != nil {
		t.Errorf("loaded %q, %t, %v after a reset", id, found, err)
	}
	if _, ok := recorder.Store("me", struct{ offset.Store }{&offset.Memory{}}).(offset.Resetter); ok {
		t.Error("the recorder sets offsets back where the store cannot")
	}
	recorder.Inject(history.Fault{Name: "cut", Repeats: 3})()
	recorder.Report("me", "gap", "1-0", "2-0")

	events, err := recorder.Events()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		if e.At.IsZero() {
			t.Errorf("%v has no time", e)
		}
		word := strings.Join([]string{string(e.Kind), e.By, e.Label, e.ID, e.To, e.Key}, " ")
		if e.Passed {
			word += " passed"
		}
		got = append(got, strings.Join(strings.Fields(word), " "))
	}
	want := []string{
		"publishing pub k", "published pub 1-0 k", "publishing pub k", "publish unknown pub k",
		"delivered me 0-0 A", "handled me 0-0 A passed", "delivered me 1-0 A", "handled me 1-0 A passed",
		"delivered me 2-0 A", "handled me 2-0 A passed", "delivered me 3-0 A", "handled me 3-0 A passed",
		"delivered me 4-0 A", "handled me 4-0 A", "delivered me 5-0 A", "handled me 5-0 A", "delivered me 6-0 A", "handled me 6-0 A",
		"saving me label 5-0", "saved me label 5-0", "saving me label x", "loaded me label 5-0",
		"resetting me label 4-0", "reset me label 4-0", "resetting me label x", "loaded me label 4-0",
		"fault begun", "fault over", "reported me 1-0 2-0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// After a stop, failures do not end the processing of an entry.
func TestRecorderKnowsOfStops(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	var recorder history.Recorder
	for _, outcome := range []error{&stream.DecodeError{Err: errors.New("no")}, &stream.DeadLetterError{Err: errors.New("no")}, nil} {
		handle := recorder.Middleware("me")(func(context.Context, *stream.Entry) error { return outcome })
		_ = handle(stopped, &stream.Entry{ID: "1-0"})
		events, _ := recorder.Events()
		if last := events[len(events)-1]; last.Passed != (outcome == nil) {
			t.Errorf("after a stop, %v passes an entry: %t", outcome, last.Passed)
		}
	}
}

func TestRecorderAwaitsWhatIsHandled(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, _ *streamtest.Bubble) {
		var recorder history.Recorder
		handle := recorder.Middleware("me")(func(context.Context, *stream.Entry) error { return nil })
		go func() {
			for n := range 3 {
				time.Sleep(20 * time.Second)
				_ = handle(t.Context(), &stream.Entry{ID: fmt.Sprint(n, "-0")})
			}
		}()
		begun := time.Now()
		if !recorder.AwaitHandled(ids("0 1 2")) || time.Since(begun).Round(time.Second) != time.Minute {
			t.Errorf("what is handled after a minute was awaited for %v", time.Since(begun))
		}
		if recorder.AwaitHandled(ids("1 2 3")) {
			t.Error("what is never handled is taken for handled")
		}
	})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestRecorderTellsThatItCannotWrite(t *testing.T) {
	t.Parallel()
	recorder := history.Recorder{Out: full{}}
	recorder.Report("me", "gap", "", "")
	if events, err := recorder.Events(); err == nil || len(events) != 1 {
		t.Errorf("%d events, %v, want the event in memory and an error", len(events), err)
	}
}

// failing is a test that may fail without a failure of the test that uses it.
type failing struct {
	testing.TB
	dir, said string
}

func (f *failing) Helper() {}

func (f *failing) ArtifactDir() string { return f.dir }

func (f *failing) Errorf(format string, args ...any) { f.said += fmt.Sprintf(format, args...) }

func TestVerifyFailsAndKeepsTheHistory(t *testing.T) {
	t.Parallel()
	f := &failing{TB: t, dir: t.TempDir()}
	events := story("+1 >1 =1 {kill:1 }kill >1 =1")
	findings := history.Verify(f, history.Rules{}, events, ids("1"))
	if f.said != "" || len(findings) != 1 {
		t.Errorf("what a fault explains fails the test: %s", f.said)
	}
	findings = history.Verify(f, history.Rules{}, events, ids("1 2"))
	if !strings.Contains(f.said, "lost: 2-0") || !strings.Contains(f.said, f.dir) || strings.Contains(f.said, "repeated") || len(findings) != 2 {
		t.Errorf("it says %q, with %d findings", f.said, len(findings))
	}
	kept, err := history.ReadFile(filepath.Join(f.dir, "history.jsonl"))
	if err != nil || len(kept) != len(events) {
		t.Errorf("%d events were kept, %v", len(kept), err)
	}
	log, err := os.ReadFile(filepath.Join(f.dir, "stream.txt"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := history.Rules{}.Check(kept, strings.Fields(string(log)))
	if err != nil || len(again) != len(findings) {
		t.Errorf("checked again there are %d findings, %v", len(again), err)
	}
}
