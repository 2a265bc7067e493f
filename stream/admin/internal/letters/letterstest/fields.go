package letterstest

import "millrace/stream"

// Fields returns the field-value pairs that a consumer adds to a dead letter: of the entry with
// this ID, in the stream "orders", and of a reader of the kind [stream.DeadLetterGroup] or
// [stream.DeadLetterLabel].
func Fields(entry, kind, reader string) []string {
	return []string{
		stream.DeadLetterOrigin, "orders", stream.DeadLetterID, entry, kind, reader, stream.DeadLetterAttempts, "5",
		stream.DeadLetterCause, "a cause", stream.DeadLetterTime, "2026-11-28T10:00:00Z",
	}
}
