package main

// engineMutants are deliberate bugs in package stream and the packages under it, which the
// tests of package stream have to catch.
var engineMutants = []mutant{
	{
		name: "dead consumers are removed with what is pending on them",
		edits: []edit{
			{"stream/internal/groupmode/reap.go", "one.Pending == 0 && one.Idle", "one.Idle"},
			{"stream/internal/script/reap.lua", "'-', '+', 1, ARGV[i]) == 0 then", "'-', '+', 1, ARGV[i]) >= 0 then"},
		},
		tests: []tests{{inStream, "TestWhatIsPendingOnADeadConsumerIsNotRemoved"}},
	},
	{
		name: "a dead letter by a script without an answer counts as written",
		edits: []edit{{
			"stream/internal/commit/letter.go",
			"\tdefault:\n\t\treturn \"\", fmt.Errorf(\"moving the entry to %s: %w\", letter.Target, err)",
			"\tcase !v.Answered():\n\t\treturn \"moved\", nil\n\tdefault:\n\t\treturn \"\", fmt.Errorf(\"moving the entry to %s: %w\", letter.Target, err)",
		}},
		tests: []tests{{inStream, "TestDeadLetterWithoutAnAnswer"}},
	},
	{
		name: "a dead letter without an answer counts as written",
		edits: []edit{{
			"stream/internal/commit/letter.go",
			"pairs...)...).Err(); err != nil {",
			"pairs...)...).Err(); err != nil && conn.Classify(err).Answered() {",
		}},
		tests: []tests{{inStream, "TestDeadLetterWithoutAnAnswer"}},
	},
	{
		name: "dead letters are trimmed in log mode",
		edits: []edit{{
			"stream/internal/script/move.lua",
			"redis.call('XADD', KEYS[2], '*', unpack(fields))",
			"redis.call('XADD', KEYS[2], 'MAXLEN', '~', '100000', '*', unpack(fields))",
		}},
		tests: []tests{{inStream, "TestDeadLettersAreNotTrimmed"}},
	},
	{
		name: "dead letters are trimmed in group mode",
		edits: []edit{{
			"stream/internal/script/move_and_ack.lua",
			"redis.call('XADD', KEYS[2], '*', unpack(fields))",
			"redis.call('XADD', KEYS[2], 'MAXLEN', '~', '100000', '*', unpack(fields))",
		}},
		tests: []tests{{inStream, "TestDeadLettersAreNotTrimmed"}},
	},
	{
		name: "dead letters elsewhere are trimmed",
		edits: []edit{{
			"stream/internal/commit/letter.go",
			"append([]any{\"xadd\", letter.Target, \"*\"}, pairs...)",
			"append([]any{\"xadd\", letter.Target, \"maxlen\", \"~\", 100000, \"*\"}, pairs...)",
		}},
		tests: []tests{{inStream, "TestDeadLettersAreNotTrimmed"}},
	},
	{
		name: "a stop hands back a hundred entries",
		edits: []edit{{
			"stream/internal/groupmode/own.go",
			"script.HandBackMost) {\n\t\tif err := o.handBackPage(ctx, page); err != nil {\n\t\t\treturn err\n\t\t}\n",
			"script.HandBackMost) {\n\t\treturn o.handBackPage(ctx, page)\n",
		}},
		tests: []tests{{inStream, "TestGroupStopHandsBackMoreThanAHundred"}},
	},
	{
		name: "a parked entry keeps its order key",
		edits: []edit{{
			"stream/internal/window/window.go",
			"\t\tw.budget.parked++\n\t\tw.releaseLocked(it)\n",
			"\t\tw.budget.parked++\n",
		}},
		tests: []tests{{inStream, "TestParkedEntryLeavesItsKey"}},
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
		name: "default names have no nonce",
		edits: []edit{{
			"stream/internal/groupmode/name.go",
			"return strings.ToLower(rand.Text()[:nonceSize])",
			"_ = rand.Text\n\treturn strings.Repeat(\"a\", nonceSize)",
		}},
		tests: []tests{{inStream, "TestDefaultNameIsOfOneProcess"}},
	},
	{
		name: "a probe that has gone is not left again",
		edits: []edit{{
			"stream/internal/script/probe.lua",
			"ARGV[3] == 'again' and found == 'absent'",
			"ARGV[3] == 'nobody'",
		}},
		tests: []tests{{inStream, "TestNamesakesNoticeEachOther"}},
	},
	{
		name: "a probe is left for ever",
		edits: []edit{{
			"stream/internal/groupmode/namesake.go",
			"\tcase left == probePresent && n.stayed+1 >= probeStays:\n\t\tleave = \"again\"\n",
			"",
		}},
		tests: []tests{{inStream, "TestNamesakesNoticeEachOther|TestNoNamesakeWhereThereIsNone"}},
	},
	{
		name: "a stop leaves its probe",
		edits: []edit{{
			"stream/internal/groupmode/namesake.go",
			"n.left == probeAbsent {",
			"n.left != \"\" {",
		}},
		tests: []tests{{inStream, "TestNoNamesakeWhereThereIsNone"}},
	},
	{
		name: "a frozen consumer trusts the probe that it has left",
		edits: []edit{{
			"stream/internal/groupmode/namesake.go",
			"\tif since > c.claimIdle || now.Sub(n.probed) > probeAgain*c.claimIdle {\n",
			"\tif n.looked.IsZero() {\n",
		}},
		tests: []tests{{inStream, "TestNamesakeOfAFrozenConsumer"}},
	},
	{
		name: "a probe of which nothing is known is taken for a sign",
		edits: []edit{{
			"stream/internal/groupmode/namesake.go",
			"\tif left == \"\" || left == found || c.failed.Load() != n.failed {",
			"\tif left == found || c.failed.Load() != n.failed {",
		}},
		tests: []tests{{inStream, "TestProbesWithoutAnAnswer"}},
	},
	{
		name: "a probe of another server is taken for a sign",
		edits: []edit{{
			"stream/internal/groupmode/source.go",
			"\t\ts.failed.Add(1) // before anything is asked: the probe may be looked for meanwhile\n",
			"",
		}},
		tests: []tests{{inStream, "TestNoNamesakeOnAServerThatIsEmptied"}},
	},
	{
		name: "ready beside a namesake",
		edits: []edit{{
			"stream/health.go",
			"h.Ready = h.Ready && !e.inGroup()\n",
			"",
		}},
		tests: []tests{{inStream, "TestNamesakesNoticeEachOther"}},
	},
	{
		name: "not ready in a rolling deployment",
		edits: []edit{{
			"stream/health.go",
			"h.Ready = h.Ready && !e.inGroup()\n",
			"h.Ready = false\n",
		}},
		tests: []tests{{inStream, "TestTwoConsumersOfOneLabel"}},
	},
	{
		name: "a rival is logged at each save",
		edits: []edit{{
			"stream/telling.go",
			">= task.LogInterval; logs",
			">= 0*task.LogInterval; logs",
		}},
		tests: []tests{{inStream, "TestAnotherWriterIsToldForAWhile"}},
	},
	{
		name: "own saves without an answer are another writer's",
		edits: []edit{{
			"stream/internal/logmode/stored.go",
			"\t\ts.tried = append(s.tried, id)\n\t\treturn \"\", err\n",
			"\t\treturn \"\", err\n",
		}},
		tests: []tests{{inStream, "TestNoOtherWriterWhereThereIsNone"}},
	},
	{
		name: "the last save of the run before is another writer's",
		edits: []edit{{
			"stream/internal/logmode/source.go",
			"\tcase !known.saved:\n",
			"\tcase known.id == \"\":\n",
		}},
		tests: []tests{{inStream, "TestNoOtherWriterWhereThereIsNone"}},
	},
	{
		name: "an offset that went back is another writer's",
		edits: []edit{{
			"stream/internal/logmode/source.go",
			"case resp.CompareIDs(before, known.id) < 0:",
			"case before == \"\":",
		}},
		tests: []tests{{inStream, "TestOffsetResetAtWork"}},
	},
	{
		name: "a consumer forgets the offset that it has found",
		edits: []edit{{
			"stream/internal/logmode/source.go",
			"\ts.stored.is(id)\n\ts.stored.saved",
			"\ts.stored.saved",
		}},
		tests: []tests{{inStream, "TestAnotherWriterIsToldForAWhile|TestNoOtherWriterWhereThereIsNone"}},
	},
	{
		name: "bytes of ended entries stay counted",
		edits: []edit{{
			"stream/internal/window/window.go",
			"\tw.budget.loaded += bytes\n",
			"\tw.budget.loaded += bytes + 1\n",
		}},
		tests: []tests{{inWindow, "TestWindow.*"}},
	},
	{
		name: "what is parked fills the window",
		edits: []edit{{
			"stream/internal/window/budget.go",
			"return b.size - (b.ledger.len() - b.parked)",
			"return b.size - b.ledger.len()",
		}},
		tests: []tests{{inStream, "TestParkedEntriesLeaveRoom"}},
	},
	{
		name: "what was parked and lost stays counted",
		edits: []edit{{
			"stream/internal/window/leases.go",
			"\t\t\tw.budget.parked--\n",
			"",
		}},
		tests: []tests{{inWindow, "TestWindowOfWhatWasLost"}},
	},
	{
		name: "what waited and was lost keeps its key",
		edits: []edit{{
			"stream/internal/window/leases.go",
			"\t\t\tw.releaseLocked(it)\n\t\tcase Writing:",
			"\t\tcase Writing:",
		}},
		tests: []tests{{inWindow, "TestWindowOfWhatWasLost"}},
	},
	{
		name: "what is due last is delivered first",
		edits: []edit{{
			"stream/internal/window/item.go",
			"d[i].Due.Before(d[j].Due)",
			"d[j].Due.Before(d[i].Due)",
		}},
		tests: []tests{{inWindow, "TestWindowDeliversWhatIsDueInItsOrder"}},
	},
	{
		name: "what is new is begun before what is due again",
		edits: []edit{{
			"stream/internal/window/window.go",
			"\tit := w.popLocked(&o.redeliver)\n",
			"\tit := w.popLocked(&o.fresh)\n\tif it == nil {\n\t\tit = w.popLocked(&o.redeliver)\n\t}\n",
		}},
		tests: []tests{{inWindow, "TestWindowDeliversWhatIsDueInItsOrder"}, {inStream, "TestGroupOwnPendingFirst"}},
	},
	{
		name: "log mode goes on behind an entry that failed",
		edits: []edit{{
			"stream/internal/window/window.go",
			"w.Serial && len(o.waiting) > 0 ||",
			"w.Serial && len(o.waiting) > 1 ||",
		}},
		tests: []tests{{inStream, "TestFailedEntryIsHeldUntilItSucceeds"}},
	},
	{
		name: "an entry that was lost is begun",
		edits: []edit{{
			"stream/internal/window/window.go",
			"\t\tif it.owner != taken {\n",
			"\t\tif it.owner <= taken {\n",
		}},
		tests: []tests{{inWindow, "TestReaderDoesNotWaitForWhatWasLost|TestWindowOfWhatWasLost"}},
	},
	{
		name: "a lane gives a member the same batch again",
		edits: []edit{{
			"stream/internal/feed/lane.go",
			"w.from, w.since = from, now",
			"w.since = now\n\t\t_ = from",
		}},
		tests: []tests{{inStream, "TestRunnerWithConsumersOfManyTypes|TestSharedReadersOutlastAKill|TestRunnerSharesConnections"}},
	},
	{
		name: "a hub outlives its last member",
		edits: []edit{{
			"stream/internal/feed/hub.go",
			"\treturn len(h.members)\n",
			"\treturn len(h.members) + 1\n",
		}},
		tests: []tests{{inStream, "TestRunnerSharesConnections"}},
	},
	{
		name: "a trimmer trims what is pending",
		edits: []edit{{
			"stream/internal/script/trim.lua",
			"if #oldest > 0 and not above(oldest[1][1], p.id) then",
			"if #oldest > 1000 then",
		}},
		tests: []tests{{inStream, "TestTrimToTheOldestPendingThenToTheLastDelivered"}},
	},
	{
		name: "a trimmer goes by the fastest",
		edits: []edit{{
			"stream/internal/script/trim.lua",
			"if not floor or above(floor, p.id) then",
			"if not floor or above(p.id, floor) then",
		}},
		tests: []tests{{inStream, "TestTrimToTheSlowestOfGroupsAndLabels"}},
	},
	{
		name: "a trimmer takes a place ahead of the stream for one that has passed all",
		edits: []edit{{
			"stream/internal/script/trim.lua",
			"elseif above(passed, info['last-generated-id']) then",
			"elseif false then",
		}},
		tests: []tests{{inStream, "TestTrimHoldsForAPositionAheadOfTheStream"}},
	},
	{
		name: "a hard limit tells no losses",
		edits: []edit{{
			"stream/internal/script/trim.lua",
			"p.lost, p.to = p.lost + 1, id",
			"p.to = id",
		}},
		tests: []tests{{inStream, "TestHardMaxLenReportsWhatEachOwnerLost"}},
	},
	{
		name: "a mirror goes ahead of its store",
		edits: []edit{{
			"stream/mirror.go",
			"\tif err := save(ctx, m.store, label, id); err != nil {\n\t\treturn err\n\t}\n\treturn m.show(ctx, label, id, false)\n",
			"\tif err := m.show(ctx, label, id, false); err != nil {\n\t\treturn err\n\t}\n\treturn save(ctx, m.store, label, id)\n",
		}},
		tests: []tests{{inStream, "TestMirrorAfterFailures"}},
	},
	{
		name: "a mirror is not put back with its store",
		edits: []edit{{
			"stream/mirror.go",
			"m.show(ctx, label, at, true)",
			"m.show(ctx, label, at, false)",
		}},
		tests: []tests{{inStream, "TestMirrorShowsWhatTheStoreHas"}},
	},
	{
		name: "PublishOnce keeps the key of a write that was refused",
		edits: []edit{{
			"stream/internal/script/publish_once.lua",
			"\tredis.pcall('DEL', KEYS[2])\n",
			"",
		}},
		tests: []tests{{inStream, "TestPublishOnceIsNeverHalfDone|TestAKeyLeftBehindSaysNothing"}},
	},
	{
		name: "an idempotency key has no end",
		edits: []edit{{
			"stream/internal/script/publish_once.lua",
			"redis.call('SET', KEYS[2], id, 'PX', ARGV[1])",
			"redis.call('SET', KEYS[2], id)",
		}},
		tests: []tests{{inStream, "TestAKeyIsForgottenAfterItsWindow"}},
	},
	{
		name: "a write without an answer is certainly not written",
		edits: []edit{{
			"stream/internal/publish/command.go",
			"\tif !conn.Classify(err).Answered() {\n\t\treturn false\n\t}\n",
			"\tif !conn.Classify(err).Answered() {\n\t\treturn true\n\t}\n",
		}},
		tests: []tests{{inStream, "TestALostReplyIsNotSentAgain|TestWhatWasSentOnceStaysUnknown"}},
	},
	{
		name: "what is at work is not behind",
		edits: []edit{{
			"stream/internal/window/lowmark.go",
			"\t\tif it.state != Done {\n\t\t\tat.Undone++",
			"\t\tif it.state == Unread {\n\t\t\tat.Undone++",
		}},
		tests: []tests{{inStream, "TestLagInLogMode"}},
	},
	{
		name: "the counts of an earlier run are forgotten",
		edits: []edit{{
			"stream/internal/window/counts.go",
			"next.Ends[i] += t.Ends[i]",
			"_ = t.Ends[i]",
		}},
		tests: []tests{{inStream, "TestStats.*"}},
	},
	{
		name: "a read that never comes back is well",
		edits: []edit{{
			"stream/meter.go",
			"d > e.config.block+conn.Patience {",
			"d > e.config.block+conn.Patience+time.Hour {",
		}},
		tests: []tests{{inStream, "TestSilence"}},
	},
	{
		name: "a Runner is ready when one is",
		edits: []edit{{
			"stream/health.go",
			"all.Ready && h.Ready",
			"all.Ready || h.Ready",
		}},
		tests: []tests{{inStream, "TestHealthOfARunner"}},
	},
	{
		name:  "a claim drops what a live consumer holds and the stream has no more",
		edits: []edit{{"stream/internal/script/claim.lua", "if entry[3] >= idle then", "if entry[3] >= idle or #redis.call('XRANGE', KEYS[1], entry[1], entry[1]) == 0 then"}},
		tests: []tests{{inStream, "TestClaimLeavesWhatALiveConsumerHolds"}},
	},
	{
		name:  "a consumer tells of what it is at work on as gone",
		edits: []edit{{"stream/internal/window/leases.go", "!left && (it == nil || it.owner == taken)", "!left || it == nil || it.owner != taken"}},
		tests: []tests{{inStream, "TestClaimOfWhatIsHeldAndGone"}},
	},
	{
		name:  "a stop says nothing of what a renewal has found gone",
		edits: []edit{{"stream/internal/window/leases.go", "it.owner == gone && it.state", "it.owner == taken && it.state"}},
		tests: []tests{{inStream, "TestStopTellsWhatIsGone"}},
	},
	{
		name:  "a stop says nothing of what cannot be handed back",
		edits: []edit{{"stream/internal/script/hand_back.lua", "  gone[#gone + 1] = dropped[1]\n", ""}},
		tests: []tests{{inStream, "TestStopTellsWhatIsGone"}},
	},
	{
		name:  "what was handed back, and is gone, counts as taken over",
		edits: []edit{{"stream/internal/script/take_handed_back.lua", "return {claim(ids, ARGV[2])}", "return {ids, {}}"}},
		tests: []tests{{inStream, "TestTakeTellsWhatIsGone"}},
	},
	{
		name:  "names of the dead whose removal failed wait for the next list",
		edits: []edit{{"stream/internal/groupmode/reap.go", "\tr.dead = nil\n\treturn nil\n", "\treturn nil\n"}, {"stream/internal/groupmode/reap.go", "\tif err != nil {\n\t\treturn fmt.Errorf(\"removing", "\tr.dead = nil\n\tif err != nil {\n\t\treturn fmt.Errorf(\"removing"}},
		tests: []tests{{inStream, "TestNamesOfTheDeadAfterAFailure"}},
	},
	{
		name:  "an entry behind one that was claimed away is not begun",
		edits: []edit{{"stream/internal/window/window.go", "\tif it == nil { // an entry in fresh that was claimed away may have been in front of one with its key\n\t\tit = w.popLocked(&o.unblocked)\n\t}\n", ""}},
		tests: []tests{{inWindow, "TestWindowBeginsWhatIsBehindALostEntry|TestWindowAgainstAModel"}},
	},
	{
		name: "a stop has no time to wait for the stops of others",
		edits: []edit{{
			"stream/run.go",
			"task.Patience(context.WithoutCancel(ctx), stopTimeout, ended)",
			"context.WithDeadline(context.WithoutCancel(ctx), ended.Add(stopTimeout))",
		}},
		tests: []tests{{inStream, "TestManyStopOnAServerThatIsFarAway"}},
	},
	{
		name:  "a stop waits for a queue that moves without an answer",
		edits: []edit{{"stream/internal/task/patience.go", "&Watchdog{since: since, answered: true}", "&Watchdog{since: since}"}},
		tests: []tests{{inTask, "TestPatienceWithAQueue"}},
	},
	{
		name: "a redriven entry is for every reader",
		edits: []edit{{
			"stream/deadletter.go",
			"|| to == entry.reader.Address() ||",
			"|| to != \"\" ||",
		}},
		tests: []tests{{inStream, "TestRedrivenEntriesAreForTheirReader"}},
	},
	{
		name: "a dead letter of a redriven entry is for nobody else",
		edits: []edit{{
			"stream/deadletter.go",
			" || isLetter(entry.Fields) {",
			" {",
		}},
		tests: []tests{{inStream, "TestRedrivenEntriesAreForTheirReader"}},
	},
	{
		name: "a batch has the context of its first message",
		edits: []edit{{
			"stream/internal/batch/assembler.go",
			"context.WithCancelCause(context.WithoutCancel(base))",
			"context.WithCancelCause(context.WithoutCancel(ctxs[0]))",
		}},
		tests: []tests{{inStream, "TestContextOfABatch"}},
	},
	{
		name: "middleware sees a parked entry as held",
		edits: []edit{{
			"stream/outcome.go",
			"\tcase !e.reader.isExhausted(e):\n",
			"\tdefault:\n",
		}, {
			"stream/outcome.go",
			"\tdefault:\n\t\treturn OutcomeParked, nil\n",
			"\tcase !e.reader.isExhausted(e):\n\t\treturn OutcomeParked, nil\n",
		}},
		tests: []tests{{inStream, "TestMiddlewareSeesTheOutcome"}},
	},
}
