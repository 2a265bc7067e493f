package stream

import (
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/contain"
)

// invalid makes a problem out of a format and its arguments.
func invalid(format string, args ...any) error {
	return fmt.Errorf("stream: %w: %w", ErrInvalidOption, fmt.Errorf(format, args...))
}

// checkClient refuses a client that a reader's own connection cannot be
// derived from, or that may try a producer's commands again on its own account,
// as a ring does.
func checkClient(client redis.UniversalClient) error {
	if contain.IsNil(client) {
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
	if contain.IsNil(argument) {
		return invalid("%s is nil: %s", name, advice)
	}
	return nil
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }
