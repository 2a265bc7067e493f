// Package history judges whether consumers kept their promises in a test that injects faults.
//
// A [Recorder] records each publish, delivery, handling and save, and each injected fault, as
// an [Event]. The list of events is in memory, or in a file that several processes append to
// and that outlives their kill. In the end [Verify] compares the events with the entries of the
// stream. It fails the test if an entry was lost, skipped, handled out of order, or handled
// again without a fault that explains the repeat, and so on; see [Verdict]. [Rules.Check] does
// the judging, with no Redis and no clock, so that a kept history can be judged again.
//
// One history is about one topic, and the consumers of one label or group.
package history
