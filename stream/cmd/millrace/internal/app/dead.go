package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// letterView is a dead letter, as it is printed. Only show has the fields.
type letterView struct {
	ID       string        `json:"id"`
	At       string        `json:"at"`
	Reader   string        `json:"reader"`
	EntryID  string        `json:"entryId"`
	OriginID string        `json:"originId"`
	Attempts int64         `json:"attempts"`
	Redrives int           `json:"redrives"`
	EditedBy string        `json:"editedBy,omitempty"`
	Cause    string        `json:"cause"`
	Fields   display.Pairs `json:"fields,omitempty"`
	Headers  display.Pairs `json:"headers,omitempty"`
}

// causeView is a cause, as it is printed.
type causeView struct {
	Count   int64  `json:"count"`
	Reader  string `json:"reader,omitempty"`
	Cause   string `json:"cause"`
	First   string `json:"first"`
	Last    string `json:"last"`
	Example string `json:"example"`

	of admin.Cause
}

const rightsDead = "~{TOPIC}:dead +xrange +xrevrange; --older-than +time"

func (c *cli) dead() *cobra.Command {
	command := &cobra.Command{
		Use: "dead COMMAND", Short: "Look at dead letters: causes, list, show.", DisableFlagsInUseLine: true,
		Example:     "millrace dead causes orders\nmillrace dead list orders --since 1h\nmillrace dead show orders 1795827996968-0",
		Annotations: map[string]string{annotationRights: rightsDead, annotationExits: exitLine(nil)},
		Args:        cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return errors.New("give one of causes, list, show")
		},
	}
	command.AddCommand(c.deadCauses(), c.deadList(), c.deadShow())
	return command
}

func (c *cli) deadCauses() *cobra.Command {
	var (
		most int
		dead string
		w    watch
	)
	command := c.command(spec{
		use: "causes TOPIC", short: "Count dead letters by reader and cause.",
		more:     "In a cause, numbers, IDs, addresses and quoted values are #; --cause of redrive and drop takes it so.",
		examples: []string{"millrace dead causes orders", "millrace dead causes orders -w 10s", "millrace dead causes orders --dead-letters orders:failed -o json"},
		rights:   rightsDead, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			return w.run(ctx, s, func(ctx context.Context, s *session) error { return s.showCauses(ctx, args[0], dead, most) })
		},
	})
	command.Flags().IntVar(&most, "most", 10_000, "`number` of letters that are looked at, from the last one on")
	deadFlag(command.Flags(), &dead)
	w.flag(command.Flags())
	return command
}

func (s *session) showCauses(ctx context.Context, topic, dead string, most int) error {
	causes, err := s.admin.Causes(ctx, topic, most, admin.FromDeadLetters(dead))
	if err != nil {
		return err
	}
	var total int64
	readers := map[admin.Reader]bool{}
	views := make([]causeView, len(causes))
	for i, cause := range causes {
		total += cause.Count
		views[i] = causeView{Count: cause.Count, Cause: cause.Text, First: utc(cause.First), Last: utc(cause.Last), Example: cause.Example, of: cause}
		if cause.Reader != (admin.Reader{}) {
			readers[cause.Reader] = true
			views[i].Reader = cause.Reader.Address()
		}
	}
	if len(causes) == 0 {
		s.say("There are no dead letters%s.", placeOf(dead))
	} else if s.format == display.FormatTable {
		oldest := slices.MinFunc(causes, func(a, b admin.Cause) int { return a.First.Compare(b.First) }).First
		if err := s.out.Printf("  %s of %s, since %s\n", display.Many(int(total), "dead letter"), display.Many(len(readers), "reader"), s.clock(oldest)); err != nil {
			return err
		}
	}
	err = display.Emit(s.out, []string{">COUNT", "READER", "CAUSE", "FIRST", "LAST", "EXAMPLE"}, views, func(v causeView) []string {
		return []string{display.Number(v.Count), display.OrNone(display.Clean(spokenAddress(v.Reader))), display.Clean(v.Cause), s.clock(v.of.First), s.clock(v.of.Last), v.Example}
	})
	if err == nil && total >= int64(most) {
		s.say("These are the last %s; --most looks at more.", display.Number(int64(most)))
	}
	return err
}

func (c *cli) deadList() *cobra.Command {
	var (
		l     letters
		limit int
	)
	command := c.command(spec{
		use: "list TOPIC", short: "List dead letters, without the values of their fields.",
		examples: []string{"millrace dead list orders", "millrace dead list orders --cause 'connection refused' --since 1h", "millrace dead list orders --limit 0 -o ndjson"},
		rights:   rightsDead, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			where, err := l.where(s.Now())
			if err != nil {
				return err
			}
			return s.listLetters(ctx, args[0], where, limit)
		},
	})
	l.flags(command.Flags())
	command.Flags().IntVar(&limit, "limit", 100, "`number` of letters at most, from the first one on; 0 is all")
	return command
}

func (s *session) listLetters(ctx context.Context, topic string, where admin.Where, limit int) error {
	var views []letterView
	strangers, more := 0, false
	for letter, err := range s.admin.DeadLetters(ctx, topic, where) {
		if stranger := (*admin.NoLetterError)(nil); errors.As(err, &stranger) {
			strangers++
			continue
		}
		if err != nil {
			return err
		}
		if more = limit > 0 && len(views) == limit; more {
			break
		}
		views = append(views, viewLetter(letter))
	}
	err := display.Emit(s.out, []string{"ID", "AT", "READER", ">ATTEMPTS", ">REDRIVES", "CAUSE"}, views, func(v letterView) []string {
		return []string{v.ID, s.instant(admin.TimeOf(v.ID)), display.Clean(spokenAddress(v.Reader)), display.Number(v.Attempts), strconv.Itoa(v.Redrives), display.Clean(v.Cause)}
	})
	switch {
	case more:
		s.say("There are more; --limit 0 shows all.")
	case len(views) == 0:
		s.say("There are no dead letters of this kind.")
	}
	if strangers > 0 {
		s.say("%d entries are no dead letters.", strangers)
	}
	return err
}

func (c *cli) deadShow() *cobra.Command {
	var dead string
	command := c.command(spec{
		use: "show TOPIC ID", short: "Show one dead letter with its fields.",
		more:     "Field values are shown: that is what it is for.",
		examples: []string{"millrace dead show orders 1795827996968-0", "millrace dead show orders 1795827996968-0 -o json", "millrace dead show orders 1795827996968-0 --dead-letters orders:failed"},
		rights:   rightsDead, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			where := admin.Where{IDs: []string{args[1]}, DeadLetterStream: dead}
			for letter, err := range s.admin.DeadLetters(ctx, args[0], where) {
				if err != nil {
					return err
				}
				return s.showLetter(letter)
			}
			return fmt.Errorf("there is no dead letter %s of %s; it was redriven or deleted, or never was there", args[1], args[0])
		},
	})
	deadFlag(command.Flags(), &dead)
	return command
}

func (s *session) showLetter(letter admin.Letter) error {
	view := viewLetter(letter)
	view.Fields, view.Headers = display.Split(letter.Fields)
	if s.format != display.FormatTable {
		return s.out.JSON(view)
	}
	text := fmt.Sprintf("%s  %s\n", s.out.Title(letter.ID), s.instant(admin.TimeOf(letter.ID)))
	for _, line := range [][2]string{
		{"reader", spokenAddress(view.Reader)}, {"cause", letter.Cause}, {"attempts", display.Number(letter.Attempts)},
		{"entry", letter.EntryID}, {"origin", letter.OriginID}, {"redrives", strconv.Itoa(letter.Redrives)}, {"edited by", letter.EditedBy},
	} {
		if line[1] != "" {
			text += fmt.Sprintf("%-10s %s\n", line[0], display.Clean(line[1]))
		}
	}
	return s.out.Printf("%sfields\n%s", text, display.FieldLines(letter.Fields))
}

func viewLetter(l admin.Letter) letterView {
	return letterView{
		ID: l.ID, At: utc(l.At), Reader: l.Reader.Address(), EntryID: l.EntryID, OriginID: l.OriginID,
		Attempts: l.Attempts, Redrives: l.Redrives, EditedBy: l.EditedBy, Cause: l.Cause,
	}
}

// utc writes a time for JSON.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
