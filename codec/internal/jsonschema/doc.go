// Package jsonschema says in keywords of JSON Schema 2020-12 what a validate tag says of a value.
//
// Contract: [Constrain] takes the schema of a Go type and the tag of a field, and returns the
// schema of the field and whether the field must be there. Each part of the tag becomes keywords, or
// stands in the array "x-validate" as it is: none is dropped. The verdict about a field that is missing is
// validator's own, on the zero value.
//
// The package starts no goroutine and has no lock. It knows no codec: names, and the schemas of
// types, are its callers'.
package jsonschema
