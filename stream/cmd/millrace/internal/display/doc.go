// Package display prints for people and for programs: tables, entries and JSON. An Output and a
// List are for one goroutine; the functions are safe for concurrent use.
package display
