package stream

import (
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"
)

// checkClient refuses a client that a reader's own connection cannot be
// derived from, or that may try a producer's commands again on its own account,
// as a ring does.
func checkClient(client redis.UniversalClient) error {
	if isNil(client) {
		return invalid("client is nil: give a *redis.Client or a *redis.ClusterClient")
	}
	switch client.(type) {
	case *redis.Client, *redis.ClusterClient:
		return nil
	}
	return invalid("client is a %T: give a *redis.Client or a *redis.ClusterClient; only those can be asked for a connection of a reader's own, and keep from repeating what a producer wrote", client)
}

// checkPresent refuses a required argument that is nil.
func checkPresent(name string, argument any, advice string) error {
	if isNil(argument) {
		return invalid("%s is nil: %s", name, advice)
	}
	return nil
}

// isNil also sees a nil pointer inside an interface, which would otherwise be
// found by the first call on it.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch value := reflect.ValueOf(v); value.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface:
		return value.IsNil()
	default:
		return false
	}
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }
