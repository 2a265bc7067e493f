package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"millrace/codec"
	"millrace/stream"
)

// publish are the flags of publish.
type publish struct {
	once   string
	maxLen int64
}

func (c *cli) publish() *cobra.Command {
	var p publish
	command := c.command(spec{
		use: "publish TOPIC [NAME=VALUE...]", short: "Add entries to a stream, and print their IDs.",
		more: "Without fields, each line of the standard input is an entry: a JSON object, whose values are texts, or\n" +
			"else go in as JSON. It is not checked what readers make of them. A line that cannot be read ends it; those\n" +
			"before it were added. After an error of the server an entry may be there; --once makes a repeat harmless.",
		examples: []string{"millrace publish orders user_id=42 cents=900", "millrace publish orders < orders.ndjson", "millrace publish orders user_id=42 cents=900 --once order-4711"},
		rights:   "~TOPIC +xadd; --once ~{TOPIC}:once:* +eval +evalsha +set +get", exits: []int{exitRefused}, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			if s.server.ReadOnly {
				return refused(fmt.Errorf("the context %s is read-only; nothing was added", s.server.Name))
			}
			return p.run(ctx, s, args[0], args[1:])
		},
	})
	command.Flags().StringVar(&p.once, "once", "", "add the entry once for this `key`, however often the command is repeated within 24 hours")
	command.Flags().Int64Var(&p.maxLen, "max-len", 0, "trim the stream to about so many `entries`")
	return command
}

func (p *publish) run(ctx context.Context, s *session, topic string, texts []string) error {
	if p.once != "" && len(texts) == 0 {
		return usage(errors.New("--once is for one entry; give its fields"))
	}
	var opts []stream.ProducerOption
	if p.maxLen != 0 {
		opts = append(opts, stream.WithMaxLen(p.maxLen))
	}
	producer, err := stream.NewProducer(s.client, stream.Topic[codec.Fields]{Name: topic, Codec: rawCodec{}}, opts...)
	if err != nil {
		return err
	}
	if len(texts) > 0 {
		fields, err := parsePairs(texts)
		if err != nil {
			return err
		}
		var id string
		if p.once != "" {
			id, err = producer.PublishOnce(ctx, p.once, fields)
		} else {
			id, err = producer.Publish(ctx, fields)
		}
		if err != nil {
			return err
		}
		return s.added(id)
	}
	return p.lines(ctx, s, producer)
}

// lines adds an entry for each line of the input.
func (p *publish) lines(ctx context.Context, s *session, producer *stream.Producer[codec.Fields]) error {
	input := bufio.NewReader(contextReader(ctx, s.In))
	for n := 1; ; n++ {
		line, err := input.ReadString('\n')
		if ctx.Err() != nil {
			return &codeError{exitInterrupted, fmt.Errorf("interrupted; the entries of %d lines were added", n-1)}
		}
		if text := strings.TrimSpace(line); text != "" {
			fields, problem := parseObject(text)
			if problem != nil {
				return fmt.Errorf("line %d: %w; the entries of the lines before it were added", n, problem)
			}
			id, problem := producer.Publish(ctx, fields)
			if problem != nil {
				return fmt.Errorf("line %d: %w", n, problem)
			}
			if problem := s.added(id); problem != nil {
				return problem
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the input: %w", err)
		}
	}
}

func (s *session) added(id string) error { return s.result(map[string]string{"id": id}, id) }

func parsePairs(texts []string) (codec.Fields, error) {
	var all []string
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return codec.Fields{}, usage(errors.New("a field is not written as NAME=VALUE"))
		}
		all = append(all, name, value)
	}
	return codec.FieldsOf(all...), nil
}

// errObject tells how a line has to be, and shows nothing of the line.
var errObject = errors.New(`it is no JSON object with fields, such as {"user_id": "42"}`)

// parseObject reads a JSON object, in its order.
func parseObject(text string) (codec.Fields, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return codec.Fields{}, errObject
	}
	var all []string
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return codec.Fields{}, errObject
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return codec.Fields{}, errObject
		}
		all = append(all, name, textOf(value))
	}
	if _, err := decoder.Token(); err != nil || len(all) == 0 || strings.TrimSpace(text[decoder.InputOffset():]) != "" {
		return codec.Fields{}, errObject
	}
	return codec.FieldsOf(all...), nil
}

func textOf(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && value[0] == '"' {
		return text
	}
	return string(value)
}

// rawCodec writes fields as they are.
type rawCodec struct{}

// Decode returns the fields.
func (rawCodec) Decode(f codec.Fields) (codec.Fields, error) { return f, nil }

// Encode returns the pairs of the fields.
func (rawCodec) Encode(f codec.Fields) ([]string, error) {
	var all []string
	for name, value := range f.All() {
		all = slices.Concat(all, []string{name, value})
	}
	return all, nil
}
