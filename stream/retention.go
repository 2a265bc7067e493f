package stream

import (
	"strings"
	"time"

	"millrace/stream/internal/publish"
)

// retention says which old entries go when one is added. Nil is not given.
type retention struct {
	maxLen, exactMaxLen *int64
	minIDAge            *time.Duration
}

func (r retention) problems() (problems []error) {
	var given []string
	if r.maxLen != nil {
		given = append(given, "WithMaxLen")
		if *r.maxLen < 1 {
			problems = append(problems, invalid("WithMaxLen(%d): give at least 1, or leave it out to keep every entry", *r.maxLen))
		}
	}
	if r.exactMaxLen != nil {
		given = append(given, "WithExactMaxLen")
		if *r.exactMaxLen < 1 {
			problems = append(problems, invalid("WithExactMaxLen(%d): give at least 1, or leave it out to keep every entry", *r.exactMaxLen))
		}
	}
	if r.minIDAge != nil {
		given = append(given, "WithMinIDAge")
		if *r.minIDAge < time.Millisecond {
			problems = append(problems, invalid("WithMinIDAge(%v): give at least 1ms, or leave it out to keep every entry", *r.minIDAge))
		}
	}
	if len(given) > 1 {
		problems = append(problems, invalid("%s: give one of them; XADD trims by one rule", strings.Join(given, " and ")))
	}
	return problems
}

// rule returns the rule that was given, if there is no problem.
func (r retention) rule() (rule publish.Retention) {
	switch {
	case r.maxLen != nil:
		rule.MaxLen = *r.maxLen
	case r.exactMaxLen != nil:
		rule.ExactMaxLen = *r.exactMaxLen
	case r.minIDAge != nil:
		rule.MinIDAge = *r.minIDAge
	}
	return rule
}

// RetentionOption is an option that producers, outputs and relays have in common: [WithMaxLen],
// [WithExactMaxLen] and [WithMinIDAge].
type RetentionOption interface {
	ProducerOption
	OutputOption
	RelayOption
}

type retentionOption func(*retention)

func (set retentionOption) applyToProducer(c *producerConfig) { set(&c.retention) }

func (set retentionOption) applyToOutput(c *outputConfig) { set(&c.retention) }

func (set retentionOption) applyToRelay(c *relayConfig) { set(&c.retention) }

// WithMaxLen makes the producer, or the output, trim the stream to about its newest n entries
// with each one that it adds (MAXLEN ~). Default: nothing is ever trimmed. Zero
// or less is refused, and so is another trimming option beside it.
//
// Trimming drops entries that no consumer has read yet, if they are old enough: the server asks
// no reader. Choose n so that it covers the longest outage of a consumer. Redis drops whole
// nodes of a stream, 100 entries by default, so that a few more than n remain; that costs
// almost nothing, see [WithExactMaxLen].
func WithMaxLen(n int64) RetentionOption {
	return retentionOption(func(r *retention) { r.maxLen = &n })
}

// WithExactMaxLen is [WithMaxLen] without the "about" (MAXLEN =): never more than
// n entries remain. Default: nothing is ever trimmed. Zero or less is refused, and
// so is another trimming option beside it. It drops unread entries too, and makes
// each publishing slower; it is for streams that are short.
func WithExactMaxLen(n int64) RetentionOption {
	return retentionOption(func(r *retention) { r.exactMaxLen = &n })
}

// WithMinIDAge makes the producer, or the output, trim, with each entry that it adds, those that
// are older than d (MINID ~). Default: nothing is ever trimmed. Less than a
// millisecond is refused, zero included, and so is another trimming option beside
// it.
//
// Like [WithMaxLen] it drops entries that no consumer has read yet, and keeps a
// few that are older. An entry's age is the difference between the clock of this
// process and that of the server that numbered it. While nothing is published,
// nothing is trimmed.
func WithMinIDAge(d time.Duration) RetentionOption {
	return retentionOption(func(r *retention) { r.minIDAge = &d })
}
