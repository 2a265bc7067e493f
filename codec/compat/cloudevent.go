package compat

import (
	"slices"
	"strings"
	"time"

	"millrace/codec"
)

// CloudEvent is an event in the structured form of CloudEvents 1.0, as Dapr writes it, for
// [codec.JSON]. The attributes that are required by the specification are checked. Attributes
// that are not listed are lost.
type CloudEvent[T any] struct {
	ID              string     `json:"id" validate:"required"`
	Source          string     `json:"source" validate:"required"`
	SpecVersion     string     `json:"specversion" validate:"eq=1.0"`
	Type            string     `json:"type" validate:"required"`
	Subject         string     `json:"subject,omitempty"`
	Time            *time.Time `json:"time,omitempty"`
	DataContentType string     `json:"datacontenttype,omitempty"`
	DataSchema      string     `json:"dataschema,omitempty"`
	// Topic, PubSubName, TraceParent and TraceState are Dapr's.
	Topic       string `json:"topic,omitempty"`
	PubSubName  string `json:"pubsubname,omitempty"`
	TraceParent string `json:"traceparent,omitempty"`
	TraceState  string `json:"tracestate,omitempty"`
	Data        T      `json:"data"`
}

// NewCloudEvent returns the event with a random ID, the present time and JSON as its content
// type.
func NewCloudEvent[T any](source, kind string, data T) CloudEvent[T] {
	now := time.Now().UTC()
	return CloudEvent[T]{
		ID: newUUID(), Source: source, SpecVersion: "1.0", Type: kind,
		Time: &now, DataContentType: "application/json", Data: data,
	}
}

// BinaryEvent is an event in the binary form of CloudEvents 1.0.
type BinaryEvent[T any] struct {
	ID, Source, Type string // required
	// Attributes are all others by their names, such as subject; without the prefix ce_.
	Attributes map[string]string
	// ContentType is that of the data. Encode writes application/json where it is empty.
	ContentType string
	Data        T
}

// CloudEventBinary is the codec of entries with the attributes of a CloudEvent in fields of their own,
// ce_id, ce_source, ce_type, ce_specversion and so on, content-type, and the event in the
// field data.
type CloudEventBinary[T any] struct {
	// Data is the codec of the data, as a field called payload. Default: codec.JSON[T]{}.
	Data codec.Codec[T]
}

const (
	attributePrefix = "ce_"
	attributeID     = attributePrefix + "id"
	attributeSource = attributePrefix + "source"
	attributeType   = attributePrefix + "type"
	attributeSpec   = attributePrefix + "specversion"
	contentType     = "content-type"
	dataField       = "data"
)

// Check reports what the codec of the data reports.
func (c CloudEventBinary[T]) Check() error { return check(c.Data) }

// Decode returns the event of an entry. All that is wrong with its attributes is in one
// [codec.FieldErrors].
func (c CloudEventBinary[T]) Decode(fields codec.Fields) (event BinaryEvent[T], err error) {
	var problems codec.FieldErrors
	attribute := func(name string) string {
		text, err := required[T](fields, name)
		if found, ok := err.(codec.FieldErrors); ok { //nolint:errorlint // it is made here
			problems = append(problems, found...)
		} else if text == "" {
			problems = append(problems, &codec.FieldError{Field: name, Type: "string", Reason: "is blank"})
		}
		return text
	}
	event.ID, event.Source, event.Type = attribute(attributeID), attribute(attributeSource), attribute(attributeType)
	if version := attribute(attributeSpec); version != "" && version != "1.0" {
		problems = append(problems, &codec.FieldError{Field: attributeSpec, Type: "string", Reason: "is another version of CloudEvents than 1.0"})
	}
	text, err := required[T](fields, dataField)
	if found, ok := err.(codec.FieldErrors); ok { //nolint:errorlint // it is made here
		problems = append(problems, found...)
	}
	if len(problems) > 0 {
		return BinaryEvent[T]{}, problems
	}
	event.ContentType, _ = fields.Get(contentType)
	for name, value := range fields.All() {
		short, is := strings.CutPrefix(name, attributePrefix)
		if !is || slices.Contains([]string{attributeID, attributeSource, attributeType, attributeSpec}, name) {
			continue
		}
		if event.Attributes == nil {
			event.Attributes = map[string]string{}
		}
		event.Attributes[short] = value
	}
	if event.Data, err = innerOf(c.Data).Decode(codec.FieldsOf(payload, text)); err != nil {
		return BinaryEvent[T]{}, renamed(err, dataField)
	}
	return event, nil
}

// Encode returns the fields of the event. Its error is a [codec.FieldErrors].
func (c CloudEventBinary[T]) Encode(event BinaryEvent[T]) ([]string, error) {
	pairs := []string{attributeID, event.ID, attributeSource, event.Source, attributeType, event.Type, attributeSpec, "1.0"}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return nil, fail[T](pairs[i], "is required by CloudEvents; set it")
		}
	}
	names := make([]string, 0, len(event.Attributes))
	for name := range event.Attributes {
		if slices.Contains(pairs, attributePrefix+name) || !isAttribute(name) {
			return nil, fail[T](attributePrefix+"...", "is no name of an attribute; use lower-case letters and digits, and none of the required names")
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		pairs = append(pairs, attributePrefix+name, event.Attributes[name])
	}
	inner, err := innerOf(c.Data).Encode(event.Data)
	if err != nil {
		return nil, renamed(err, dataField)
	}
	text, err := payloadOf[T](inner)
	if err != nil {
		return nil, err
	}
	kind := event.ContentType
	if kind == "" {
		kind = "application/json"
	}
	return append(pairs, contentType, kind, dataField, text), nil
}

func isAttribute(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// renamed returns the errors about a payload, which stands in another field.
func renamed(err error, field string) error {
	found, ok := err.(codec.FieldErrors) //nolint:errorlint // a cause would be lost, and stays as it is
	if !ok {
		return err
	}
	all := make(codec.FieldErrors, len(found))
	for i, e := range found {
		again := *e
		if rest, is := strings.CutPrefix(e.Field, payload); is {
			again.Field = field + rest
		}
		all[i] = &again
	}
	return all
}
