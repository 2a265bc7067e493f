// Package faults proves what package [millrace/stream] promises: it has nothing but
// tests, which break real servers, networks and processes while consumers are at
// work, and then account for every entry.
//
//	go test ./stream/faults              the short form
//	go test -v ./stream/faults -long     the long form, about ten minutes
//
// With -v each test prints the faults that it injected and what it found. Their order
// and their instants follow from a seed, which is printed; -seed sets it. With
// -artifacts the history and the log of a test that fails are kept. Every
// consumer, producer and trimmer in here is a Redis user with the rights of the
// README's table and no other, and every payload and password is a canary, which
// may be seen nowhere.
package faults
