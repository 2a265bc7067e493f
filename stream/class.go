package stream

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// class is what an error of Redis or of a store comes to, and with that what is done
// about it.
type class int

const (
	// transient is what passes, and everything that is not known: it is tried again.
	transient class = iota
	// stale is that the server is not the master, or not any more. The connection is
	// dropped, which go-redis does not always do, so that the master is found anew.
	stale
	// gone is that the stream or the group does not exist.
	gone
	// misconfigured is what only people can mend. It is refused if it is found at the
	// start. Later the same words may come from an operator's mistake or a failover,
	// and a consumer that has worked once should outlast that.
	misconfigured
	// final is what no waiting can mend, whenever it comes.
	final
)

// verdict is what is known of an error.
type verdict struct {
	class
	// code is the word with which the answer of a server begins, ERR if it has none
	// of its own. It is empty if no server has answered.
	code string
	// advice says what to do about it, where people can do something.
	advice string
	// ofOne says that, after a read of many streams, it may be about only one.
	ofOne bool
	// withheld says that the server does not have the command, or not for this user.
	withheld bool
}

// answered reports whether the error is what a server has said, so that it is there.
func (v verdict) answered() bool { return v.code != "" }

// ends reports whether there is no use in trying again.
func (v verdict) ends(starting bool) bool {
	return v.class == final || v.class == misconfigured && starting
}

var (
	misplaced = verdict{advice: "the key is on another node of a cluster; if that lasts, make the client with redis.NewClusterClient"}
	noStream  = verdict{class: gone, ofOne: true}
	noLogin   = verdict{class: misconfigured, advice: "Redis refuses the login; check the client's username and password"}
	noRight   = verdict{class: misconfigured, ofOne: true, withheld: true, advice: "the Redis user lacks a right; grant it"}
	noCommand = verdict{class: misconfigured, withheld: true, advice: "the server lacks a command that is needed; Redis 6.2 or later has it"}
	wrongType = verdict{class: misconfigured, ofOne: true, advice: "a key holds another type than is needed; check the topic's name and the store's key"}
	noDB      = verdict{class: misconfigured, advice: "the server has no such database; check the client's DB"}
	noCluster = verdict{class: misconfigured, advice: "the server is no node of a cluster; make the client with redis.NewClient"}
)

// answers says what the answers of servers come to, by how they begin behind an ERR.
// The words differ between the versions, and between a command and the same one in
// a script. What is not here is transient.
var answers = []struct {
	begins string
	verdict
}{
	{"READONLY ", verdict{class: stale}},
	{"MASTERDOWN ", verdict{class: stale}},
	{"UNBLOCKED force unblock from blocking operation", verdict{class: stale}},
	{"MOVED ", misplaced},
	{"NOGROUP ", noStream},
	{"UNBLOCKED the stream key no longer exists", noStream}, // Redis 7.0, to a blocked reader
	{"no such key", noStream},                               // of XINFO
	{"NOAUTH ", noLogin},
	{"WRONGPASS ", noLogin},
	{"AUTH <password> called without any password", noLogin},
	{"Protocol error: unauthenticated", noLogin}, // to a long command
	{"NOPERM ", noRight},
	{"The user executing the script ", noRight}, // before Redis 7.2, of a script's command
	{"ACL failure in script", noRight},          // since, and Valkey
	{"unknown command", noCommand},
	{"unknown subcommand", noCommand},
	{"unknown Redis command", noCommand}, // of a script's; Valkey leaves out the name
	{"WRONGTYPE ", wrongType},
	{"DB index is out of range", noDB},
	{"SELECT is not allowed in cluster mode", noDB},
	{"This instance has cluster support disabled", noCluster},
}

// classify says what an error comes to. It is the one place that knows the words of
// servers.
func classify(err error) (v verdict) {
	if err == nil {
		return verdict{}
	}
	defer func() {
		if recover() != nil { // it may be a store's, or a hook's
			v = verdict{}
		}
	}()
	var (
		answer redis.Error
		loss   *LossError
		hook   *hookError
		cut    *cutError
	)
	switch {
	case errors.As(err, &loss):
		return verdict{class: final, advice: "the loss policy says stop; look at what was lost, then set the offset, or choose another policy"}
	case errors.As(err, &hook):
		return verdict{class: final}
	case errors.Is(err, offset.ErrCorrupt):
		return verdict{class: final, advice: "look at what the offset store holds, and correct or remove it"}
	case errors.Is(err, errStale), errors.Is(err, errOtherServer):
		return verdict{class: stale}
	case errors.As(err, &cut) && cut.least:
		return verdict{advice: "even the smallest reply is too large for the server or a proxy, which closes the connection; raise the server's client-output-buffer-limit, or the proxy's limit"}
	case !errors.As(err, &answer):
		return verdict{}
	}
	text := unwrapped(answer.Error())
	v = verdict{code: codeOf(text)}
	text = strings.TrimPrefix(text, "ERR ")
	for _, known := range answers {
		if len(text) >= len(known.begins) && strings.EqualFold(text[:len(known.begins)], known.begins) {
			known.code = v.code
			return known.verdict
		}
	}
	return v
}

// unwrapped returns an answer without what Redis 6.2 puts around that of a script's
// command, or its own to a script:
//
//	ERR Error running script (call to f_<hash>): @user_script:2: WRONGTYPE Operation
//	ERR Error running script (call to f_<hash>): @user_script:2: @user_script: 2: -OOM command
func unwrapped(text string) string {
	const script = "@user_script:"
	if at := strings.LastIndex(text, script); at >= 0 && strings.HasPrefix(text, "ERR Error running script") {
		_, text, _ = strings.Cut(text[at+len(script):], ": ")
		text = strings.TrimPrefix(text, "-")
	}
	return text
}

// codeOf returns the code of an answer, which is in capitals.
func codeOf(text string) string {
	code, _, _ := strings.Cut(text, " ")
	if code != strings.ToUpper(code) {
		return "ERR"
	}
	return code
}

// explained is an error with what to do about it.
type explained struct {
	text string
	err  error
}

// explain returns the error, with what to do about it in front if people can do
// something. It is safe to log, and so is all that it wraps.
func explain(err error) error {
	advice := classify(err).advice
	if advice == "" {
		return err
	}
	// A command that the server does not know comes back with its arguments, which
	// may be an entry's fields.
	text, _, cut := strings.Cut(err.Error(), argumentsFollow)
	var said redis.Error
	if cut && errors.As(err, &said) {
		short, _, _ := strings.Cut(said.Error(), argumentsFollow)
		err = answer(short)
	}
	return &explained{advice + ": " + text, err}
}

const argumentsFollow = ", with args beginning with"

func (e *explained) Error() string { return e.text }

func (e *explained) Unwrap() error { return e.err }

// answer is what a server has said, a [redis.Error].
type answer string

func (a answer) Error() string { return string(a) }

// RedisError is what makes it one.
func (answer) RedisError() {}
