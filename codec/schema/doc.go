// Package schema reads the descriptions that codecs give of their events: it prints them as
// JSON Schema (2020-12) and as AsyncAPI 3, and tells whether a reader takes what a writer
// writes.
//
//	document, err := schema.Of(codec.Struct[Order]())
//	os.WriteFile("schemas/orders.json", document.JSON(), 0o644)
//
// [Accepts] compares two documents, such as that of yesterday and that of today:
//
//	breaks := schema.Accepts(today, yesterday) // backward: today's consumers read yesterday's entries
//	breaks = schema.Accepts(yesterday, today)  // forward: yesterday's consumers read today's entries
//
// The command millrace schema check does so with files, and with their versions in git.
//
// The package starts no goroutine. Its types are safe for concurrent use, but for [AsyncAPI], to
// which topics are added.
package schema
