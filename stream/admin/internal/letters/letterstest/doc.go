// Package letterstest makes the fields of dead letters, for tests of the rooms that read them.
package letterstest
