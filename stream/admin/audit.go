package admin

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// The moments of a change that are recorded.
const (
	auditBegin = "begin"
	auditEnd   = "end"
)

// auditKeeps is about how many entries the audit keeps.
const auditKeeps = 10_000

// record logs a change, and writes it to the audit. A change whose beginning cannot be
// recorded is not done.
func (a *Admin) record(ctx context.Context, when, op, on, who, why, what string) error {
	a.log().InfoContext(ctx, "admin: "+op+" "+when, "on", on, "by", who, "why", why, "what", what)
	if a.audit == "" {
		return nil
	}
	err := a.client.XAdd(ctx, &redis.XAddArgs{Stream: a.audit, MaxLen: auditKeeps, Approx: true, Values: []string{
		"op", op, "when", when, "on", on, "by", who, "why", why, "what", what,
	}}).Err()
	if err != nil {
		return fmt.Errorf("admin: writing to the audit %s: %w", a.audit, err)
	}
	return nil
}
