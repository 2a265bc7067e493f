package stream

// PublishOption changes one call of a method of a [Producer] from its default. The functions
// that return one make them; there are no others.
type PublishOption interface {
	applyToPublish(*publishConfig)
}

type publishOption func(*publishConfig)

func (set publishOption) applyToPublish(c *publishConfig) { set(c) }

// publishConfig holds everything that a PublishOption can change.
type publishConfig struct {
	headers []string // name, value, and so on
}

// headersOf returns the headers that the options of a call ask for. A call without options
// allocates nothing here.
func headersOf(opts []PublishOption) []string {
	if len(opts) == 0 {
		return nil
	}
	var c publishConfig
	for _, opt := range opts {
		if opt != nil {
			opt.applyToPublish(&c)
		}
	}
	return c.headers
}

// WithHeader adds a header to each entry of the call: a field behind those of the value, which
// is not the event's. Default: none. Given more than once, the headers are written in that
// order, repeated names included, and before those of [WithPublishMiddleware].
//
//	id, err := producer.Publish(ctx, event, stream.WithHeader("traceparent", trace))
//
// The codecs of this module ignore a header whose name is reserved ([codec.IsHeader]), and
// [Entry.Header] returns its value. Any other name is a field like those of the value: it is
// in [Entry.Fields], a remain map takes it, and a codec that refuses fields which its type
// does not declare refuses the entry. Names that begin with "millrace." are for this module.
//
// A header that has a blank name, or the name of a field of the value, is an [*EncodeError].
// A header takes memory in each entry, see [WithPublishMiddleware].
func WithHeader(name, value string) PublishOption {
	return publishOption(func(c *publishConfig) { c.headers = append(c.headers, name, value) })
}
