// Package resptest has a server of written replies, for tests of what is read: [Server]
// answers each XREAD, XREADGROUP and XINFO with the next of its replies, in pieces of any
// size, and then closes the connection. No time passes in it.
package resptest
