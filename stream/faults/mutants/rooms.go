package main

// roomMutants are deliberate bugs in all rooms, each of which a test of its own room has
// to catch, that of its subject.
var roomMutants = []mutant{
	{
		name: "dead consumers are removed with what is pending on them",
		edits: []edit{{
			"stream/script.go",
			"if ours and of.pending == 0 and of.idle",
			"if ours and of.idle",
		}},
		tests: []tests{{inStream, "TestWhatIsPendingOnADeadConsumerIsNotRemoved"}},
	},
	{
		name: "a dead letter by a script without an answer counts as written",
		edits: []edit{{
			"stream/deadletter.go",
			"\tdefault:\n\t\treturn \"\", fmt.Errorf(\"moving the entry to %s: %w\", letter.target, err)",
			"\tcase !v.answered():\n\t\treturn \"moved\", nil\n\tdefault:\n\t\treturn \"\", fmt.Errorf(\"moving the entry to %s: %w\", letter.target, err)",
		}},
		tests: []tests{{inStream, "TestDeadLetterWithoutAnAnswer"}},
	},
	{
		name: "a dead letter without an answer counts as written",
		edits: []edit{{
			"stream/deadletter.go",
			"pairs...)...).Err(); err != nil {",
			"pairs...)...).Err(); err != nil && classify(err).answered() {",
		}},
		tests: []tests{{inStream, "TestDeadLetterWithoutAnAnswer"}},
	},
	{
		name: "dead letters are trimmed in log mode",
		edits: []edit{{
			"stream/deadletter.go",
			"redis.call('XADD', KEYS[2], '*', unpack(fields))",
			"redis.call('XADD', KEYS[2], 'MAXLEN', '~', '100000', '*', unpack(fields))",
		}},
		tests: []tests{{inStream, "TestDeadLettersAreNotTrimmed"}},
	},
	{
		name: "dead letters are trimmed in group mode",
		edits: []edit{{
			"stream/script.go",
			"redis.call('XADD', KEYS[2], '*', unpack(fields))",
			"redis.call('XADD', KEYS[2], 'MAXLEN', '~', '100000', '*', unpack(fields))",
		}},
		tests: []tests{{inStream, "TestDeadLettersAreNotTrimmed"}},
	},
	{
		name: "dead letters elsewhere are trimmed",
		edits: []edit{{
			"stream/deadletter.go",
			"append([]any{\"xadd\", letter.target, \"*\"}, pairs...)",
			"append([]any{\"xadd\", letter.target, \"maxlen\", \"~\", 100000, \"*\"}, pairs...)",
		}},
		tests: []tests{{inStream, "TestDeadLettersAreNotTrimmed"}},
	},
	{
		name: "a stop hands back a hundred entries",
		edits: []edit{{
			"stream/group.go",
			"\t\tif n == 0 {\n\t\t\tbreak\n\t\t}\n",
			"\t\tif n >= 0 {\n\t\t\tbreak\n\t\t}\n",
		}},
		tests: []tests{{inStream, "TestGroupStopHandsBackMoreThanAHundred"}},
	},
	{
		name: "a parked entry keeps its order key",
		edits: []edit{{
			"stream/window.go",
			"\t\tw.parked++\n\t\tw.releaseLocked(one)\n",
			"\t\tw.parked++\n",
		}},
		tests: []tests{{inStream, "TestParkedEntryLeavesItsKey"}},
	},
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
		name: "a delivery over the limit counts as an attempt",
		edits: []edit{{
			"middleware/deadletter.go",
			"\t\t\t\tattempts-- // this delivery was none\n",
			"",
		}},
		tests: []tests{{inStream, "TestAttemptsInDeadLetters"}},
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
		name: "default names have no nonce",
		edits: []edit{{
			"stream/name.go",
			"return strings.ToLower(rand.Text()[:nonceSize])",
			"_ = rand.Text\n\treturn strings.Repeat(\"a\", nonceSize)",
		}},
		tests: []tests{{inStream, "TestDefaultNameIsOfOneProcess"}},
	},
	{
		name: "a probe that has gone is not left again",
		edits: []edit{{
			"stream/namesake.go",
			"ARGV[3] == 'again' and found == 'absent'",
			"ARGV[3] == 'nobody'",
		}},
		tests: []tests{{inStream, "TestNamesakesNoticeEachOther"}},
	},
	{
		name: "a probe is left for ever",
		edits: []edit{{
			"stream/namesake.go",
			"\tcase left == probePresent && n.stayed+1 >= probeStays:\n\t\tleave = \"again\"\n",
			"",
		}},
		tests: []tests{{inStream, "TestNamesakesNoticeEachOther|TestNoNamesakeWhereThereIsNone"}},
	},
	{
		name: "a stop leaves its probe",
		edits: []edit{{
			"stream/namesake.go",
			"s.namesake.left == probeAbsent {",
			"s.namesake.left != \"\" {",
		}},
		tests: []tests{{inStream, "TestNoNamesakeWhereThereIsNone"}},
	},
	{
		name: "a frozen consumer trusts the probe that it has left",
		edits: []edit{{
			"stream/namesake.go",
			"\tif since > s.claimIdle || now.Sub(n.probed) > probeAgain*s.claimIdle {\n",
			"\tif n.looked.IsZero() {\n",
		}},
		tests: []tests{{inStream, "TestNamesakeOfAFrozenConsumer"}},
	},
	{
		name: "the probe of a dead process is taken for a namesake",
		edits: []edit{{
			"stream/namesake.go",
			"\tif left == \"\" || left == found {",
			"\tif left == found {",
		}},
		tests: []tests{{inStream, "TestNoNamesakeWhereThereIsNone"}},
	},
	{
		name: "ready beside a namesake",
		edits: []edit{{
			"stream/health.go",
			"h.Ready = h.Ready && !e.group\n",
			"",
		}},
		tests: []tests{{inStream, "TestNamesakesNoticeEachOther"}},
	},
	{
		name: "not ready in a rolling deployment",
		edits: []edit{{
			"stream/health.go",
			"h.Ready = h.Ready && !e.group\n",
			"h.Ready = false\n",
		}},
		tests: []tests{{inStream, "TestTwoConsumersOfOneLabel"}},
	},
	{
		name: "a rival is logged at each save",
		edits: []edit{{
			"stream/rival.go",
			">= incidentLogInterval; logs",
			">= 0; logs",
		}},
		tests: []tests{{inStream, "TestAnotherWriterIsToldForAWhile"}},
	},
	{
		name: "own saves without an answer are another writer's",
		edits: []edit{{
			"stream/stored.go",
			"\t\ts.stored.tried = append(s.stored.tried, id)\n",
			"",
		}},
		tests: []tests{{inStream, "TestNoOtherWriterWhereThereIsNone"}},
	},
	{
		name: "the last save of the run before is another writer's",
		edits: []edit{{
			"stream/stored.go",
			"\tcase !known.saved:\n",
			"\tcase known.id == \"\":\n",
		}},
		tests: []tests{{inStream, "TestNoOtherWriterWhereThereIsNone"}},
	},
	{
		name: "an offset that went back is another writer's",
		edits: []edit{{
			"stream/stored.go",
			"case compareIDs(before, known.id) < 0:",
			"case before == \"\":",
		}},
		tests: []tests{{inStream, "TestOffsetResetAtWork"}},
	},
	{
		name: "a consumer forgets the offset that it has found",
		edits: []edit{{
			"stream/stored.go",
			"\ts.stored.is(id)\n\ts.stored.saved",
			"\ts.stored.saved",
		}},
		tests: []tests{{inStream, "TestAnotherWriterIsToldForAWhile|TestNoOtherWriterWhereThereIsNone"}},
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
			"\tif _, err := parse(id); err != nil {\n\t\treturn \"\", false, fmt",
			"\tif _, err := parse(id); err != nil {\n\t\treturn \"\", false, nil\n\t\treturn \"\", false, fmt",
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
		name: "bytes of ended entries stay counted",
		edits: []edit{{
			"stream/window.go",
			"\tw.loaded += bytes\n",
			"\tw.loaded += bytes + 1\n",
		}},
		tests: []tests{{inStream, "TestWindow.*"}},
	},
	{
		name: "what is parked fills the window",
		edits: []edit{{
			"stream/room.go",
			"return w.size - (len(w.byID) - w.parked)",
			"return w.size - len(w.byID)",
		}},
		tests: []tests{{inStream, "TestParkedEntriesLeaveRoom"}},
	},
	{
		name: "what was parked and lost stays counted",
		edits: []edit{{
			"stream/pending.go",
			"\t\t\tw.parked--\n",
			"",
		}},
		tests: []tests{{inStream, "TestWindowOfWhatWasLost"}},
	},
	{
		name: "what waited and was lost keeps its key",
		edits: []edit{{
			"stream/pending.go",
			"\t\t\tw.releaseLocked(one)\n\t\tcase parked:",
			"\t\tcase parked:",
		}},
		tests: []tests{{inStream, "TestWindowOfWhatWasLost"}},
	},
	{
		name: "what is due last is delivered first",
		edits: []edit{{
			"stream/held.go",
			"d[i].due.Before(d[j].due)",
			"d[j].due.Before(d[i].due)",
		}},
		tests: []tests{{inStream, "TestWindowDeliversWhatIsDueInItsOrder"}},
	},
	{
		name: "what is new is begun before what is due again",
		edits: []edit{{
			"stream/window.go",
			"\tone := w.popLocked(&w.again)\n",
			"\tone := w.popLocked(&w.fresh)\n\tif one == nil {\n\t\tone = w.popLocked(&w.again)\n\t}\n",
		}},
		tests: []tests{{inStream, "TestWindowDeliversWhatIsDueInItsOrder|TestGroupOwnPendingFirst"}},
	},
	{
		name: "log mode goes on behind an entry that failed",
		edits: []edit{{
			"stream/window.go",
			"if one == nil && w.serial && len(w.waiting) > 0 {",
			"if one == nil && w.serial && len(w.waiting) > 1 {",
		}},
		tests: []tests{{inStream, "TestFailedEntryIsHeldUntilItSucceeds"}},
	},
	{
		name: "an entry that was lost is begun",
		edits: []edit{{
			"stream/window.go",
			"\t\tif !one.lost {\n",
			"\t\tif one.lost || !one.lost {\n",
		}},
		tests: []tests{{inStream, "TestReaderDoesNotWaitForWhatWasLost|TestWindowOfWhatWasLost"}},
	},
	{
		name: "a lane gives a member the same batch again",
		edits: []edit{{
			"stream/lane.go",
			"w.from, w.since = from, now",
			"w.since = now",
		}},
		tests: []tests{{inStream, "TestRunnerWithConsumersOfManyTypes|TestSharedReadersOutlastAKill|TestRunnerSharesConnections"}},
	},
	{
		name: "a lane drops what a group's member was brought while it left",
		edits: []edit{{
			"stream/lane.go",
			"(!w.withdrawn || h.group != \"\")",
			"!w.withdrawn",
		}},
		tests: []tests{{inStream, "TestLeavingASharedReader"}},
	},
	{
		name: "a hub outlives its last member",
		edits: []edit{{
			"stream/hub.go",
			"\treturn len(h.members)\n",
			"\treturn len(h.members) + 1\n",
		}},
		tests: []tests{{inStream, "TestRunnerSharesConnections"}},
	},
	{
		name: "one broken topic fails the read of all",
		edits: []edit{{
			"stream/lane.go",
			"if len(asked) > 1 && classify(err).ofOne {",
			"if len(asked) > 1000 && classify(err).ofOne {",
		}},
		tests: []tests{{inStream, "TestABrokenTopicHoldsNobodyUp"}},
	},
	{
		name: "a trimmer trims what is pending",
		edits: []edit{{
			"stream/trimscript.go",
			"if #oldest > 0 and not above(oldest[1][1], p.id) then",
			"if #oldest > 1000 then",
		}},
		tests: []tests{{inStream, "TestTrimToTheOldestPendingThenToTheLastDelivered"}},
	},
	{
		name: "a trimmer goes by the fastest",
		edits: []edit{{
			"stream/trimscript.go",
			"if not floor or above(floor, p.id) then",
			"if not floor or above(p.id, floor) then",
		}},
		tests: []tests{{inStream, "TestTrimToTheSlowestOfGroupsAndLabels"}},
	},
	{
		name: "a trimmer takes a place ahead of the stream for one that has passed all",
		edits: []edit{{
			"stream/trimscript.go",
			"elseif above(passed, info['last-generated-id']) then",
			"elseif false then",
		}},
		tests: []tests{{inStream, "TestTrimHoldsForAPositionAheadOfTheStream"}},
	},
	{
		name: "a hard limit tells no losses",
		edits: []edit{{
			"stream/trimscript.go",
			"p.lost, p.to = p.lost + 1, id",
			"p.to = id",
		}},
		tests: []tests{{inStream, "TestHardMaxLenReportsWhatEachOwnerLost"}},
	},
	{
		name: "a mirror goes ahead of its store",
		edits: []edit{{
			"stream/mirror.go",
			"\tif err := m.store.Save(ctx, label, id); err != nil {\n\t\treturn err\n\t}\n\treturn m.show(ctx, label, id, \"\")\n",
			"\tif err := m.show(ctx, label, id, \"\"); err != nil {\n\t\treturn err\n\t}\n\treturn m.store.Save(ctx, label, id)\n",
		}},
		tests: []tests{{inStream, "TestMirrorAfterFailures"}},
	},
	{
		name: "a mirror is not put back with its store",
		edits: []edit{{
			"stream/mirror.go",
			"m.show(ctx, label, at, \"back\")",
			"m.show(ctx, label, at, \"\")",
		}},
		tests: []tests{{inStream, "TestMirrorShowsWhatTheStoreHas"}},
	},
	{
		name: "PublishOnce keeps the key of a write that was refused",
		edits: []edit{{
			"stream/once.go",
			"\tredis.pcall('DEL', KEYS[2])\n",
			"",
		}},
		tests: []tests{{inStream, "TestPublishOnce.*|TestAKeyLeftBehindSaysNothing|TestLeastRights"}},
	},
	{
		name: "an idempotency key has no end",
		edits: []edit{{
			"stream/once.go",
			"redis.call('SET', KEYS[2], id, 'PX', ARGV[1])",
			"redis.call('SET', KEYS[2], id)",
		}},
		tests: []tests{{inStream, "TestAKeyIsForgottenAfterItsWindow"}},
	},
	{
		name: "a write without an answer is certainly not written",
		edits: []edit{{
			"stream/write.go",
			"\tif !classify(err).answered() {\n\t\treturn false\n\t}\n",
			"\tif !classify(err).answered() {\n\t\treturn true\n\t}\n",
		}},
		tests: []tests{{inStream, "TestALostReplyIsNotSentAgain|TestWhatWasSentOnceStaysUnknown"}},
	},
	{
		name: "what is at work is not behind",
		edits: []edit{{
			"stream/lag.go",
			"\t\tif one.state != done {\n\t\t\tat.undone++",
			"\t\tif one.state == unread {\n\t\t\tat.undone++",
		}},
		tests: []tests{{inStream, "TestLagInLogMode"}},
	},
	{
		name: "the counts of an earlier run are forgotten",
		edits: []edit{{
			"stream/meter.go",
			"next.outcomes[i] += t.outcomes[i]",
			"_ = t.outcomes[i]",
		}},
		tests: []tests{{inStream, "TestStats.*"}},
	},
	{
		name: "a read that never comes back is well",
		edits: []edit{{
			"stream/meter.go",
			"d > e.block+patience {",
			"d > e.block+time.Hour {",
		}},
		tests: []tests{{inStream, "TestHealth.*"}},
	},
	{
		name: "a Runner is ready when one is",
		edits: []edit{{
			"stream/health.go",
			"all.Ready && h.Ready",
			"all.Ready || h.Ready",
		}},
		tests: []tests{{inStream, "TestHealth.*|TestRunnerHealth.*"}},
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
			"codec/decode.go",
			"\t\t\tif p.strict {\n\t\t\t\tfound.addUnknown(p, name)\n\t\t\t}\n\t\t\tcontinue\n",
			"\t\t\tcontinue\n",
		}},
		tests: []tests{{inCodec, "TestDecodeUnknownFields"}},
	},
	{
		name: "the entry of another type is decoded",
		edits: []edit{{
			"codec/decode.go",
			"!belongs && len(p.fields) > 0 && p.remain == nil",
			"belongs && len(p.fields) > 1000",
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
			"errors.As(err, &dead)",
		}},
		tests: []tests{{inMiddleware, "TestDeadLetter.*"}},
	},
	{
		name: "Logging tells an error at Info",
		edits: []edit{{
			"middleware/logging.go",
			"return slog.LevelError, \"entry failed\"",
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
			"stream/streamtest/history/judge.go",
			"if at < entry.published {",
			"if at < 0 {",
		}},
		tests: []tests{{inHistory, "TestCheck"}},
	},
	{
		name: "the checker orders all keys as one",
		edits: []edit{{
			"stream/streamtest/history/judge.go",
			"\t\tif c.rules.Order == ByKey {\n",
			"\t\tif c.rules.Order == InOrder {\n",
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
