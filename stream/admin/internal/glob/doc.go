// Package glob matches names against patterns as Redis does, for names that no server has as keys.
//
// Contract: a name is of a pattern exactly if SCAN MATCH would return it; TestPatternsAreThoseOfRedis
// of package admin holds the two against each other. It takes time in proportion to the product of
// the lengths at most. Goroutines and locks: none.
package glob
