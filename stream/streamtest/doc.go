// Package streamtest helps to test what is built with Millrace.
//
// [StartRedis] runs a real redis-server for one test: on a free port, in a
// temporary folder, gone when the test is over. It can be killed and started
// again, which is how a consumer's promises are put to the test.
package streamtest
