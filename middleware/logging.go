package middleware

import (
	"context"
	"errors"
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
// The engine writes no line of its own for a delivery that is logged here. It logs what
// concerns more than one: that deliveries begin to fail, how many entries are held
// every half minute while they do, and that they work again. It also logs each dead
// letter, once that is written; Logging does not. Fields of the entry are never logged.
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
				if level, message = outcome(ctx, err); message == "" {
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

// origin makes a clock of which only the differences count, at half of the cost of
// time.Now.
var origin = time.Now()

// outcome tells a failure from the others; no message is that the engine logs it. It is
// not for nil: what errors.As looks into is allocated whether there is anything to look
// for or not.
func outcome(ctx context.Context, err error) (slog.Level, string) {
	var (
		dead   *stream.DeadLetterError
		skip   *stream.SkipError
		decode *stream.DecodeError
	)
	stopped := ctx.Err() != nil
	switch {
	case errors.As(err, &dead) && !stopped:
		return slog.LevelWarn, ""
	case errors.As(err, &dead):
		return slog.LevelInfo, "entry interrupted"
	case errors.As(err, &skip):
		return slog.LevelInfo, "entry skipped"
	case errors.As(err, &decode):
		return slog.LevelWarn, "entry not decoded"
	case stopped || errors.Is(err, stream.ErrStopping):
		return slog.LevelInfo, "entry interrupted"
	default:
		return slog.LevelDebug, "entry failed"
	}
}
