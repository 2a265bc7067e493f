package admin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"millrace/stream"
	"millrace/stream/admin"
)

// fieldsOf returns the fields of all entries of a stream, one after the other.
func fieldsOf(t *testing.T, k *kit, name string) (pairs []string) {
	t.Helper()
	for e, err := range k.admin.Entries(t.Context(), name, admin.Span{}) {
		ok(t, err)
		for name, value := range e.Fields.All() {
			pairs = append(pairs, name, value)
		}
	}
	return pairs
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.do("xadd", "orders", "1795827996968-0", "z", "1", "a", "\xff\x00", "z", "<&>", "\xfe", "")
	k.do("xadd", "orders", "1795827996968-1", "z", "1")
	k.do("xadd", "orders", "1795827996968-2", "z", "1") // the same once more
	var file bytes.Buffer
	if n := must[int64](t)(k.admin.Export(t.Context(), "orders", admin.Span{}, &file)); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
	first, _, _ := strings.Cut(file.String(), "\n")
	want := `{"id":"1795827996968-0","at":"2026-11-28T01:06:36.968Z","fields":[["z","1"],["a",{"base64":"/wA="}],["z","\u003c\u0026\u003e"],[{"base64":"/g=="},""]]}`
	if first != want {
		t.Errorf("%s\nwant %s", first, want)
	}
	for range 2 { // the second adds nothing
		done := must[admin.Imported](t)(k.admin.Import(t.Context(), "copy", bytes.NewReader(file.Bytes()), byAda))
		if done.Entries != 3 || done.Lines != 3 {
			t.Errorf("%+v", done)
		}
		if got := fieldsOf(t, k, "copy"); !slices.Equal(got, fieldsOf(t, k, "orders")) {
			t.Errorf("%q", got)
		}
	}
	must[admin.Imported](t)(k.admin.Import(t.Context(), "copy", strings.NewReader(`{"fields":[["another","file"]]}`), byAda))
	if n := k.do("xlen", "copy"); n != int64(4) {
		t.Errorf("%v entries after the import of another file, want 4", n)
	}
}

func TestImportOfABrokenLine(t *testing.T) {
	t.Parallel()
	good, other := `{"id":"1-0","fields":[["n","1"]]}`+"\n", `{"fields":[["n","2"]]}`
	for says, line := range map[string]string{
		"not JSON from byte 2":   `{secret`,
		"no JSON object with":    `["secret"]`,
		`no "fields"`:            `{"id":"1-0"}`,
		"field 2 is no pair":     `{"fields":[["n","1"],["secret"]]}`,
		"field 1 is no pair":     `{"fields":[["n",1234567]]}`,
		"a name and a value are": `{"fields":[["n",{"base64":"secret!"}]]}`,
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			done, err := k.admin.Import(t.Context(), "orders", strings.NewReader(good+"\n"+good+line+"\n"+other), byAda)
			var broken *admin.ImportError
			if !errors.As(err, &broken) || broken.Line != 4 || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "1234567") {
				t.Errorf("%v", err)
			}
			if got := fieldsOf(t, k, "orders"); done.Entries != 2 || !slices.Equal(got, []string{"n", "1", "n", "1"}) {
				t.Errorf("%+v; %q", done, got)
			}
			done = must[admin.Imported](t)(k.admin.Import(t.Context(), "orders", strings.NewReader(good+"\n"+good+`{"fields":[["n","mended"]]}`+"\n"+other), byAda))
			if got := fieldsOf(t, k, "orders"); done.Entries != 4 || !slices.Equal(got, []string{"n", "1", "n", "1", "n", "mended", "n", "2"}) {
				t.Errorf("%+v; %q", done, got)
			}
		})
	}
}

// An import that was interrupted goes on where it was.
func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	lines := strings.Repeat(`{"fields":[["n","1"]]}`+"\n", 450)
	ctx, cancel := context.WithCancel(t.Context())
	done, err := k.admin.Import(ctx, "orders", strings.NewReader(lines), byAda, admin.Report(func(p admin.Progress) {
		if p.Done >= 200 {
			cancel()
		}
	}))
	if !errors.Is(err, context.Canceled) || done.Entries != 200 {
		t.Errorf("%+v, %v", done, err)
	}
	failing := io.MultiReader(strings.NewReader(lines[:len(lines)/3*2]), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := k.admin.Import(t.Context(), "orders", failing, byAda); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	must[admin.Imported](t)(k.admin.Import(t.Context(), "orders", strings.NewReader(lines), byAda))
	if n := k.do("xlen", "orders"); n != int64(450) {
		t.Errorf("%v entries, want 450", n)
	}
}

func TestImportAtARate(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	began := time.Now()
	must[admin.Imported](t)(k.admin.Import(t.Context(), "others", strings.NewReader(strings.Repeat(`{"fields":[["n","1"]]}`+"\n", 60)), byAda, admin.Rate(100)))
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("60 entries at 100 a second took %v", took)
	}
}

func TestImportRefused(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	line := func() io.Reader { return strings.NewReader(`{"fields":[["n","1"]]}`) }
	if _, err := k.admin.Import(t.Context(), "orders", line()); !errors.Is(err, admin.ErrNoReason) {
		t.Errorf("%v", err)
	}
	if _, err := k.admin.Import(t.Context(), " ", line(), byAda); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("%v", err)
	}
	k.do("set", "text", "x")
	if _, err := k.admin.Import(t.Context(), "text", line(), byAda); err == nil || !strings.Contains(err.Error(), "another type") {
		t.Errorf("%v", err)
	}
	if _, err := k.admin.Export(t.Context(), "nothing", admin.Span{}, io.Discard); !errors.Is(err, admin.ErrNoTopic) {
		t.Errorf("%v", err)
	}
}
