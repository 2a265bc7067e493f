package stream

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzTrimReply gives the parser replies of any shape: it refuses them, or returns
// what its callers rely on.
func FuzzTrimReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		reply := replyFrom(&lines)
		r, err := parseTrimReply(reply)
		if err != nil {
			if !reflect.DeepEqual(r, trimReply{}) {
				t.Fatalf("refused, and returned: %+v", r)
			}
			return
		}
		if r.Capped < 0 || r.Trimmed < r.Capped || r.Remaining < 0 || !slices.IsSortedFunc(r.Positions, Position.compare) || len(r.Losses) > len(r.Positions) {
			t.Fatalf("took %+v", r)
		}
		var ids []string
		if r.Floor != "" {
			ids = append(ids, r.Floor)
		}
		for _, p := range r.Positions {
			ids = append(ids, p.ID)
			if p.State.advice() == "" || p.String() == "" {
				t.Fatalf("took the state %q", p.State)
			}
		}
		owners := map[string]bool{}
		for _, loss := range r.Losses {
			ids = append(ids, loss.From, loss.To)
			name := ownerName(loss.Owner, loss.Label)
			if loss.Count < 1 || owners[name] || !slices.ContainsFunc(r.Positions, func(p Position) bool { return p.String() == name }) {
				t.Fatalf("took the loss %+v", loss)
			}
			owners[name] = true
		}
		for _, id := range ids {
			if !isID(id) {
				t.Fatalf("took the ID %q", id)
			}
		}
	})
}

// replyFrom makes a reply out of lines: "[" and "]" around an array, ":" before a
// number, "_" for nothing, and everything else is text.
func replyFrom(lines *[]string) (reply []any) {
	for len(*lines) > 0 {
		line := (*lines)[0]
		*lines = (*lines)[1:]
		n, err := strconv.ParseInt(strings.TrimPrefix(line, ":"), 10, 64)
		switch {
		case line == "[":
			reply = append(reply, replyFrom(lines))
		case line == "]":
			return reply
		case line == "_":
			reply = append(reply, nil)
		case err == nil && line[0] == ':':
			reply = append(reply, n)
		default:
			reply = append(reply, line)
		}
	}
	return reply
}
