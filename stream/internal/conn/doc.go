// Package conn has the engine's connections to Redis. A [Reader] is a connection of its own
// for reads that wait; a [Client] sends all other commands. Both are derived from the
// options of the user's client, so that credentials, TLS, dialers and hooks are the same,
// and so that nothing is taken from the user's pool.
//
// The package also has what is known of servers: the verdict on an answer or an error
// ([Classify], [Explain]), queries whose reply is read without the fields of entries
// ([Query]; [Piped] in a pipeline), commands and scripts that are sent once ([DoOnce], [OnceScript]), and the
// watch over failovers ([CheckRole], [Relocate]).
//
// Contract: no command is sent again by go-redis; whether it may have run is told by
// [NeverRan]. Commands go to primaries. A read ends as soon as its context does. The user's
// code (dialers, credentials, hooks) runs where a panic becomes an error of the command.
//
// Goroutines: a Reader has none; while a read waits a timer asks, once a second, who the
// primary is. A Client has none of its own. A command of the user's code, and a Query, have
// one while they run (contain.Isolated).
//
// Locks: Client.mu guards its servers and sockets, Clients.mu its clients, the sockets of a
// Reader and the failed dials have a mutex each. They are held alone, and never during I/O.
// A server's places, a channel, are the commands at work on it; a place is taken after
// every lock, and given back with the reply.
//
// Invariants: a reply of XREAD or XREADGROUP that arrives on a Reader's connection is read by
// capture, whole or not at all, and go-redis sees a reply without entries. A connection on
// which a reply broke off is closed.
package conn
