package conn

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/resp"
)

// Class is the kind of an error of Redis or of a store, and with that what is done
// about it.
type Class int

const (
	// Transient errors pass; all that are not known are among them. They are tried again.
	Transient Class = iota
	// stale is that the server is not the master, or not any more. The connection is
	// dropped, which go-redis does not always do, so that the master is found anew.
	stale
	// Gone is that the stream or the group does not exist.
	Gone
	// misconfigured is what only people can mend. It is refused if it is found at the
	// start. Later the same words may come from an operator's mistake or a failover,
	// and a consumer that has worked once should outlast that.
	misconfigured
	// Final errors can be mended by no waiting, whenever they come.
	Final
)

// Verdict has all that is known of an error.
type Verdict struct {
	Class
	// Code is the word with which the answer of a server begins, ERR if it has none
	// of its own. It is empty if no server has answered.
	Code string
	// Advice says what to do about it, where people can do something.
	Advice string
	// OfOne says that, after a read of many streams, it may be about only one.
	OfOne bool
	// Withheld says that the server does not have the command, or not for this user.
	Withheld bool
}

// Answered reports whether the error is an answer of a server, so that it is there.
func (v Verdict) Answered() bool { return v.Code != "" }

// Ends reports whether there is no use in trying again.
func (v Verdict) Ends(starting bool) bool {
	return v.Class == Final || v.Class == misconfigured && starting
}

var (
	misplaced = Verdict{Advice: "the key is on another node of a cluster; if that lasts, make the client with redis.NewClusterClient"}
	noStream  = Verdict{Class: Gone, OfOne: true}
	noLogin   = Verdict{Class: misconfigured, Advice: "Redis refuses the login; check the client's username and password"}
	noRight   = Verdict{Class: misconfigured, OfOne: true, Withheld: true, Advice: "the Redis user lacks a right; grant it"}
	noCommand = Verdict{Class: misconfigured, Withheld: true, Advice: "the server lacks a command that is needed; Redis 6.2 or later has it"}
	wrongType = Verdict{Class: misconfigured, OfOne: true, Advice: "a key holds another type than is needed; check the topic's name and the store's key"}
	// A try again would write the first half once more.
	halfWritten = Verdict{Class: Final, Advice: "a command of a handler's effects failed behind others, which a server does not undo; mend its cause, look at what was written for the entries that are pending or not settled, and start again"}
	// fenced is about the label: the consumer that was started last goes on.
	fenced    = Verdict{Class: Final, Advice: "another consumer has begun to commit under this label, and goes on in place of this one; give each consumer a label of its own (WithLabel), or run one at a time"}
	noDB      = Verdict{Class: misconfigured, Advice: "the server has no such database; check the client's DB"}
	noCluster = Verdict{Class: misconfigured, Advice: "the server is no node of a cluster; make the client with redis.NewClient"}
)

// ErrFenced says that another consumer has begun to commit under the identity of this one. It is
// public: see package stream.
var ErrFenced = errors.New("stream: another consumer has taken over")

// answers has the kinds of the answers of servers, by how they begin behind an ERR.
// The words differ between the versions, and between a command and the same one in
// a script. What is not here is transient.
var answers = []struct {
	begins string
	Verdict
}{
	{"READONLY ", Verdict{Class: stale}},
	{"MASTERDOWN ", Verdict{Class: stale}},
	{"UNBLOCKED force unblock from blocking operation", Verdict{Class: stale}},
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
	{"MILLRACE ", halfWritten}, // our own, of the scripts with effects
	{"DB index is out of range", noDB},
	{"SELECT is not allowed in cluster mode", noDB},
	{"This instance has cluster support disabled", noCluster},
}

// Classify returns the verdict on an error. It is the one place that knows the words of
// servers.
func Classify(err error) (v Verdict) {
	if err == nil {
		return Verdict{}
	}
	defer func() {
		if recover() != nil { // it may be a store's, or a hook's
			v = Verdict{}
		}
	}()
	var (
		answer redis.Error
		hook   *HookError
		cut    *CutError
	)
	switch {
	case errors.As(err, &hook):
		return Verdict{Class: Final}
	case errors.Is(err, offset.ErrCorrupt):
		return Verdict{Class: Final, Advice: "look at what the offset store holds, and correct or remove it"}
	case errors.Is(err, ErrFenced):
		return fenced
	case errors.Is(err, errStale), errors.Is(err, ErrOtherServer):
		return Verdict{Class: stale}
	case errors.As(err, &cut) && cut.Least:
		return Verdict{Advice: "even the smallest reply is too large for the server or a proxy, which closes the connection; raise the server's client-output-buffer-limit, or the proxy's limit"}
	case !errors.As(err, &answer):
		return Verdict{}
	}
	text := unwrapped(answer.Error())
	v = Verdict{Code: codeOf(text)}
	text = strings.TrimPrefix(text, "ERR ")
	for _, known := range answers {
		if len(text) >= len(known.begins) && strings.EqualFold(text[:len(known.begins)], known.begins) {
			known.Code = v.Code
			return known.Verdict
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

// Explain returns the error, with what to do about it in front if people can do
// something. It is safe to log, and so is all that it wraps.
func Explain(err error) error { return Classify(err).Explain(err) }

// Explain puts the advice in front of the error that it is about.
func (v Verdict) Explain(err error) error {
	if v.Advice == "" {
		return err
	}
	// A command that the server does not know comes back with its arguments, which
	// may be an entry's fields.
	text, _, cut := strings.Cut(err.Error(), argumentsFollow)
	var said redis.Error
	if cut && errors.As(err, &said) {
		short, _, _ := strings.Cut(said.Error(), argumentsFollow)
		err = resp.AnswerError(short)
	}
	return &explained{v.Advice + ": " + text, err}
}

const argumentsFollow = ", with args beginning with"

func (e *explained) Error() string { return e.text }

func (e *explained) Unwrap() error { return e.err }
