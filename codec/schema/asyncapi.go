package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// AsyncAPI makes an AsyncAPI 3 document of topics, those who write and read them, and their dead
// letters. The zero value needs a title and a version.
type AsyncAPI struct {
	// Title and Version are those of the application. Both are required.
	Title, Version string
	// Description says more about it; it may be empty.
	Description string

	topics []Topic
}

// Topic is a topic as [AsyncAPI] describes it.
type Topic struct {
	// Name is the key of the stream.
	Name string
	// Events describes its events, see [Of].
	Events Document
	// Description says more about it; it may be empty.
	Description string
	// Producers are the names of those who write it, and Groups and Labels those of its readers in
	// group mode and in log mode.
	Producers, Groups, Labels []string
	// DeadLetters is the stream of its dead letters, or empty if there are none.
	DeadLetters string
	// Retention says how long entries are kept, such as "7 days"; it may be empty.
	Retention string
}

// Add adds topics to the document.
func (a *AsyncAPI) Add(topics ...Topic) { a.topics = append(a.topics, topics...) }

// JSON returns the document, the same for the same topics. Its error lists all that is missing
// or there twice.
func (a *AsyncAPI) JSON() ([]byte, error) {
	problems := a.problems()
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	channels, operations, messages := map[string]any{}, map[string]any{}, map[string]any{}
	for _, t := range a.topics {
		id := idOf(t.Name)
		messages[id] = t.message()
		channel := map[string]any{"address": t.Name, "messages": map[string]any{"event": ref("components", "messages", id)}}
		describe(channel, t.Description)
		extra := map[string]any{}
		if t.Retention != "" {
			extra["retention"] = t.Retention
		}
		if t.DeadLetters != "" {
			extra["deadLetters"] = t.DeadLetters
			channels[id+"-dead"] = map[string]any{
				"address": t.DeadLetters, "description": "Dead letters of " + t.Name + ": the fields of the entry, and headers that tell why.",
				"messages": map[string]any{"event": ref("components", "messages", id)}, "x-millrace": map[string]any{"deadLettersOf": t.Name},
			}
		}
		if len(extra) > 0 {
			channel["x-millrace"] = extra
		}
		channels[id] = channel
		for _, of := range []struct {
			action, kind string
			names        []string
		}{{"send", "producer", t.Producers}, {"receive", "group", t.Groups}, {"receive", "label", t.Labels}} {
			for _, name := range of.names {
				operations[id+"-"+of.kind+"-"+idOf(name)] = map[string]any{
					"action": of.action, "channel": ref("channels", id), "messages": []any{ref("channels", id, "messages", "event")},
					"x-millrace": map[string]any{of.kind: name},
				}
			}
		}
	}
	info := map[string]any{"title": a.Title, "version": a.Version}
	describe(info, a.Description)
	document := map[string]any{
		"asyncapi": "3.0.0", "info": info, "channels": channels, "operations": operations,
		"components": map[string]any{"messages": messages},
	}
	text, err := json.MarshalIndent(document, "", "  ")
	return append(text, '\n'), err
}

func (a *AsyncAPI) problems() (problems []error) {
	if strings.TrimSpace(a.Title) == "" || strings.TrimSpace(a.Version) == "" {
		problems = append(problems, errors.New("schema: AsyncAPI.Title or Version is blank; give both"))
	}
	ids := map[string]string{}
	for _, t := range a.topics {
		if strings.TrimSpace(t.Name) == "" {
			problems = append(problems, errors.New("schema: Topic.Name is blank; give the key of the stream"))
			continue
		}
		if other, twice := ids[idOf(t.Name)]; twice {
			problems = append(problems, fmt.Errorf("schema: the topics %q and %q have one name in the document; rename one, or leave it out", other, t.Name))
		}
		ids[idOf(t.Name)] = t.Name
		if t.Events.root == nil {
			problems = append(problems, fmt.Errorf("schema: Topic.Events of %q is empty; make it with Of", t.Name))
		}
	}
	return problems
}

// message is the message of a topic's events. The document of the events has an identity of its
// own, so that its references lead into it.
func (t Topic) message() map[string]any {
	payload := without(t.Events.root, "")
	payload["$id"] = idOf(t.Name) + ".json"
	message := map[string]any{
		"contentType": "application/json",
		"payload":     map[string]any{"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": payload},
	}
	if title := t.Events.Title(); title != "" {
		message["name"] = title
	}
	return message
}

func describe(of map[string]any, text string) {
	if text != "" {
		of["description"] = text
	}
}

func ref(path ...string) map[string]any {
	return map[string]any{"$ref": "#/" + strings.Join(path, "/")}
}

// idOf makes a name in the document of a key.
func idOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}
