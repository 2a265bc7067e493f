package admin

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"millrace/stream/internal/conn"
)

// Errors of reading and of making plans. They are wrapped, with the name of the topic or of
// the reader.
var (
	// ErrNoTopic says that there is no stream of the name. Look at the name, and at whether it
	// is the right server and database.
	ErrNoTopic = errors.New("there is no such topic")
	// ErrNoReader says that the stream has no group, or no label is known, of the name.
	ErrNoReader = errors.New("there is no such reader")
)

// explain returns an error of Redis with what was done, and what to do about it.
func explain(what string, err error) error {
	verdict := conn.Classify(err)
	var network *net.OpError
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(err.Error(), "admin: "):
		return err // it was explained
	case errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("admin: %s: the server cannot be reached; see whether it runs, and the address is right: %w", what, err)
	case verdict.Class == conn.Gone && verdict.Code == "NOGROUP":
		return fmt.Errorf("admin: %s: %w: %w", what, ErrNoReader, err)
	case verdict.Class == conn.Gone:
		return fmt.Errorf("admin: %s: %w: %w", what, ErrNoTopic, err)
	}
	return fmt.Errorf("admin: %s: %w", what, verdict.Explain(err))
}
