package main

// roomMutants are deliberate bugs in the other packages, that their own tests have to
// catch.
var roomMutants = []mutant{
	{
		name: "tags behind a pointer in a nested struct are not looked at",
		edits: []edit{{
			"codec/proof.go",
			"if tag != \"\" || !isSilent(f.Type, seen) {",
			"if tag != \"\" || f.Type.Kind() != reflect.Pointer && !isSilent(f.Type, seen) {",
		}},
		tests: []tests{{inCodec, "TestTagsBehindPointersInNestedStructs"}},
	},
	{
		name: "a file of offsets is not synced",
		edits: []edit{{
			"offset/file.go",
			"\t\terr = f.sync(file)\n",
			"\t\terr = nil\n",
		}},
		tests: []tests{{inOffset, "TestFileIsOnTheDisk"}},
	},
	{
		name: "the folder of a file of offsets is not synced",
		edits: []edit{{
			"offset/file.go",
			"errors.Join(f.sync(folder), folder.Close())",
			"folder.Close()",
		}},
		tests: []tests{{inOffset, "TestFileIsOnTheDisk"}},
	},
	{
		name: "a save in Redis tells what it has written",
		edits: []edit{{
			"offset/redis.go",
			"return stored or ''",
			"return ARGV[2]",
		}},
		tests: []tests{{inOffset, "TestRedis"}},
	},
	{
		name: "a save in memory moves back",
		edits: []edit{{
			"offset/memory.go",
			"found && !back && next.Compare(stored) <= 0",
			"found && !back && next.Compare(stored) == 0",
		}},
		tests: []tests{{inOffset, "TestMemory"}},
	},
	{
		name: "a file of offsets is written in place",
		edits: []edit{{
			"offset/file.go",
			"tmp := f.path + \".tmp\"",
			"tmp := f.path",
		}},
		tests: []tests{{inOffset, "TestFile.*"}},
	},
	{
		name: "a corrupt offset in Redis is none",
		edits: []edit{{
			"offset/redis.go",
			"\t\treturn \"\", false, fmt.Errorf(\"offset: load label %q from hash %q: %w (%w)\"",
			"\t\treturn \"\", false, nil\n\t\treturn \"\", false, fmt.Errorf(\"offset: load label %q from hash %q: %w (%w)\"",
		}},
		tests: []tests{{inOffset, "TestRedis"}},
	},
	{
		name: "IDs are compared by their milliseconds",
		edits: []edit{{
			"offset/id.go",
			"cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))",
			"cmp.Compare(id.Ms, other.Ms)",
		}},
		tests: []tests{{inOffset, "TestMemory|TestCompare"}},
	},
	{
		name: "blank is a value",
		edits: []edit{{
			"codec/decode.go",
			"if text == \"\" && f.form.refusesBlank {",
			"if text == \"?\" && f.form.refusesBlank {",
		}},
		tests: []tests{{inCodec, "TestDecodeConvertsStrictly"}},
	},
	{
		name: "text is trimmed unasked",
		edits: []edit{{
			"codec/decode.go",
			"\tif f.trim {\n",
			"\tif !f.trim {\n",
		}},
		tests: []tests{{inCodec, "TestDecodeTrims"}},
	},
	{
		name: "unknown fields pass a strict codec",
		edits: []edit{{
			"codec/direct.go",
			"\tif unknown {\n",
			"\tif unknown && p.remain != nil {\n",
		}},
		tests: []tests{{inCodec, "TestDecodeUnknownFields"}},
	},
	{
		name: "the entry of another type is decoded",
		edits: []edit{{
			"codec/decode.go",
			"!belongs && len(p.fields) > 0 && (",
			"belongs && len(p.fields) > 1000 && (",
		}},
		tests: []tests{{inCodec, "TestDecodeRefusesForeignEntries"}},
	},
	{
		name: "max counts bytes, not runes",
		edits: []edit{{
			"codec/step.go",
			"return int64(len(s)) <= limit || int64(utf8.RuneCountInString(s)) <= limit",
			"return int64(len(s)) <= limit",
		}},
		tests: []tests{{inCodec, "TestProof.*"}},
	},
	{
		name: "required is satisfied by an empty text",
		edits: []edit{{
			"codec/step.go",
			"return v.Len() > 0 }\n\tdefault:",
			"return v.Len() >= 0 }\n\tdefault:",
		}},
		tests: []tests{{inCodec, "TestProof.*"}},
	},
	{
		name: "two fields have one name",
		edits: []edit{{
			"codec/plan.go",
			"if other, ok := p.byName[f.name]; ok {",
			"if other, ok := p.byName[f.name]; ok && other > 1000 {",
		}},
		tests: []tests{{inCodec, "TestCheckReportsAllProblemsAtOnce"}},
	},
	{
		name: "Retry tries once more than it is told",
		edits: []edit{{
			"middleware/retry.go",
			"if attempt >= config.Attempts || late {",
			"if attempt > config.Attempts || late {",
		}},
		tests: []tests{{inMiddleware, "TestRetry.*"}},
	},
	{
		name: "Retry tries what is permanent",
		edits: []edit{{
			"middleware/retry.go",
			" && !errors.As(err, &permanent)",
			" || errors.As(err, &permanent)",
		}},
		tests: []tests{{inMiddleware, "TestRetry.*"}},
	},
	{
		name: "Dedup marks what failed",
		edits: []edit{{
			"middleware/dedup.go",
			"\tif failure != nil {\n\t\t// Where",
			"\tif failure != nil && ctx == nil {\n\t\t// Where",
		}},
		tests: []tests{{inMiddleware, "TestDedupCountsOnlySuccess"}},
	},
	{
		name: "Dedup takes another's lease away",
		edits: []edit{{
			"middleware/dedup.go",
			"if redis.call('GET', KEYS[1]) == ARGV[1] then return",
			"if redis.call('GET', KEYS[1]) then return",
		}},
		tests: []tests{{inMiddleware, "TestDedupOfASlowDeliveryThatFails"}},
	},
	{
		name: "Dedup confuses labels",
		edits: []edit{{
			"middleware/dedup.go",
			"return d.config.Prefix + d.label + \":\" +",
			"return d.config.Prefix +",
		}},
		tests: []tests{{inMiddleware, "TestDedupKeepsApart|TestDedupPrefix"}},
	},
	{
		name: "Timeout makes a stop a failure",
		edits: []edit{{
			"middleware/timeout.go",
			"if ctx.Err() == nil && errors.Is",
			"if errors.Is",
		}},
		tests: []tests{{inMiddleware, "TestTimeout"}},
	},
	{
		name: "DeadLetter takes what a stop has broken off",
		edits: []edit{{
			"middleware/deadletter.go",
			"err == nil || ctx.Err() != nil || isSettled(err)",
			"err == nil || isSettled(err)",
		}},
		tests: []tests{{inMiddleware, "TestDeadLetter.*"}},
	},
	{
		name: "DeadLetter takes what was skipped",
		edits: []edit{{
			"middleware/deadletter.go",
			"errors.As(err, &skip) || errors.As(err, &dead)",
			"errors.As(err, &skip) && errors.As(err, &dead)",
		}},
		tests: []tests{{inMiddleware, "TestDeadLetter.*"}},
	},
	{
		name: "Logging tells single errors at Info",
		edits: []edit{{
			"middleware/logging.go",
			"return slog.LevelDebug, \"entry failed\"",
			"return slog.LevelInfo, \"entry failed\"",
		}},
		tests: []tests{{inMiddleware, "TestLogging.*"}},
	},
	{
		name: "events of an unknown type are handled",
		edits: []edit{{
			"lifecycle/consumer.go",
			"if !c.known[event.EventType] {",
			"if !c.known[event.EventType] && event.EventType == \"\" {",
		}},
		tests: []tests{{inLifecycle, "TestMalformedAndUnknownEventsAreLoggedAndPassed"}},
	},
	{
		name: "a failed event is passed",
		edits: []edit{{
			"lifecycle/consumer.go",
			"if err := (*handler)(ctx, event); err != nil {\n\t\treturn err",
			"if err := (*handler)(ctx, event); err != nil {\n\t\treturn nil",
		}},
		tests: []tests{{inLifecycle, "TestFailedEventIsHeldWithBackoff"}},
	},
	{
		name: "an event has no entry ID",
		edits: []edit{{
			"lifecycle/consumer.go",
			"\tevent.EntryID = msg.ID\n",
			"",
		}},
		tests: []tests{{inLifecycle, "TestConsumerHandlesKnownEvents"}},
	},
	{
		name: "the checker counts a phantom as handled",
		edits: []edit{{
			"stream/streamtest/history/judge.go",
			"case !entry.inLog && passed && !trimmed:",
			"case !entry.inLog && passed && trimmed:",
		}},
		tests: []tests{{inHistory, "TestCheck"}},
	},
	{
		name: "the checker forgives each fault any number of repeats",
		edits: []edit{{
			"stream/streamtest/history/judge.go",
			"\t\t\tby.repeated++\n",
			"",
		}},
		tests: []tests{{inHistory, "TestCheck.*"}},
	},
	{
		name: "the checker takes an old report for a new loss",
		edits: []edit{{
			"stream/streamtest/history/report.go",
			"if at < min(entry.published, entry.delivered) {",
			"if at < 0 {",
		}},
		tests: []tests{{inHistory, "TestCheck"}},
	},
	{
		name: "the checker orders all keys as one",
		edits: []edit{{
			"stream/streamtest/history/judge.go",
			"\tif c.rules.Order == ByKey {\n",
			"\tif c.rules.Order == InOrder {\n",
		}},
		tests: []tests{{inHistory, "TestCheck"}},
	},
	{
		name: "the checker sees no offset that passes an entry",
		edits: []edit{{
			"stream/streamtest/history/judge.go",
			"if event.Kind == Saving {",
			"if event.Kind == Loaded {",
		}},
		tests: []tests{{inHistory, "TestCheck"}},
	},
	{
		name: "the checker sees no way back of an offset",
		edits: []edit{{
			"stream/streamtest/history/judge.go",
			"case event.Kind != Saved && id.Compare(high.id) < 0:",
			"case event.Kind == Saved && id.Compare(high.id) < 0:",
		}},
		tests: []tests{{inHistory, "TestCheck"}},
	},
}
