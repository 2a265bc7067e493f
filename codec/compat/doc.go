// Package compat has codecs and types for entries that other systems write, so that a topic can
// be moved over while both sides use it.
//
// Those whose events stand as JSON in one field need no codec of their own: [CloudEvent] and
// [Change] are types for [codec.JSON].
//
//   - Watermill: [Watermill], in both directions. Read alone, codec.JSON[T]{} is enough.
//   - Dapr: codec.JSON[compat.CloudEvent[T]]{Field: "data"}, and [NewCloudEvent] for writing. With
//     rawPayload=true the field has the event alone.
//   - CloudEvents, structured: the same with the field that the producer has. Binary:
//     [CloudEventBinary]. There is no official binding for Redis: the names are by analogy with
//     the one for Kafka.
//   - Debezium Server: codec.JSON[compat.Change[T]]{Field: "value"} for its extended form,
//     [DebeziumCompact] for the compact one, both with [DebeziumTombstone].
//   - FastStream: [FastStream], for the binary form of version 0.6 and later; before that the
//     field data had JSON.
//   - Spring: its flattened names are those of [codec.Struct], where a tag names each path, such as
//     mapstructure:"address.city". The field _class is ignored.
//
// Errors are [codec.FieldErrors]: they name fields, and no values. All codecs are safe for
// concurrent use, and their zero values are ready to use where they have no required field.
package compat
