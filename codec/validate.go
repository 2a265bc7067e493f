package codec

import (
	"errors"
	"reflect"
	"sync"
)

// Validate checks the validate tags of value, as the codecs of this package do,
// for a [Codec] of one's own. T is a struct or a pointer to one; nil and every
// other type have no tags, and are valid.
//
// Its error is a [FieldErrors], which names parts as Go does, such as
// Items[3].City, with a key of a map as [...], and contains no value. A tag that
// is not sound is an error for every value: a codec of one's own has a Check that
// returns [CheckTags], so that a consumer or producer tells at construction.
// Validate knows the tags of validator, and notblank. It is safe for concurrent
// use; nothing about T is found out twice.
func Validate[T any](value T) error {
	t, hasTags := taggedType[T]()
	target := reflect.ValueOf(&value).Elem()
	if target.Kind() == reflect.Pointer {
		target = target.Elem()
	}
	if !hasTags || !target.IsValid() {
		return nil
	}
	rules := rulesOf(t)
	if rules.err != nil {
		return rules.err
	}
	return rules.check(target, func(path string) string { return goPath(t, path) })
}

// CheckTags returns an error that lists all problems of the validate tags of T, each
// with the change that mends it, or nil. See [Validate].
func CheckTags[T any]() error {
	t, hasTags := taggedType[T]()
	if !hasTags {
		return nil
	}
	return rulesOf(t).err
}

// taggedType returns the struct that T is or points to, or ok = false: nothing
// else has validate tags.
func taggedType[T any]() (t reflect.Type, ok bool) {
	t = reflect.TypeFor[T]()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t, t.Kind() == reflect.Struct
}

// rules are the validate tags of a struct type.
type rules struct {
	proof *proof
	err   error
}

// check returns the FieldErrors of the struct target, or tells of a panic inside
// validator. name makes a name of a path such as .Items[3].City.
func (r *rules) check(target reflect.Value, name func(path string) string) error {
	if r.proof.holds(target) {
		return nil
	}
	failures, err := runValidator(plainValidator(), target.Addr().Interface())
	if err != nil || len(failures) == 0 {
		return err
	}
	errs := make(FieldErrors, len(failures))
	for i, failure := range failures {
		errs[i] = &FieldError{
			Field:  name("." + withoutRoot(failure.StructNamespace(), target.Type())),
			Type:   typeName(failure),
			Reason: failureReason(failure),
		}
	}
	return errs
}

// knownRules holds the rules of each struct type, by reflect.Type.
var knownRules sync.Map

func rulesOf(t reflect.Type) *rules {
	known, ok := knownRules.Load(t)
	if !ok {
		r := &rules{err: errors.Join(tagProblems(plainValidator(), t, nil)...)}
		if r.err == nil {
			r.proof = newProof(t, nil)
		}
		known, _ = knownRules.LoadOrStore(t, r)
	}
	r, _ := known.(*rules)
	return r
}
