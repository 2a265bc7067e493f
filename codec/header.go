package codec

import "strings"

// IsHeader reports whether the name is reserved for headers: fields of an entry that are
// not the event's, such as those of a trace. These names are traceparent, tracestate and
// baggage, as the W3C writes them, and all that begin with "millrace.".
//
// A field with such a name is a header unless T declares a field of that name. [Struct]
// ignores headers: a remain map does not get them, and must not have them when it is
// encoded; [DisallowUnknownFields] does not refuse them; an entry that has nothing else has
// no field that belongs to T. A name of the user's own is a header to nobody but the user.
func IsHeader(name string) bool {
	switch name {
	case "traceparent", "tracestate", "baggage":
		return true
	}
	return strings.HasPrefix(name, headerPrefix)
}

const headerPrefix = "millrace."
