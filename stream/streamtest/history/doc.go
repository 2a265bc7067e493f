// Package history says whether consumers kept their promises in a test that
// broke things.
//
// A [Recorder] keeps what was published, delivered, handled and saved, and which
// faults were injected: as a list of [Event], in memory or in a file that several
// processes append to and that outlives their kill. In the end [Verify] takes that
// and what the stream has, and fails the test if an entry was lost, skipped,
// handled out of order, or handled again without a fault that explains it, and so
// on; see [Verdict]. [Rules.Check] does the judging, with no Redis and no clock: a
// history that was kept can be judged again.
//
// One history is about one topic, and the consumers of one label or group.
package history
