package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
	"millrace/stream/cmd/millrace/internal/server"
)

// session is a command at work on a server.
type session struct {
	*cli
	server server.Context
	client redis.UniversalClient
	admin  *admin.Admin
	out    *display.Output
	// messages is where say writes.
	messages io.Writer
}

// contextFile returns the path of the file of contexts.
func (c *cli) contextFile() string {
	folder := c.Env("XDG_CONFIG_HOME")
	if folder == "" {
		folder = filepath.Join(c.Env("HOME"), ".config")
	}
	return filepath.Join(folder, "millrace", "contexts.json")
}

// chosen returns the server that the flags, or else the environment, name.
func (c *cli) chosen() (server.Context, error) {
	switch {
	case c.url != "" && c.context != "":
		return server.Context{}, usage(errors.New("give --url or --context, not both"))
	case c.url != "":
		return server.Context{URL: c.url}, nil
	case c.context != "":
		return c.named(c.context)
	}
	for _, name := range []string{"MILLRACE_URL", "REDIS_URL"} {
		if url := c.Env(name); url != "" {
			return server.Context{URL: url}, nil
		}
	}
	return server.Context{URL: "redis://127.0.0.1:6379"}, nil
}

func (c *cli) named(name string) (server.Context, error) {
	list, err := server.Contexts(c.contextFile())
	if err != nil {
		return server.Context{}, err
	}
	at := slices.IndexFunc(list, func(one server.Context) bool { return one.Name == name })
	if at < 0 {
		return server.Context{}, usage(fmt.Errorf("there is no context %q in %s; add it, or give --url", name, c.contextFile()))
	}
	return list[at], nil
}

// open makes a session. It sends nothing.
func (c *cli) open() (*session, error) {
	if !slices.Contains(display.Formats, c.format) {
		return nil, usage(fmt.Errorf("--output %q: give one of %s", c.format, strings.Join(display.Formats, ", ")))
	}
	chosen, err := c.chosen()
	if err != nil {
		return nil, err
	}
	at, err := server.Parse(chosen.URL)
	if err != nil {
		return nil, usage(err)
	}
	opts := []admin.Option{
		// A person sees the plan and the result; the audit is for others.
		admin.WithLogger(slog.New(slog.DiscardHandler)),
		admin.WithKeyspace(c.keyspace),
	}
	if c.audit != "" {
		opts = append(opts, admin.WithAudit(c.audit))
	}
	if len(c.offsets) > 0 {
		opts = append(opts, admin.WithOffsets(c.offsets...))
	}
	client := at.Client(c.Hooks...)
	a, err := admin.New(client, opts...)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &session{cli: c, server: chosen, client: client, admin: a, out: c.newOutput(), messages: c.Err}, nil
}

// close closes the client. Its error is of no concern: the command is over.
func (s *session) close() { _ = s.client.Close() }

// say writes a line to the standard error, where people look and pipes do not.
func (s *session) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.messages, format+"\n", args...)
}

// reader returns the reader of a topic that an argument names: group:billing, label:search, or
// its name alone.
func (s *session) reader(ctx context.Context, topic, name string) (admin.Reader, error) {
	if group, is := strings.CutPrefix(name, "group:"); is {
		return admin.Group(topic, group), nil
	}
	if label, is := strings.CutPrefix(name, "label:"); is {
		return admin.Label(topic, label), nil
	}
	standings, err := s.admin.Readers(ctx, topic)
	if err != nil {
		return admin.Reader{}, err
	}
	var names []string
	for _, standing := range standings { // groups come first
		r := standing.Reader
		if r.Group == name || r.Label == name {
			return r, nil
		}
		names = append(names, r.Address())
	}
	if len(names) == 0 {
		names = []string{"nobody"}
	}
	return admin.Reader{}, fmt.Errorf("%w: %s of %s; it is read by %s", admin.ErrNoReader, name, topic, strings.Join(names, ", "))
}

// groupName returns the name of a group that an argument gives, with its address or without.
func groupName(text string) string { return strings.TrimPrefix(text, "group:") }

// spokenAddress names the reader of an address: group billing.
func spokenAddress(address string) string { return strings.Replace(address, ":", " ", 1) }

// with returns a session that prints to another writer.
func (s *session) with(to io.Writer) *session {
	other := *s
	out := *s.out
	out.Writer = to
	other.out = &out
	return &other
}

// clock writes a time for people: without the date if it is today's.
func (c *cli) clock(t time.Time) string {
	if t.IsZero() {
		return display.None
	}
	now := c.now()
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// instant writes a time for people, to the millisecond.
func (c *cli) instant(t time.Time) string {
	return t.In(c.now().Location()).Format("2006-01-02 15:04:05.000")
}

// now returns the time, in the location of the times that are shown.
func (c *cli) now() time.Time {
	if c.utc {
		return c.Now().UTC()
	}
	return c.Now()
}

// newOutput returns an output as the flags and the terminal want it.
func (c *cli) newOutput() *display.Output {
	o := &display.Output{Writer: c.out, Format: c.format}
	if c.Terminal.Out {
		o.Columns = 80
		if columns, _, err := c.Terminal.Size(); err == nil && columns > 0 {
			o.Columns = columns
		}
		if c.Env("NO_COLOR") == "" && c.Env("TERM") != "dumb" {
			o.Colours = colours
		}
	}
	return o
}
