package middleware

import (
	"context"
	"log/slog"
	"time"

	"millrace/stream"
)

// Logging writes one line for every delivery of an entry, with its stream, ID,
// delivery count and duration, at a level that follows from the outcome:
//
//	Debug  handled, or failed
//	Info   skipped, or interrupted because the consumer stops
//	Warn   cannot be decoded
//
// The engine writes no line of its own for a delivery that is logged here. It logs the
// beginning of failures, the number of held entries every half minute while they last, and
// their end. It also logs each dead letter, once that is written, and each entry that is put off
// (stream.RetryAfter); Logging does not.
// Fields of the entry are never logged.
// A nil logger means slog.Default() at the time of the call.
func Logging(logger *slog.Logger) stream.Middleware {
	if logger == nil {
		logger = slog.Default()
	}
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			begun := time.Since(origin)
			err := next(ctx, entry)
			level, message := slog.LevelDebug, "entry handled"
			if err != nil {
				if level, message = lineOf(entry.Outcome(ctx, err)); message == "" {
					return err
				}
			}
			if !isEnabled(ctx, logger, level) {
				return err
			}
			attrs := []slog.Attr{
				slog.String("stream", entry.Stream),
				slog.String("entry_id", entry.ID),
				slog.Int64("attempt", entry.Deliveries),
				slog.Duration("duration", time.Since(origin)-begun),
			}
			if err != nil {
				attrs = append(attrs, slog.Any("err", err))
			}
			if outlast(func() { logger.LogAttrs(ctx, level, message, attrs...) }) == nil {
				entry.MarkLogged()
			}
			return err
		}
	}
}

// isEnabled is logger.Enabled for a log handler that may panic.
func isEnabled(ctx context.Context, logger *slog.Logger, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return logger.Enabled(ctx, level)
}

// origin is the zero of a clock for durations: time.Since costs half as much as time.Now.
var origin = time.Now()

// lineOf returns the level and the message of a line about a delivery that did not succeed, and
// no message where the engine logs the line.
func lineOf(outcome stream.Outcome) (slog.Level, string) {
	switch outcome {
	case stream.OutcomeDeadLettered, stream.OutcomeClaimed, stream.OutcomePostponed:
		return slog.LevelWarn, ""
	case stream.OutcomeSkipped:
		return slog.LevelInfo, "entry skipped"
	case stream.OutcomeAbsorbed:
		return slog.LevelWarn, "entry not decoded"
	case stream.OutcomeInterrupted:
		return slog.LevelInfo, "entry interrupted"
	default:
		return slog.LevelDebug, "entry failed"
	}
}
