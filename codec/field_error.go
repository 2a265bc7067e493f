package codec

import (
	"fmt"
	"strings"
)

// FieldError tells why one field could not be decoded or encoded. It never
// contains the field's value. It is found in [FieldErrors] with [errors.As].
type FieldError struct {
	// Field is the name on the wire. Parts of a JSON field follow behind dots
	// and brackets; the key of a map is a value and stands as [...]. [Validate]
	// gives the names in Go.
	Field string
	// Type is the Go type of the field, empty for a field that is not declared.
	Type string
	// Reason completes the sentence "the field ...", such as "is blank".
	Reason string
}

// Error returns the field, its type and the reason in one line.
func (e *FieldError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("field %q %s", e.Field, e.Reason)
	}
	return fmt.Sprintf("field %q (%s) %s", e.Field, e.Type, e.Reason)
}

// FieldErrors are all the problems of one entry or value, in the order in which
// the fields are declared. A [Codec] of this package returns it from Decode and
// Encode. Decoding the same entry again gives the same errors: correct the
// producer or the type.
type FieldErrors []*FieldError

// maxListed bounds the text of FieldErrors: one entry can hold a JSON array with
// a million bad elements.
const maxListed = 50

// Error returns the problems in one line, joined with "; ". Of many, the first 50
// are listed and the others counted.
func (e FieldErrors) Error() string {
	lines := make([]string, 0, maxListed+1)
	for i, err := range e {
		if i == maxListed {
			lines = append(lines, fmt.Sprintf("and %d more", len(e)-maxListed))
			break
		}
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "; ")
}

// Unwrap returns the problems one by one, for [errors.As].
func (e FieldErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// maxNameBytes bounds the length in an error of a name that no type declares, and that
// any producer may have chosen.
const maxNameBytes = 64

func cutName(name string) string {
	return name[:min(len(name), maxNameBytes)]
}
