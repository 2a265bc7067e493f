package stream

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// beyondMending says what to do about an error that no waiting can mend, and
// nothing about every other one. What the server refuses counts only while
// starting; see engine.persist.
func beyondMending(err error, starting bool) (advice string) {
	var loss *LossError
	switch {
	case errors.As(err, &loss):
		return "the loss policy says stop; look at what was lost, then set the offset, or choose another policy"
	case errors.Is(err, offset.ErrCorrupt):
		return "look at what the offset store holds, and correct or remove it"
	case !starting:
		return ""
	case redis.IsAuthError(err):
		return "Redis refuses the login; check the client's username and password"
	case lacksRight(err):
		return "the Redis user lacks a right; grant it"
	case hasCode(err, "WRONGTYPE"):
		return "a key holds another type than is needed; check the topic's name and the store's key"
	case hasCode(err, "ERR unknown command"):
		return "the server lacks a command that is needed; Redis 6.2 or later has it"
	}
	return ""
}

// lacksRight reports whether the user may not do something.
func lacksRight(err error) bool {
	return redis.IsPermissionError(err) || hasCode(err, "ERR The user executing the script can't run") // Redis 7.0, of a script's command
}

// isStale reports whether an answer says that the server is not, or not any more,
// the master: go-redis keeps the connection to it.
func isStale(err error) bool {
	return hasCode(err, "READONLY") || hasCode(err, "MASTERDOWN") || hasCode(err, "UNBLOCKED force unblock")
}

// dropIfStale has the next read find the server anew.
func dropIfStale(r *reader, err error) {
	if isStale(err) {
		r.sockets.drop()
	}
}

// isAnswer reports whether an error is what the server said, so that it is there.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// hasCode reports whether err, or one that it wraps, is an answer of the server
// that begins with the given words.
func hasCode(err error, code string) bool {
	var answer redis.Error
	return errors.As(err, &answer) && strings.HasPrefix(answer.Error(), code)
}

// incident is something that fails again and again. It is logged when it
// begins, every half minute while it lasts, and when it is over: an outage
// must be seen, and must not fill a disk.
type incident struct {
	failures      int64
	since, logged time.Time
}

const incidentLogInterval = 30 * time.Second

func (i *incident) add(log *slog.Logger, what string, err error) {
	now := time.Now()
	if i.failures == 0 {
		i.since = now
	}
	i.failures++
	if i.failures > 1 && now.Sub(i.logged) < incidentLogInterval {
		return
	}
	i.logged = now
	log.Warn(what+" failed; trying again until it works", "err", err, "failures", i.failures, "lasts", now.Sub(i.since))
}

func (i *incident) over(log *slog.Logger, what string) {
	log.Info(what+" works again", "failures", i.failures, "lasted", time.Since(i.since))
}
