package admin

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// Pause has the consumers of a group or a label begin nothing new for a time, which has to be
// above zero, and returns how the reader stands then: Agents is how many consumers are to obey,
// which they do within about a second. A consumer without an agent (see [NewAgent]) does not
// know of it. A pause that was there is replaced.
//
// Who does it, and why, have to be said, or it is refused with [ErrNoReason]. The error wraps
// [ErrNoTopic] or [ErrNoReader] if there is no such reader.
func (a *Admin) Pause(ctx context.Context, r Reader, lasts time.Duration, who, why string) (Standing, error) {
	if lasts < time.Millisecond {
		return Standing{}, fmt.Errorf("%w: Pause of %s for %v: give how long it lasts; there is no pause without an end", stream.ErrInvalidOption, r, lasts)
	}
	what := func(s *snapshot) string { return "until " + s.now.Add(lasts).UTC().Format(time.RFC3339) }
	return a.order(ctx, "pause", r, who, why, what, func(s *snapshot, c *Control) {
		c.Paused = &Pause{By: who, Why: why, Since: MillisOf(s.now), Until: MillisOf(s.now.Add(lasts))}
	})
}

// Resume ends the pause of a group or a label, and returns how the reader stands then. A reader
// that is not paused is no error. See [Admin.Pause].
func (a *Admin) Resume(ctx context.Context, r Reader, who, why string) (Standing, error) {
	what := func(*snapshot) string { return "goes on" }
	return a.order(ctx, "resume", r, who, why, what, func(_ *snapshot, c *Control) { c.Paused = nil })
}

// order changes the control record of a reader, and records that.
func (a *Admin) order(ctx context.Context, op string, r Reader, who, why string, what func(*snapshot) string, change func(*snapshot, *Control)) (Standing, error) {
	if who == "" || why == "" {
		return Standing{}, ErrNoReason
	}
	s, standing, err := a.standingOf(ctx, r)
	if err != nil {
		return Standing{}, err
	}
	text := what(s)
	if err := a.record(ctx, auditBegin, op, r.String(), who, why, text); err != nil {
		return standing, err
	}
	err = a.editControl(ctx, r, func(c *Control) { change(s, c) })
	if err != nil {
		text += ": " + err.Error()
	}
	err = errors.Join(err, a.record(context.WithoutCancel(ctx), auditEnd, op, r.String(), who, why, text))
	if err == nil {
		err = a.tellAnew(ctx, &standing)
	}
	return standing, err
}

// tellAnew reads the records of agents about a reader again.
func (a *Admin) tellAnew(ctx context.Context, standing *Standing) error {
	s, err := a.look(ctx)
	if err == nil {
		s.tell(standing)
	}
	return err
}

// editControl changes the control record of a reader in one step. A record that cannot be read
// is replaced: agents cannot read it either.
func (a *Admin) editControl(ctx context.Context, r Reader, change func(*Control)) error {
	return a.edit(ctx, a.keyspace.control(), controlField(r), func(now string) (string, error) {
		var control Control
		_ = json.Unmarshal([]byte(now), &control)
		change(&control)
		if control == (Control{}) {
			return "", nil
		}
		text, err := json.Marshal(control)
		return string(text), err
	})
}

// editRegistered changes the record of a topic in the registry in one step. A record that has
// nothing left stays: the topic is still known.
func (a *Admin) editRegistered(ctx context.Context, name string, change func(*Registered)) error {
	return a.edit(ctx, a.keyspace.topics(), name, func(now string) (string, error) {
		if now == "" {
			return "", nil
		}
		record, err := decodeRecord[Registered](a.keyspace.topics(), name, now)
		if err != nil {
			return "", err
		}
		change(&record)
		text, err := json.Marshal(record)
		return string(text), err
	})
}

//go:embed replace.lua
var replaceSource string

// replaceScript puts ARGV[3] in the place of ARGV[2] in the field ARGV[1] of a hash; an empty
// text stands for no field. It returns the value that the field has then: another one than
// ARGV[3] says that it was left alone.
var replaceScript = redis.NewScript(replaceSource)

// errContended is that a field of a hash is changed all the time.
var errContended = errors.New("it is changed by others all the time; try again")

// edit changes the field of a hash in one step: change gets its value, empty if there is no
// field, and returns the new one. An error of change ends it, and changes nothing.
func (a *Admin) edit(ctx context.Context, key, field string, change func(now string) (string, error)) error {
	now, err := a.client.HGet(ctx, key, field).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return explain("reading "+key, err)
	}
	for range 10 {
		next, err := change(now)
		if err != nil || next == now {
			return err
		}
		found, err := replaceScript.Run(ctx, a.client, []string{key}, field, now, next).Text()
		if err != nil {
			return explain("writing to "+key, err)
		}
		if found == next {
			return nil
		}
		now = found
	}
	return fmt.Errorf("admin: writing to %s: %w", key, errContended)
}
