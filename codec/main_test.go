package codec_test

import (
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"millrace/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// check returns what Check says about the codec.
func check[T any](t *testing.T, c codec.Codec[T]) error {
	t.Helper()
	checker, ok := c.(codec.Checker)
	if !ok {
		t.Fatalf("%T is no codec.Checker", c)
	}
	return checker.Check()
}

func mustDecode[T any](t *testing.T, c codec.Codec[T], fields codec.Fields) T {
	t.Helper()
	value, err := c.Decode(fields)
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return value
}

// fieldErrors returns err as the FieldErrors that it must be.
func fieldErrors(t *testing.T, err error) codec.FieldErrors {
	t.Helper()
	var errs codec.FieldErrors
	if !errors.As(err, &errs) {
		t.Fatalf("error is %T (%v), want codec.FieldErrors", err, err)
	}
	var first *codec.FieldError
	if !errors.As(err, &first) || first != errs[0] {
		t.Fatalf("errors.As does not find the first *FieldError in %v", err)
	}
	return errs
}

// wantLines compares an error with its expected lines.
func wantLines(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	separator := "; "
	var errs codec.FieldErrors
	if !errors.As(err, &errs) {
		separator = "\n"
	}
	if got := err.Error(); got != strings.Join(want, separator) {
		t.Errorf("error is\n%s\nwant\n%s", strings.ReplaceAll(got, separator, "\n"), strings.Join(want, "\n"))
	}
}
