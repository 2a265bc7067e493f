// Package publish adds entries to a stream: one with [Publisher.Publish], many with
// [Publisher.PublishAll], in chunks of one round trip each. It trims the stream with them
// ([Retention]).
//
// Contract: an entry without a key is sent at most once, whatever the client's MaxRetries.
// An entry with a key is added at most once in the time that the key is kept, however often
// it is sent. The [Outcome] of each entry says whether it is in the stream: Unknown is told
// wherever that is possible, and never Written in its place. Commands go to the user's own
// client; hooks of the client see them.
//
// Goroutines and locks: none. A Publisher is not changed after New, and safe for concurrent
// use.
//
// Invariants: PublishAll tells one outcome for each entry that was encoded, in their order.
// After a failed round trip nothing more is encoded or sent.
package publish
