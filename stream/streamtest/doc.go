// Package streamtest helps to test what is built with Millrace: handlers and
// consumers, and what they promise when things go wrong.
//
// A handler is a function; most of its tests call it with a
// [millrace/stream.Message] and need nothing of this package. For the rest there
// are two lanes.
//
// # The fast lane
//
// [Run] runs a test in virtual time with a Redis in memory: minutes of back-offs
// and claims are over in milliseconds. [Bubble.NewInstance] stands for a process
// of your program, and [Instance.Crash] is its kill -9. [AssertPending],
// [AssertAcked] and [AssertDeadLettered] look at what became of entries. Its
// Redis is an imitation, good enough for how a consumer works over time.
//
// # The real lane
//
// [StartRedis], [StartSentinel] and [StartCluster] start real servers for one
// test: on free ports, in temporary folders, gone when the test is over. They are
// killed, frozen, emptied and started again, fail over and move slots. A [Proxy]
// in front of one does what networks do. Instances and asserts work here as well,
// and where an instance is not enough of a process, a [Child] is one, which a
// [KillPoint] ends at a chosen instant. Nothing here sleeps: it waits for
// conditions, as [Await] does for yours.
//
// Whether a consumer kept its promises over a hundred faults is judged by package
// [millrace/stream/streamtest/history].
package streamtest
