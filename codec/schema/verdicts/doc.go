// Package verdicts compares the documents of package schema with two judges: validator, whose
// tags they are made of, and a validator of JSON Schema. It has tests only, in a module of its own, so
// that programs do not get the second.
package verdicts
