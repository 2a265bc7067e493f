package feed

import (
	"testing"

	"millrace/stream/internal/script"
	"millrace/stream/streamtest"
)

// Whatever is done to a stream or its group shows in the state, and nothing else does.
func TestStateScript(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	const key, group = "orders", "g"
	state := func() string {
		t.Helper()
		states, err := script.State.Run(ctx, client, []string{"other", key}, group).StringSlice()
		if err != nil || len(states) != 2 || states[0] != "" {
			t.Fatalf("%q, %v", states, err)
		}
		return states[1]
	}
	do := func(args ...any) {
		t.Helper()
		if err := client.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := state(); got != "" {
		t.Errorf("without a stream it is %q", got)
	}
	for i := range 5 {
		do("xadd", key, "1-"+string(rune('1'+i)), "n", i)
	}
	if got := state(); got != "" {
		t.Errorf("without the group it is %q", got)
	}
	do("xgroup", "create", key, "another", "0")
	do("xgroup", "create", key, group, "0")
	seen := map[string]string{}
	last := ""
	for _, step := range []struct {
		what string
		args []any
	}{
		{"a group", []any{"ping"}},
		{"an entry read", []any{"xreadgroup", "group", group, "c", "count", "1", "noack", "streams", key, ">"}},
		{"an entry added", []any{"xadd", key, "2-1", "n", "6"}},
		{"an entry deleted", []any{"xdel", key, "1-4"}},
		{"one trimmed", []any{"xtrim", key, "maxlen", "4"}},
		{"one trimmed for one added", []any{"xadd", key, "maxlen", "4", "2-2", "n", "7"}},
		{"the group elsewhere", []any{"xgroup", "setid", key, group, "2-1"}},
		{"its count corrected", []any{"xgroup", "setid", key, group, "2-1", "entriesread", "6"}},
		{"all trimmed", []any{"xtrim", key, "maxlen", "0"}},
		{"one added and trimmed in one step", []any{"xadd", key, "maxlen", "0", "3-1", "n", "8"}},
		{"one added behind the group", []any{"xadd", key, "4-1", "n", "9"}},
		{"that one replaced, unread", []any{"xadd", key, "maxlen", "1", "4-2", "n", "10"}},
	} {
		do(step.args...)
		got := state()
		if got == "" || seen[got] != "" {
			t.Errorf("after %q it is %q, as after %q", step.what, got, seen[got])
		}
		seen[got], last = step.what, got
	}
	do("xreadgroup", "group", "another", "c", "streams", key, ">")
	if got := state(); got != last {
		t.Errorf("what another group reads makes it %q of %q", got, last)
	}
	do("xreadgroup", "group", group, "c", "streams", key, ">")
	if got := state(); got != "" {
		t.Errorf("with something pending it is %q", got)
	}
	do("del", key)
	do("set", key, "no stream")
	if got := state(); got != "" {
		t.Errorf("without a stream it is %q", got)
	}
}
