// Package offset keeps how far a consumer has come in a stream, so that it
// goes on there after a restart.
//
// An offset is the ID of the last entry whose processing is complete. It is
// stored under a label, in a [Store]. Three stores are here:
//
//   - [Redis] keeps the offsets of an application in one hash. Use it unless
//     there is a reason not to.
//   - [File] keeps them in one readable JSON file, for a program on one machine
//     that may write to a folder but not to Redis.
//   - [Memory] forgets them when the program ends, for tests and for programs
//     that start over on purpose.
//
// Package sqlstore keeps them in an SQL database. A store of your own needs the two methods of
// [Store]. Package offsettest checks that it
// keeps the contract; [Parse] and [ID.Compare] do the comparing.
//
// # Promises
//
// An offset never moves back, whichever order the saves of racing goroutines
// arrive in; with [Redis], those of racing processes as well. Content that is
// not an entry ID is reported as [ErrCorrupt]; it is never taken for an empty
// store, which would process the whole stream again, and never overwritten, so
// that you can look at it.
//
// # Another writer
//
// Two consumers with one label both handle every entry. Each moves the offset, so that
// a consumer which saves finds another offset than it has left, and warns. A store of
// your own takes part in that if its Save calls [Found].
//
// # Starting again from elsewhere
//
// Save cannot move an offset back, so going back is a deliberate act: stop the
// consumer, remove or change the stored offset with the tools of the store
// (redis-cli HDEL or HSET, a text editor, SQL), start the consumer.
package offset
