// Package script has the Lua scripts of the engine, one file each, and what each takes and
// returns; [Scan] reads a reply. A script looks at the server's state and acts on it in one
// step: neither XCLAIM nor XACK asks whose an entry is, so that two commands would leave a
// moment in which it changes hands in between.
//
// Contract: in scripts of group mode KEYS[1] is the stream, ARGV[1] the group and ARGV[2] the
// consumer, where nothing else is said. A script takes no more than 2 ms of the server, on
// a hundred thousand of anything. Scripts of the type conn.OnceScript are not sent again by
// the client: the caller has to know whether it may have run.
//
// The files whose names begin with prelude_ are functions that scripts share:
//   - named(pairs): a reply of names and values, by the names.
//   - replaced(id): the stream is not the one that had an entry; the entry is not there, and
//     yet nothing was ever trimmed or deleted. Where that was, it cannot be told.
//   - owners(first, step): the XPENDING rows of the entries in ARGV[first], ARGV[first + step]
//     and so on, by their IDs, without those that are not pending. One XPENDING finds all of
//     them if they are in order, are the consumer's, and no others of it are in between.
//   - content(fields, most): the size of an entry, of its names and values together, and its
//     fields, or false in their place if it is larger than a limit; 0 is none.
//   - claim(ids, owner, ...): makes entries pending on the owner, with the options of XCLAIM
//     behind JUSTID. It returns those that the stream has, and those that are gone, which are
//     not pending any more afterwards.
//   - refusal(kinds, lists): why the effects in lists must not be written, before the first write, or
//     nil: a target in KEYS[2] and on is of another type than its kind in kinds, the user has no right
//     to a command, or a counter is no integer or would be beyond 64 bits. lists has where in ARGV each
//     list of effects begins; package effect has their form. effects(at) returns where the list at a
//     place ends.
//   - perform(lists): writes the effects. It returns nil, or why it could not; once something was
//     written, that error begins with MILLRACE. attempt(command, ...) does the same for a command that
//     follows. Errors are texts, for redis.error_reply.
//   - place(text): a stored offset in the form of an entry ID, or nil if it is none; needs prelude_above.
//   - above(a, b): an ID comes after another. The parts stay strings: a Lua number is a double,
//     in which two sequence numbers above 2^53 can be equal. Decimal numbers without leading
//     zeros are ordered by length, then by their digits.
//
// Goroutines and locks: none.
package script
