// Package letters knows dead letters: how they look in their stream ([Of]), how an entry is made of
// one again ([Letter.Restored]), which of them are looked at ([Range]), and how texts of causes are
// made equal that differ in values alone ([Normalised]).
//
// Contract: an entry is a letter if its last six fields have the names that a consumer writes, and
// by nothing else; redrive.lua of the room redrive has the same rule. A letter is known again by
// its ID and its last value ([Planned]). The package only reads, and decides nothing: which letters
// are chosen, and what becomes of them, is package admin's.
//
// Goroutines: none. Locks: none.
package letters
