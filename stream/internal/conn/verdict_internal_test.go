package conn

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
		want Verdict // but for the advice
		says string  // what the advice is about
	}{
		{"LOADING Redis is loading the dataset in memory", Verdict{Code: "LOADING"}, ""},
		{"CLUSTERDOWN Hash slot not served", Verdict{Code: "CLUSTERDOWN"}, ""},
		{"CLUSTERDOWN The cluster is down", Verdict{Code: "CLUSTERDOWN"}, ""},
		{"TRYAGAIN Multiple keys request during rehashing of slot", Verdict{Code: "TRYAGAIN"}, ""},
		{"ASK 105 127.0.0.1:17922", Verdict{Code: "ASK"}, ""},
		{"MOVED 105 127.0.0.1:17921", Verdict{Code: "MOVED"}, "NewClusterClient"},
		{"CROSSSLOT Keys in request don't hash to the same slot", Verdict{Code: "CROSSSLOT"}, ""},
		{"NOREPLICAS Not enough good replicas to write.", Verdict{Code: "NOREPLICAS"}, ""},
		{"NOREPLICAS Not enough good replicas to write." + in70, Verdict{Code: "NOREPLICAS"}, ""},
		{saving, Verdict{Code: "MISCONF"}, ""},
		{saving + in70, Verdict{Code: "MISCONF"}, ""},
		{in62by + "-" + saving, Verdict{Code: "MISCONF"}, ""},
		{"MISCONF Errors writing to the AOF file: No space left on device", Verdict{Code: "MISCONF"}, ""},
		{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", Verdict{Code: "BUSY"}, ""},
		{"OOM command not allowed when used memory > 'maxmemory'.", Verdict{Code: "OOM"}, ""},
		{"OOM command not allowed when used memory > 'maxmemory'." + in70, Verdict{Code: "OOM"}, ""},
		{in62by + "-OOM command not allowed when used memory > 'maxmemory'.", Verdict{Code: "OOM"}, ""},
		{"ERR max number of clients reached", Verdict{Code: "ERR"}, ""},
		{"BUSYGROUP Consumer Group name already exists", Verdict{Code: "BUSYGROUP"}, ""},
		{"NOSCRIPT No matching script. Please use EVAL.", Verdict{Code: "NOSCRIPT"}, ""},
		{"UNBLOCKED client unblocked via CLIENT UNBLOCK", Verdict{Code: "UNBLOCKED"}, ""},
		{"ERR user_script:1: too many results to unpack" + in70, Verdict{Code: "ERR"}, ""},
		{"ERR wrong number of arguments for 'xgroup|setid' command", Verdict{Code: "ERR"}, ""},
		{"ERR the next version says it like this", Verdict{Code: "ERR"}, ""},
		{"LATER and this is a code of it", Verdict{Code: "LATER"}, ""},

		{"READONLY You can't write against a read only replica.", Verdict{Class: stale, Code: "READONLY"}, ""},
		{"READONLY You can't write against a read only replica." + in70, Verdict{Class: stale, Code: "READONLY"}, ""},
		{in62by + "-READONLY You can't write against a read only replica.", Verdict{Class: stale, Code: "READONLY"}, ""},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Verdict{Class: stale, Code: "MASTERDOWN"}, ""},
		{"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", Verdict{Class: stale, Code: "UNBLOCKED"}, ""},

		{"UNBLOCKED the stream key no longer exists", Verdict{Class: Gone, Code: "UNBLOCKED", OfOne: true}, ""},
		{"NOGROUP the consumer group this client was blocked on no longer exists", Verdict{Class: Gone, Code: "NOGROUP", OfOne: true}, ""},
		{"NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option", Verdict{Class: Gone, Code: "NOGROUP", OfOne: true}, ""}, // 7.2 and later, Valkey: to a blocked reader too
		{"NOGROUP No such key 's' or consumer group 'g'", Verdict{Class: Gone, Code: "NOGROUP", OfOne: true}, ""},
		{"NOGROUP No such key 's' or consumer group 'g'" + in70, Verdict{Class: Gone, Code: "NOGROUP", OfOne: true}, ""},
		{in62 + "NOGROUP No such key 's' or consumer group 'g'", Verdict{Class: Gone, Code: "NOGROUP", OfOne: true}, ""},
		{"NOGROUP No such consumer group 'g' for key name 's'", Verdict{Class: Gone, Code: "NOGROUP", OfOne: true}, ""},
		{"ERR no such key", Verdict{Class: Gone, Code: "ERR", OfOne: true}, ""},
		{"ERR no such key" + in70, Verdict{Class: Gone, Code: "ERR", OfOne: true}, ""},
		{in62 + "ERR no such key", Verdict{Class: Gone, Code: "ERR", OfOne: true}, ""},

		{"NOAUTH Authentication required.", Verdict{Class: misconfigured, Code: "NOAUTH"}, "login"},
		{"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time", Verdict{Class: misconfigured, Code: "NOAUTH"}, "login"},
		{"WRONGPASS invalid username-password pair or user is disabled.", Verdict{Class: misconfigured, Code: "WRONGPASS"}, "login"},
		{"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?", Verdict{Class: misconfigured, Code: "ERR"}, "login"},
		{"ERR Protocol error: unauthenticated multibulk length", Verdict{Class: misconfigured, Code: "ERR"}, "login"},

		{"NOPERM this user has no permissions to run the 'xread' command or its subcommand", Verdict{Class: misconfigured, Code: "NOPERM", OfOne: true, Withheld: true}, "right"}, // 6.2
		{"NOPERM this user has no permissions to run the 'xgroup|create' command", Verdict{Class: misconfigured, Code: "NOPERM", OfOne: true, Withheld: true}, "right"},
		{"NOPERM this user has no permissions to access one of the keys used as arguments", Verdict{Class: misconfigured, Code: "NOPERM", OfOne: true, Withheld: true}, "right"},
		{"NOPERM User app has no permissions to run the 'xread' command", Verdict{Class: misconfigured, Code: "NOPERM", OfOne: true, Withheld: true}, "right"}, // 7.2 and later, Valkey
		{"NOPERM No permissions to access a key", Verdict{Class: misconfigured, Code: "NOPERM", OfOne: true, Withheld: true}, "right"},                         // the same
		{"ERR The user executing the script can't run this command or subcommand" + in70, Verdict{Class: misconfigured, Code: "ERR", OfOne: true, Withheld: true}, "right"},
		{"ERR The user executing the script can't access at least one of the keys mentioned in the command arguments" + in70, Verdict{Class: misconfigured, Code: "ERR", OfOne: true, Withheld: true}, "right"},
		{in62by + "The user executing the script can't run this command or subcommand", Verdict{Class: misconfigured, Code: "ERR", OfOne: true, Withheld: true}, "right"},
		{"ERR ACL failure in script: User app has no permissions to run the 'xpending' command" + in70, Verdict{Class: misconfigured, Code: "ERR", OfOne: true, Withheld: true}, "right"}, // 7.2 and later, Valkey

		{"ERR unknown command 'xread', with args beginning with: 'count' '100' 'streams' ", Verdict{Class: misconfigured, Code: "ERR", Withheld: true}, "command"},
		{"ERR unknown command `xautoclaim`, with args beginning with: `orders`, ", Verdict{Class: misconfigured, Code: "ERR", Withheld: true}, "command"}, // 6.2
		{"ERR unknown subcommand 'CREATE'. Try XGROUP HELP.", Verdict{Class: misconfigured, Code: "ERR", Withheld: true}, "command"},
		{"ERR Unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.", Verdict{Class: misconfigured, Code: "ERR", Withheld: true}, "command"}, // 6.2
		{"ERR Unknown Redis command called from script" + in70, Verdict{Class: misconfigured, Code: "ERR", Withheld: true}, "command"},
		{"ERR Unknown command called from script" + in70, Verdict{Class: misconfigured, Code: "ERR", Withheld: true}, "command"}, // Valkey
		{in62by + "Unknown Redis command called from Lua script", Verdict{Class: misconfigured, Code: "ERR", Withheld: true}, "command"},

		{"WRONGTYPE Operation against a key holding the wrong kind of value", Verdict{Class: misconfigured, Code: "WRONGTYPE", OfOne: true}, "type"},
		{"WRONGTYPE Operation against a key holding the wrong kind of value" + in70, Verdict{Class: misconfigured, Code: "WRONGTYPE", OfOne: true}, "type"},
		{in62 + "WRONGTYPE Operation against a key holding the wrong kind of value", Verdict{Class: misconfigured, Code: "WRONGTYPE", OfOne: true}, "type"},
		{"ERR DB index is out of range", Verdict{Class: misconfigured, Code: "ERR"}, "database"},
		{"ERR SELECT is not allowed in cluster mode", Verdict{Class: misconfigured, Code: "ERR"}, "database"},
		{"ERR This instance has cluster support disabled", Verdict{Class: misconfigured, Code: "ERR"}, "NewClient"},
	} {
		err := saidBy(t, test.text)
		for _, err := range []error{err, fmt.Errorf("reading: %w", err), Explain(err)} {
			got := Classify(err)
			if advice := got.Advice; !strings.Contains(advice, test.says) || test.says == "" && advice != "" {
				t.Errorf("%q: the advice is %q, want one about the %s", err, advice, test.says)
			}
			if got.Advice = ""; got != test.want {
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
		want Verdict
		says string
	}{
		{nil, Verdict{}, ""},
		{io.EOF, Verdict{}, ""},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, Verdict{}, ""},
		{context.DeadlineExceeded, Verdict{}, ""},
		{redis.ErrPoolTimeout, Verdict{}, ""},
		{errors.New("the store is down"), Verdict{}, ""},
		{errors.New("WRONGTYPE is what a store says that is no Redis"), Verdict{}, ""},
		{redis.Nil, Verdict{Code: "ERR"}, ""},
		{errStale, Verdict{Class: stale}, ""},
		{ErrOtherServer, Verdict{Class: stale}, ""},
		{offset.ErrCorrupt, Verdict{Class: Final}, "offset store"},
	} {
		err := test.err
		if err != nil {
			err = fmt.Errorf("reading: %w", err)
		}
		got := Classify(err)
		if advice := got.Advice; !strings.Contains(advice, test.says) || test.says == "" && advice != "" {
			t.Errorf("%v: the advice is %q, want one about the %s", err, advice, test.says)
		}
		if got.Advice = ""; got != test.want {
			t.Errorf("%v: got %+v, want %+v", err, got, test.want)
		}
	}
}

func TestWhatEndsARun(t *testing.T) {
	t.Parallel()
	for class, want := range map[Class][2]bool{ // at the start, and later
		Transient: {false, false}, stale: {false, false}, Gone: {false, false}, misconfigured: {true, false}, Final: {true, true},
	} {
		v := Verdict{Class: class}
		if got := [2]bool{v.Ends(true), v.Ends(false)}; got != want {
			t.Errorf("class %d ends a run: at the start, and later: %v, want %v", class, got, want)
		}
	}
}

// An error that is explained can be logged: a command that the server does not know
// comes back with its arguments, which may be an entry's fields.
func TestExplainedErrorsHideArguments(t *testing.T) {
	t.Parallel()
	err := Explain(fmt.Errorf("adding the entry: %w", saidBy(t, "ERR unknown command 'xadd', with args beginning with: 'orders' '*' 'name' 'secret' ")))
	want := noCommand.Advice + ": adding the entry: ERR unknown command 'xadd'"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if strings.Contains(inner.Error(), "secret") {
			t.Errorf("%v is wrapped", inner)
		}
	}
	var said redis.Error
	if v := Classify(err); !errors.As(err, &said) || said.Error() != "ERR unknown command 'xadd'" || v.Class != misconfigured {
		t.Errorf("what the server has said is lost: %v, %+v", said, v)
	}
	if err := Explain(io.EOF); err != io.EOF { //nolint:errorlint // it is to be the same
		t.Errorf("got %v", err)
	}
}
