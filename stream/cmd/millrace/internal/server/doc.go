// Package server finds the server that a command is for: from an address, or from the file of
// contexts. Its functions and its Target are safe for concurrent use.
package server
