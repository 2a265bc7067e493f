// Package entries reads streams by pages, for package admin and its rooms: entries as the server
// has them, of any size, from its primary.
//
// Contract: a page has about pageMemory of names and values, so that the memory of a reader does
// not grow with its stream. The package knows neither topics nor readers, and changes nothing.
//
// Goroutines: none. Locks: none; all functions are safe for concurrent use.
package entries
