package otelstream

import (
	"go.opentelemetry.io/otel/attribute"

	"millrace/middleware/internal/telemetry"
)

// The names follow the semantic conventions for messaging, version 1.43; those that begin with
// millrace. are ours.
const (
	scopeName = "millrace/middleware/otelstream"
	schemaURL = "https://opentelemetry.io/schemas/1.43.0"
	// messagingSystem is not in the list of the conventions, which have no word for Redis
	// Streams; db.system.name has it as redis.
	messagingSystem = "redis"
)

// Operations, which are also the first word of a span's name.
const (
	operationPublish = "publish"
	operationProcess = "process"
	operationReceive = "receive"
	operationAck     = "ack"
)

// Attributes.
const (
	attrSystem        = attribute.Key("messaging.system")
	attrDestination   = attribute.Key("messaging.destination.name")
	attrOperation     = attribute.Key("messaging.operation.name")
	attrOperationType = attribute.Key("messaging.operation.type")
	attrGroup         = attribute.Key("messaging.consumer.group.name")
	attrClientID      = attribute.Key("messaging.client.id")
	attrMessageID     = attribute.Key("messaging.message.id")
	attrBatchCount    = attribute.Key("messaging.batch.message_count")
	attrErrorType     = attribute.Key("error.type")

	attrLabel   = attribute.Key("millrace.label")
	attrAttempt = attribute.Key("millrace.attempt")
	attrOutcome = attribute.Key("millrace.outcome")
)

// eventAttempt is the event of an attempt that failed inside of a retry.
const eventAttempt = "millrace.attempt.failed"

// Metrics that are not made of stream.Stats.
const (
	metricConsumed          = "messaging.client.consumed.messages"
	metricSent              = "messaging.client.sent.messages"
	metricOperationDuration = "messaging.client.operation.duration"
	metricProcessDuration   = "messaging.process.duration"
	metricEntryAge          = "millrace.entry.age"
	metricLagEntries        = "millrace.lag.entries"
	metricLagTime           = "millrace.lag.time"
	metricPending           = "millrace.pending"
	metricLive              = "millrace.live"
	metricReady             = "millrace.ready"
)

// Of the numbers of stream.Stats, the outcomes are one metric with an attribute, and all others
// have their name behind this prefix.
const (
	metricPrefix   = "millrace."
	outcomePrefix  = "outcomes."
	metricOutcomes = "millrace.outcomes"
)

// Units, as UCUM writes them.
const (
	unitSeconds  = "s"
	unitMessages = "{message}"
	unitEntries  = "{entry}"
	unitConsumer = "{consumer}"
)

// keyAttributes are the attributes of a metric's series.
func keyAttributes(key telemetry.Key, more ...attribute.KeyValue) []attribute.KeyValue {
	list := []attribute.KeyValue{attrSystem.String(messagingSystem), attrDestination.String(key.Stream)}
	if key.Group != "" {
		list = append(list, attrGroup.String(key.Group))
	}
	if key.Label != "" {
		list = append(list, attrLabel.String(key.Label))
	}
	return append(list, more...)
}

// operationAttributes are those of an operation, and of its error if it has failed.
func operationAttributes(name, kind, errorType string) []attribute.KeyValue {
	list := []attribute.KeyValue{attrOperation.String(name), attrOperationType.String(kind)}
	if errorType != "" {
		list = append(list, attrErrorType.String(errorType))
	}
	return list
}
