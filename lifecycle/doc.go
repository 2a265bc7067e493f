// Package lifecycle consumes the user-lifecycle topic: users that are blocked
// for good, users that are deleted, and the types that a configuration adds.
//
// It is one instantiation of package stream, and an example of how little a
// topic needs: [Event] declares the fields, [Topic] names the stream, and
// [Consumer] adds the parts that only this topic has, which are a set of known event
// types and a handler that can be registered while the consumer runs. [Producer]
// publishes events of these types.
//
// The package replaces a hand-written consumer, and keeps two of its properties, which
// differ from package stream: [Consumer.Run] returns ctx.Err() after a clean stop, and
// [Consumer.OnEvent] registers the handler after the consumer was made.
package lifecycle
