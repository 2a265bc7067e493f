// Package streamtest helps to test what is built with Millrace: handlers and
// consumers, and what they promise when things go wrong.
//
// A handler is a function; most of its tests call it with a [stream.Message] and
// need nothing of this package. For the rest there are two lanes.
//
// # The fast lane
//
// [Run] runs a test in virtual time with a Redis in memory: back-offs, claims and
// hours of waiting are over in milliseconds. [Bubble.NewInstance] stands for a
// process of your program, and [Instance.Crash] is its kill -9. [AssertPending],
// [AssertAcked] and [AssertDeadLettered] look at what became of entries. Its
// Redis is an imitation, good enough for how a consumer works over time.
//
// # The real lane
//
// [StartRedis], [StartSentinel] and [StartCluster] start real servers for one
// test: on free ports, in temporary folders, gone when the test is over. They are
// killed, frozen, emptied and started again, fail over and move slots. A [Proxy]
// in front of one does what networks do. Instances and asserts work here as well.
// Nothing in it sleeps: it waits for conditions, as [Await] does for yours.
//
// # Histories
//
// Whether a consumer kept its promises over a hundred faults is not seen from a
// counter. A [Recorder] keeps what was published, delivered, handled, saved and
// broken; [Verify] says afterwards which entries were lost, skipped, out of
// order, repeated without a fault that explains it, and so on; see [Verdict]. Processes that are
// killed append to a file, see [AppendHistory].
package streamtest
