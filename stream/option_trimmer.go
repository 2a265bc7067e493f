package stream

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"millrace/offset"
	"millrace/stream/internal/contain"
)

// TrimmerOption changes how a [Trimmer] works from its default. The functions that return
// one, and [WithLogger], make them; there are no others.
type TrimmerOption interface {
	applyToTrimmer(*trimmerConfig)
}

type trimmerOption func(*trimmerConfig)

func (set trimmerOption) applyToTrimmer(c *trimmerConfig) { set(c) }

// trimmerConfig holds everything that a TrimmerOption can change. Nil is not given.
type trimmerConfig struct {
	logger   *slog.Logger
	offsets  []knownOffset
	maxLen   *int64
	maxAge   *time.Duration
	interval time.Duration
	held     time.Duration
	report   func(TrimResult)
	problems []error // of WithOffsets, which may be given more than once
}

type knownOffset struct {
	store offset.Store
	label string
}

// newTrimmerConfig returns the defaults, changed by the options.
func newTrimmerConfig(opts []TrimmerOption) trimmerConfig {
	c := trimmerConfig{logger: slog.Default(), interval: 10 * time.Second, held: 10 * time.Minute}
	for _, opt := range opts {
		if opt != nil {
			opt.applyToTrimmer(&c)
		}
	}
	c.logger = outlasting(c.logger)
	return c
}

func (c *trimmerConfig) capped() bool { return c.maxLen != nil || c.maxAge != nil }

// validate returns every problem of the configuration, joined.
func (c *trimmerConfig) validate() error {
	problems := c.problems
	if c.maxLen != nil && *c.maxLen < 1 {
		problems = append(problems, invalid("WithHardMaxLen(%d): give at least 1, or leave it out to keep every entry that somebody has not passed", *c.maxLen))
	}
	if c.maxAge != nil && *c.maxAge < time.Millisecond {
		problems = append(problems, invalid("WithHardMaxAge(%v): give at least 1ms, or leave it out to keep every entry that somebody has not passed", *c.maxAge))
	}
	if c.interval <= 0 {
		problems = append(problems, invalid("WithTrimInterval(%v): give a time above zero", c.interval))
	}
	if c.held <= 0 {
		problems = append(problems, invalid("WithHeldWarning(%v): give a time above zero", c.held))
	}
	return errors.Join(problems...)
}

// WithOffsets tells a trimmer of consumers in log mode: nothing is trimmed that is
// not behind the offsets of all these labels in the store, loaded each time. May be
// given more than once. Default: only groups count, which those of a [Mirror] are.
// A nil store, no label and a blank label are refused. A label without an offset
// keeps everything: its consumer may start anywhere.
func WithOffsets(store offset.Store, labels ...string) TrimmerOption {
	return trimmerOption(func(c *trimmerConfig) {
		if contain.IsNil(store) {
			c.problems = append(c.problems, invalid("WithOffsets(nil, %q): give the offset.Store that the consumers have", strings.Join(labels, ", ")))
		}
		if len(labels) == 0 {
			c.problems = append(c.problems, invalid("WithOffsets without a label: give those of the consumers, by default the topic's name"))
		}
		for _, label := range labels {
			if isBlank(label) {
				c.problems = append(c.problems, invalid("WithOffsets with the label %q: give labels that are not blank", label))
			}
			c.offsets = append(c.offsets, knownOffset{store, label})
		}
	})
}

// WithHardMaxLen has a trimmer keep no more than the newest n entries, also where a reader has
// not passed the others. Default: none; such entries are never trimmed. Less than 1 is refused.
// The losses of readers are in [TrimResult].Losses and, with [Trimmer.Run], an error in the
// log. It is the last defense of the server's memory; between two trims there can be more.
//
// Trimming beyond the floor looks at each entry, so that it is slower: the server
// is busy for about 2 milliseconds per 500 entries, and free in between. If all
// readers are known and none needs the rest, nothing is lost by it.
func WithHardMaxLen(n int64) TrimmerOption {
	return trimmerOption(func(c *trimmerConfig) { c.maxLen = &n })
}

// WithHardMaxAge is [WithHardMaxLen] for entries that are older than d, by the
// clock of the server, which numbers them too. Default: none. Less than a
// millisecond is refused. The newest entry stays, whatever its age, because it
// shows consumers that nothing was lost.
func WithHardMaxAge(d time.Duration) TrimmerOption {
	return trimmerOption(func(c *trimmerConfig) { c.maxAge = &d })
}

// WithTrimInterval sets how long [Trimmer.Run] waits between two trims. Default:
// 10 seconds. Zero or less is refused. A trim that finds nothing to do is three
// commands on the server, and one more for each group with something pending.
func WithTrimInterval(d time.Duration) TrimmerOption {
	return trimmerOption(func(c *trimmerConfig) { c.interval = d })
}

// WithHeldWarning sets how long an owner stands at the same entry, while there are others
// behind it, when [Trimmer.Run] warns of it, and how often it warns. Default: 10 minutes. Zero
// or less is refused.
func WithHeldWarning(d time.Duration) TrimmerOption {
	return trimmerOption(func(c *trimmerConfig) { c.held = d })
}

// WithTrimReport has [Trimmer.Run] call a function with the result of each trim, one
// that failed included, for metrics and alarms: see [TrimResult].Losses. Default, also for
// nil: none. It must return soon; nothing is trimmed meanwhile.
func WithTrimReport(report func(TrimResult)) TrimmerOption {
	return trimmerOption(func(c *trimmerConfig) { c.report = report })
}
