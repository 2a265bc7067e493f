package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

func (c *cli) ls() *cobra.Command {
	var (
		o overview
		w watch
	)
	command := c.command(spec{
		use: "ls [PATTERN]", short: "List topics: length, readers, lag, dead letters.",
		more: "The topics are those of the registry, which agents fill; without a registry, all streams.\n" +
			"LAG counts entries that are not done; it is unknown after a trim or a seek. BEHIND is the age of the oldest.\n" +
			"With -w there is a rate, too.",
		examples: []string{"millrace ls", "millrace ls 'order*' --scan -o ndjson", "millrace ls --max-behind 1m -w 2s"},
		rights:   rightsLook + "; with a scan +scan, with --bytes +memory|usage", exits: []int{exitFound},
		complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			o.pattern = strings.Join(args, "")
			o.rates = w.every > 0
			return w.run(ctx, s, o.show)
		},
	})
	o.flags(command)
	command.Flags().BoolVar(&o.bytes, "bytes", false, "show about how much memory each stream takes")
	w.flag(command.Flags())
	return command
}

func (c *cli) top() *cobra.Command {
	o := overview{worstFirst: true, rates: true}
	w := watch{every: 2 * time.Second}
	command := c.command(spec{
		use: "top [PATTERN]", short: "Show topics live, those that are furthest behind first.",
		examples: []string{"millrace top", "millrace top 'order*'", "millrace top --every 10s --max-behind 5m"},
		rights:   rightsLook + "; with a scan +scan", complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			o.pattern = strings.Join(args, "")
			return w.run(ctx, s, func(ctx context.Context, s *session) error {
				if err := s.out.Heading("millrace top  %s", s.now().Format("15:04:05")); err != nil {
					return err
				}
				err := o.show(ctx, s)
				if code := (*codeError)(nil); errors.As(err, &code) && code.code == exitFound {
					return nil // it is on the screen
				}
				return err
			})
		},
	})
	o.flags(command)
	command.Flags().DurationVar(&w.every, "every", w.every, "`time` between two looks")
	return command
}

func (o *overview) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.BoolVar(&o.scan, "scan", false, "look for streams among all keys, and not only in the registry")
	flags.DurationVar(&o.maxBehind, "max-behind", 0, "exit with 3 if a reader is further behind in `time` (the state tells of more than 1m)")
	flags.Int64Var(&o.maxLag, "max-lag", 0, "exit with 3 if a reader has a lag of more `entries`, or an unknown one")
}

// overview is the table of ls and top, and its flags.
type overview struct {
	pattern           string
	scan, bytes       bool
	maxBehind         time.Duration
	maxLag            int64
	worstFirst, rates bool
	before            map[string]sample
}

// sample is how many entries a topic had ever got, at some time.
type sample struct {
	added int64
	at    time.Time
}

// usuallyBehind is how far a reader is behind when its state tells it.
const usuallyBehind = time.Minute

// show prints the topics.
func (o *overview) show(ctx context.Context, s *session) error {
	topics, failed, err := o.ask(ctx, s, o.scan)
	if err == nil && len(topics) == 0 && !o.scan {
		topics, failed, err = o.ask(ctx, s, true)
	}
	if err != nil {
		return err
	}
	if len(topics) == 0 {
		s.say("There is no stream of this name on the server.")
	}
	if o.worstFirst {
		slices.SortStableFunc(topics, func(a, b topicView) int { return cmp.Compare(b.behind(), a.behind()) })
	}
	if s.format == display.FormatTable {
		err = o.table(s, topics)
	} else {
		err = display.Emit(s.out, nil, topics, nil)
	}
	if err != nil || failed != nil {
		return cmp.Or(err, failed)
	}
	if o.found(topics) {
		return &codeError{code: exitFound}
	}
	return nil
}

// ask asks for the topics. failed are the failures of single topics, which their lines tell.
func (o *overview) ask(ctx context.Context, s *session, scan bool) (topics []topicView, failed, err error) {
	var opts []admin.TopicOption
	if o.bytes {
		opts = append(opts, admin.WithBytes())
	}
	if scan {
		opts = append(opts, admin.WithScan())
	}
	var failures []error
	for topic, err := range s.admin.Overview(ctx, o.pattern, opts...) {
		if err != nil && topic.Name == "" {
			return nil, nil, err
		}
		view := s.viewTopic(topic, cmp.Or(o.maxBehind, usuallyBehind))
		if err != nil {
			view.Error = err.Error()
			failures = append(failures, err)
		}
		o.measure(&view, s.Now())
		topics = append(topics, view)
	}
	return topics, errors.Join(failures...), nil
}

// measure finds out the rate of a topic since it was shown before.
func (o *overview) measure(view *topicView, now time.Time) {
	if !o.rates || view.Added < 0 {
		return
	}
	if o.before == nil {
		o.before = map[string]sample{}
	}
	if before, seen := o.before[view.Topic]; seen && now.After(before.at) {
		rate := max(0, float64(view.Added-before.added)/now.Sub(before.at).Seconds())
		view.PerSecond = &rate
	}
	o.before[view.Topic] = sample{view.Added, now}
}

// found reports whether a reader is further behind than it may be.
func (o *overview) found(topics []topicView) bool {
	for _, topic := range topics {
		for _, r := range topic.Readers {
			if o.maxBehind > 0 && r.behind > o.maxBehind || o.maxLag > 0 && (r.Lag == nil || *r.Lag > o.maxLag) {
				return true
			}
		}
	}
	return false
}

// table prints a line for each reader; the first line of a topic has the cells of the topic, too.
func (o *overview) table(s *session, topics []topicView) error {
	header := []string{"TOPIC", ">LENGTH"}
	if o.bytes {
		header = append(header, ">BYTES")
	}
	if o.rates {
		header = append(header, ">IN/S")
	}
	header = append(header, "READER", ">LAG", ">BEHIND", ">PENDING", ">CONSUMERS", ">DEAD", "STATE")
	var rows [][]string
	readers, behind := 0, 0
	for _, topic := range topics {
		own := topic.cells(o)
		dead := display.Number(topic.Dead)
		if len(topic.Readers) == 0 {
			rows = append(rows, slices.Concat(own, []string{display.None, display.None, display.None, display.None, display.None, dead, topic.state()}))
		}
		for i, r := range topic.Readers {
			if i > 0 && s.out.Columns == 0 {
				own, dead = slices.Repeat([]string{""}, len(own)), ""
			}
			rows = append(rows, slices.Concat(own, r.cells(), []string{dead, display.OrNone(r.State)}))
			readers++
			if r.State == stateBehind {
				behind++
			}
		}
	}
	if err := s.out.Table(header, rows); err != nil {
		return err
	}
	if len(topics) > 0 {
		s.say("%s, %s; %d behind.", display.Many(len(topics), "topic"), display.Many(readers, "reader"), behind)
	}
	return nil
}

// cells are the cells of a topic that are the same for each of its readers.
func (t *topicView) cells(o *overview) []string {
	cells := []string{display.Clean(t.Topic), display.Number(t.Length)}
	if o.bytes {
		bytes := display.None
		if t.Bytes != nil {
			bytes = display.Number(*t.Bytes)
		}
		cells = append(cells, bytes)
	}
	if o.rates {
		rate := display.None
		if t.PerSecond != nil {
			rate = fmt.Sprintf("%.0f", *t.PerSecond)
		}
		cells = append(cells, rate)
	}
	return cells
}

// state is the state of a topic without readers.
func (t *topicView) state() string {
	switch {
	case t.Error != "":
		return display.Clean(t.Error)
	case t.Missing:
		return stateMissing
	default:
		return stateUnread
	}
}

// behind is how far the reader that is furthest behind is.
func (t topicView) behind() (most time.Duration) {
	for _, r := range t.Readers {
		most = max(most, r.behind)
	}
	return most
}
