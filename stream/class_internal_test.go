package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/resp/resptest"
)

// What servers say, word for word: Redis 7.0 where nothing else is said.
func TestAnswersAreClassified(t *testing.T) {
	t.Parallel()
	const (
		in70   = " script: 8a1a27b611a75bf484037fbd61ad9fcc165d061b, on @user_script:1."
		in62   = "ERR Error running script (call to f_8a1a27b611a75bf484037fbd61ad9fcc165d061b): @user_script:1: "
		in62by = in62 + "@user_script: 1: " // what the server itself refuses to do for a script
		saving = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error."
	)
	for _, test := range []struct {
		text string
		want verdict // but for the advice
		says string  // what the advice is about
	}{
		{"LOADING Redis is loading the dataset in memory", verdict{code: "LOADING"}, ""},
		{"CLUSTERDOWN Hash slot not served", verdict{code: "CLUSTERDOWN"}, ""},
		{"CLUSTERDOWN The cluster is down", verdict{code: "CLUSTERDOWN"}, ""},
		{"TRYAGAIN Multiple keys request during rehashing of slot", verdict{code: "TRYAGAIN"}, ""},
		{"ASK 105 127.0.0.1:17922", verdict{code: "ASK"}, ""},
		{"MOVED 105 127.0.0.1:17921", verdict{code: "MOVED"}, "NewClusterClient"},
		{"CROSSSLOT Keys in request don't hash to the same slot", verdict{code: "CROSSSLOT"}, ""},
		{"NOREPLICAS Not enough good replicas to write.", verdict{code: "NOREPLICAS"}, ""},
		{"NOREPLICAS Not enough good replicas to write." + in70, verdict{code: "NOREPLICAS"}, ""},
		{saving, verdict{code: "MISCONF"}, ""},
		{saving + in70, verdict{code: "MISCONF"}, ""},
		{in62by + "-" + saving, verdict{code: "MISCONF"}, ""},
		{"MISCONF Errors writing to the AOF file: No space left on device", verdict{code: "MISCONF"}, ""},
		{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", verdict{code: "BUSY"}, ""},
		{"OOM command not allowed when used memory > 'maxmemory'.", verdict{code: "OOM"}, ""},
		{"OOM command not allowed when used memory > 'maxmemory'." + in70, verdict{code: "OOM"}, ""},
		{in62by + "-OOM command not allowed when used memory > 'maxmemory'.", verdict{code: "OOM"}, ""},
		{"ERR max number of clients reached", verdict{code: "ERR"}, ""},
		{"BUSYGROUP Consumer Group name already exists", verdict{code: "BUSYGROUP"}, ""},
		{"NOSCRIPT No matching script. Please use EVAL.", verdict{code: "NOSCRIPT"}, ""},
		{"UNBLOCKED client unblocked via CLIENT UNBLOCK", verdict{code: "UNBLOCKED"}, ""},
		{"ERR user_script:1: too many results to unpack" + in70, verdict{code: "ERR"}, ""},
		{"ERR wrong number of arguments for 'xgroup|setid' command", verdict{code: "ERR"}, ""},
		{"ERR the next version says it like this", verdict{code: "ERR"}, ""},
		{"LATER and this is a code of it", verdict{code: "LATER"}, ""},

		{"READONLY You can't write against a read only replica.", verdict{class: stale, code: "READONLY"}, ""},
		{"READONLY You can't write against a read only replica." + in70, verdict{class: stale, code: "READONLY"}, ""},
		{in62by + "-READONLY You can't write against a read only replica.", verdict{class: stale, code: "READONLY"}, ""},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", verdict{class: stale, code: "MASTERDOWN"}, ""},
		{"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", verdict{class: stale, code: "UNBLOCKED"}, ""},

		{"UNBLOCKED the stream key no longer exists", verdict{class: gone, code: "UNBLOCKED", ofOne: true}, ""},
		{"NOGROUP the consumer group this client was blocked on no longer exists", verdict{class: gone, code: "NOGROUP", ofOne: true}, ""},
		{"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option", verdict{class: gone, code: "NOGROUP", ofOne: true}, ""}, // 7.2 and later, Valkey: to a blocked reader too
		{"NOGROUP No such key 's' or consumer group 'g'", verdict{class: gone, code: "NOGROUP", ofOne: true}, ""},
		{"NOGROUP No such key 's' or consumer group 'g'" + in70, verdict{class: gone, code: "NOGROUP", ofOne: true}, ""},
		{in62 + "NOGROUP No such key 's' or consumer group 'g'", verdict{class: gone, code: "NOGROUP", ofOne: true}, ""},
		{"NOGROUP No such consumer group 'g' for key name 's'", verdict{class: gone, code: "NOGROUP", ofOne: true}, ""},
		{"ERR no such key", verdict{class: gone, code: "ERR", ofOne: true}, ""},
		{"ERR no such key" + in70, verdict{class: gone, code: "ERR", ofOne: true}, ""},
		{in62 + "ERR no such key", verdict{class: gone, code: "ERR", ofOne: true}, ""},

		{"NOAUTH Authentication required.", verdict{class: misconfigured, code: "NOAUTH"}, "login"},
		{"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time", verdict{class: misconfigured, code: "NOAUTH"}, "login"},
		{"WRONGPASS invalid username-password pair or user is disabled.", verdict{class: misconfigured, code: "WRONGPASS"}, "login"},
		{"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?", verdict{class: misconfigured, code: "ERR"}, "login"},
		{"ERR Protocol error: unauthenticated multibulk length", verdict{class: misconfigured, code: "ERR"}, "login"},

		{"NOPERM this user has no permissions to run the 'xread' command or its subcommand", verdict{class: misconfigured, code: "NOPERM", ofOne: true, withheld: true}, "right"}, // 6.2
		{"NOPERM this user has no permissions to run the 'xgroup|create' command", verdict{class: misconfigured, code: "NOPERM", ofOne: true, withheld: true}, "right"},
		{"NOPERM this user has no permissions to access one of the keys used as arguments", verdict{class: misconfigured, code: "NOPERM", ofOne: true, withheld: true}, "right"},
		{"NOPERM User app has no permissions to run the 'xread' command", verdict{class: misconfigured, code: "NOPERM", ofOne: true, withheld: true}, "right"}, // 7.2 and later, Valkey
		{"NOPERM No permissions to access a key", verdict{class: misconfigured, code: "NOPERM", ofOne: true, withheld: true}, "right"},                         // the same
		{"ERR The user executing the script can't run this command or subcommand" + in70, verdict{class: misconfigured, code: "ERR", ofOne: true, withheld: true}, "right"},
		{"ERR The user executing the script can't access at least one of the keys mentioned in the command arguments" + in70, verdict{class: misconfigured, code: "ERR", ofOne: true, withheld: true}, "right"},
		{in62by + "The user executing the script can't run this command or subcommand", verdict{class: misconfigured, code: "ERR", ofOne: true, withheld: true}, "right"},
		{"ERR ACL failure in script: User app has no permissions to run the 'xpending' command" + in70, verdict{class: misconfigured, code: "ERR", ofOne: true, withheld: true}, "right"}, // 7.2 and later, Valkey

		{"ERR unknown command 'xread', with args beginning with: 'count' '100' 'streams' ", verdict{class: misconfigured, code: "ERR", withheld: true}, "command"},
		{"ERR unknown command `xautoclaim`, with args beginning with: `orders`, ", verdict{class: misconfigured, code: "ERR", withheld: true}, "command"}, // 6.2
		{"ERR unknown subcommand 'CREATE'. Try XGROUP HELP.", verdict{class: misconfigured, code: "ERR", withheld: true}, "command"},
		{"ERR Unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.", verdict{class: misconfigured, code: "ERR", withheld: true}, "command"}, // 6.2
		{"ERR Unknown Redis command called from script" + in70, verdict{class: misconfigured, code: "ERR", withheld: true}, "command"},
		{"ERR Unknown command called from script" + in70, verdict{class: misconfigured, code: "ERR", withheld: true}, "command"}, // Valkey
		{in62by + "Unknown Redis command called from Lua script", verdict{class: misconfigured, code: "ERR", withheld: true}, "command"},

		{"WRONGTYPE Operation against a key holding the wrong kind of value", verdict{class: misconfigured, code: "WRONGTYPE", ofOne: true}, "type"},
		{"WRONGTYPE Operation against a key holding the wrong kind of value" + in70, verdict{class: misconfigured, code: "WRONGTYPE", ofOne: true}, "type"},
		{in62 + "WRONGTYPE Operation against a key holding the wrong kind of value", verdict{class: misconfigured, code: "WRONGTYPE", ofOne: true}, "type"},
		{"ERR DB index is out of range", verdict{class: misconfigured, code: "ERR"}, "database"},
		{"ERR SELECT is not allowed in cluster mode", verdict{class: misconfigured, code: "ERR"}, "database"},
		{"ERR This instance has cluster support disabled", verdict{class: misconfigured, code: "ERR"}, "NewClient"},
	} {
		err := saidBy(t, test.text)
		for _, err := range []error{err, fmt.Errorf("reading: %w", err), explain(err)} {
			got := classify(err)
			if advice := got.advice; !strings.Contains(advice, test.says) || test.says == "" && advice != "" {
				t.Errorf("%q: the advice is %q, want one about the %s", err, advice, test.says)
			}
			if got.advice = ""; got != test.want {
				t.Errorf("%q: got %+v, want %+v", err, got, test.want)
			}
		}
	}
}

// saidBy returns the error that go-redis makes of an answer.
func saidBy(t *testing.T, text string) error {
	t.Helper()
	server := &resptest.Server{Protocol: 2, Replies: [][]resptest.Step{resptest.Steps("-" + text + "\r\n")}}
	client := redis.NewClient(server.Options())
	defer func() { _ = client.Close() }()
	err := client.XRead(context.Background(), &redis.XReadArgs{Streams: []string{"s", "0"}}).Err()
	if err == nil || err.Error() != text {
		t.Fatalf("go-redis makes %v of %q", err, text)
	}
	return err
}

func TestOtherErrorsAreClassified(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want verdict
		says string
	}{
		{nil, verdict{}, ""},
		{io.EOF, verdict{}, ""},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, verdict{}, ""},
		{context.DeadlineExceeded, verdict{}, ""},
		{redis.ErrPoolTimeout, verdict{}, ""},
		{errors.New("the store is down"), verdict{}, ""},
		{errors.New("WRONGTYPE is what a store says that is no Redis"), verdict{}, ""},
		{redis.Nil, verdict{code: "ERR"}, ""},
		{errStale, verdict{class: stale}, ""},
		{errOtherServer, verdict{class: stale}, ""},
		{&LossError{Cause: LossTrimmed}, verdict{class: final}, "loss policy"},
		{offset.ErrCorrupt, verdict{class: final}, "offset store"},
	} {
		err := test.err
		if err != nil {
			err = fmt.Errorf("reading: %w", err)
		}
		got := classify(err)
		if advice := got.advice; !strings.Contains(advice, test.says) || test.says == "" && advice != "" {
			t.Errorf("%v: the advice is %q, want one about the %s", err, advice, test.says)
		}
		if got.advice = ""; got != test.want {
			t.Errorf("%v: got %+v, want %+v", err, got, test.want)
		}
	}
}

func TestWhatEndsARun(t *testing.T) {
	t.Parallel()
	for class, want := range map[class][2]bool{ // at the start, and later
		transient: {false, false}, stale: {false, false}, gone: {false, false}, misconfigured: {true, false}, final: {true, true},
	} {
		v := verdict{class: class}
		if got := [2]bool{v.ends(true), v.ends(false)}; got != want {
			t.Errorf("class %d ends a run: at the start, and later: %v, want %v", class, got, want)
		}
	}
}

// An error that is explained can be logged: a command that the server does not know
// comes back with its arguments, which may be an entry's fields.
func TestExplainedErrorsHideArguments(t *testing.T) {
	t.Parallel()
	err := explain(fmt.Errorf("adding the entry: %w", saidBy(t, "ERR unknown command 'xadd', with args beginning with: 'orders' '*' 'name' 'secret' ")))
	want := noCommand.advice + ": adding the entry: ERR unknown command 'xadd'"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if strings.Contains(inner.Error(), "secret") {
			t.Errorf("%v is wrapped", inner)
		}
	}
	var said redis.Error
	if v := classify(err); !errors.As(err, &said) || said.Error() != "ERR unknown command 'xadd'" || v.class != misconfigured {
		t.Errorf("what the server has said is lost: %v, %+v", said, v)
	}
	if err := explain(io.EOF); err != io.EOF { //nolint:errorlint // it is to be the same
		t.Errorf("got %v", err)
	}
}
