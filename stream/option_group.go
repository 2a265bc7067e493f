package stream

import "time"

// WithConsumerName sets the consumer's name in its group. Default, also for "":
// a name made from the host's name, the process ID and random letters, one more for
// each further consumer of the same group in the process. No other process has it.
//
// A name that is the same after a restart, such as that of a pod in a stateful set,
// lets a consumer that was killed go on with its entries at once, as many at a time as
// [WithWindow] allows; under another name the entries wait until they are claimed. A
// name must not be in use twice at a time: each of the two would take the other's
// entries for its own. Both notice it within the claim idle time ([WithClaimIdle]), log
// a warning, and are not ready ([Health]) until the other one has gone. To notice it, a
// consumer with a given name needs one more right, +xgroup|createconsumer, and
// its group has a consumer millrace:probe:<name> for a moment after the start, which
// holds nothing.
func WithConsumerName(name string) Option {
	return option{"WithConsumerName", groupConsumer, func(c *config) { c.consumerName = name }}
}

// WithClaimIdle sets how long an entry that is pending on another consumer is idle when it is
// claimed, because that consumer must be dead: one that lives renews its entries three times as
// often, however long its handlers take. Default: 30 seconds. Less than 10 milliseconds is
// refused. Redis counts in whole milliseconds. All consumers of a group should have the same.
func WithClaimIdle(d time.Duration) Option {
	return option{"WithClaimIdle", groupConsumer, func(c *config) { c.claimIdle = d }}
}

// WithMaxDeliveries sets how often an entry is delivered at the most. Default: no limit; less
// than 1 is refused. The count is Redis' own, which includes the deliveries of consumers that
// crashed over the entry. One time more, and the entry comes out of the chain with a
// [MaxDeliveriesError] instead of being handled: middleware.DeadLetter takes it. Without such a
// middleware it stays pending, is logged as an error, and is left alone; see [WithDiscard].
func WithMaxDeliveries(n int64) Option {
	return option{"WithMaxDeliveries", groupConsumer, func(c *config) {
		if c.maxDeliveries = n; n == 0 {
			c.maxDeliveries = -1 // not the same as not given
		}
	}}
}

// WithDiscard acks entries that are over the limit of [WithMaxDeliveries] and
// that no middleware takes, with an error in the log: they are gone. Default: they
// stay pending. It has no effect on entries that a dead-letter middleware takes.
func WithDiscard() Option {
	return option{"WithDiscard", groupConsumer, func(c *config) { c.discard = true }}
}
