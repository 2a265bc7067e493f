// Package streamtest helps to test programs that use Millrace: their handlers and consumers,
// and the guarantees of a consumer under faults.
//
// A handler is a function. Most tests of a handler call it with a [millrace/stream.Message],
// and need nothing of this package; a handler with outputs needs [Effects]. For all other tests there are two lanes.
//
// # The fast lane
//
// [Run] runs a test in virtual time with a Redis in memory: minutes of back-offs and claims are
// over in milliseconds. An [Instance] from [Bubble.NewInstance] stands for one process of your
// program, and [Instance.Crash] is its kill -9. [AssertPending], [AssertAcked] and
// [AssertDeadLettered] check the state of entries. The Redis in memory is an imitation. It is
// good enough to test how a consumer works over time.
//
// # The real lane
//
// [StartRedis], [StartSentinel] and [StartCluster] start real servers for one test, on free
// ports and in temporary folders. The servers are gone when the test is over. A test can kill,
// freeze, empty and restart the servers, cause failovers and move slots. A [Proxy] in front of
// a server injects the faults of a network. Instances and asserts work in this lane as well.
// Where a test needs a real process, a [Child] is one, and a [KillPoint] ends the child at a
// chosen point. Nothing in this package sleeps for a fixed time: the functions wait for
// conditions, as [Await] does for your tests.
//
// Package [millrace/stream/streamtest/history] judges whether consumers kept their promises in
// a test with many faults.
package streamtest
