package main

// mutant is a deliberate bug, and the tests that have to catch it.
type mutant struct {
	name  string
	edits []edit
	tests []tests
}

// edit replaces a text in a file of the module, which has it once.
type edit struct{ file, old, new string }

// tests are those of a package whose names match; they are run in turn until one
// fails.
type tests struct{ pkg, names string }

const (
	inStream     = "./stream"
	inAdmin      = "./stream/admin"
	inRedrive    = "./stream/admin/internal/redrive"
	inConn       = "./stream/internal/conn"
	inTask       = "./stream/internal/task"
	inWindow     = "./stream/internal/window"
	inPublish    = "./stream/internal/publish"
	inScript     = "./stream/internal/script"
	inLoss       = "./stream/internal/loss"
	inFaults     = "./stream/faults"
	inOffset     = "./offset"
	inCodec      = "./codec"
	inSchema     = "./codec/schema"
	inVerdicts   = "./codec/schema/verdicts"
	inCompat     = "./codec/compat"
	inMiddleware = "./middleware"
	inLifecycle  = "./lifecycle"
	inHistory    = "./stream/streamtest/history"
	inSQL        = "./stream/streamsql/sqltest"
)

var mutants = []mutant{
	{
		name: "group mode acks before the handler",
		edits: []edit{{
			"stream/worker.go",
			"\tfailure := r.engine.chain(ctx, &d.entry)\n",
			"\tif r.engine.inGroup() {\n\t\t_ = r.mode.Settler.Settle(ctx, &commit.Batch{Ended: []*window.Item{it}})\n\t}\n\tfailure := r.engine.chain(ctx, &d.entry)\n",
		}, {"stream/worker.go", "\t\"millrace/stream/internal/contain\"\n", "\t\"millrace/stream/internal/commit\"\n\t\"millrace/stream/internal/contain\"\n"}},
		tests: []tests{{inFaults, "TestConsumersKilled"}},
	},
	{
		name: "log mode saves the offset before the handler",
		edits: []edit{{
			"stream/worker.go",
			"\tfailure := r.engine.chain(ctx, &d.entry)\n",
			"\tif !r.engine.inGroup() {\n\t\t_ = r.mode.Settler.Settle(ctx, &commit.Batch{Ended: []*window.Item{it}})\n\t}\n\tfailure := r.engine.chain(ctx, &d.entry)\n",
		}, {"stream/worker.go", "\t\"millrace/stream/internal/contain\"\n", "\t\"millrace/stream/internal/commit\"\n\t\"millrace/stream/internal/contain\"\n"}},
		tests: []tests{{inFaults, "TestConsumersKilled"}},
	},
	{
		name: "reads from $ after a failure",
		edits: []edit{
			{"stream/internal/feed/feed.go", "\t\t\tf.eager = true\n\t\t\tf.reader.DropIfStale", "\t\t\tf.broken = true\n\t\t\tf.reader.DropIfStale"},
			{"stream/internal/feed/feed.go", "\tat := time.Now()\n\tvar b resp.Batch\n", "\tif f.broken && f.group == \"\" {\n\t\tf.broken, f.eager, from.ID = false, false, \"$\"\n\t}\n\tat := time.Now()\n\tvar b resp.Batch\n"},
			{"stream/internal/feed/feed.go", "\tlooked time.Time\n}", "\tlooked time.Time\n\tbroken bool\n}"},
		},
		tests: []tests{{inFaults, "TestSingleServer"}},
	},
	{
		name: "what a lost reply had brought is not taken up",
		edits: []edit{{
			"stream/internal/groupmode/source.go",
			"\t\ts.losses.ReadFailed(err)\n\t\ts.unsure = true\n\t\treturn s.mend(ctx, err)\n",
			"\t\ts.losses.ReadFailed(err)\n\t\treturn s.mend(ctx, err)\n",
		}},
		tests: []tests{{inFaults, "TestSingleServer"}, {inStream, "TestGroupRepliesCut"}},
	},
	{
		name: "the client claims again after a reply was lost",
		edits: []edit{
			{"stream/internal/conn/once.go", "NoRetry() bool { return true }", "NoRetry() bool { return false }"},
			{"stream/internal/conn/derive.go", "0, 0, 0, -1\n\t\topts.MaxRetries, opts.DialerRetries = -1, 1", "0, 0, 0, -1\n\t\topts.MaxRetries, opts.DialerRetries = 3, 1"},
		},
		tests: []tests{{inStream, "TestTakenOverAndReplyLost"}},
	},
	{
		name: "what was just claimed is taken for something that nobody knows of",
		edits: []edit{{
			"stream/internal/groupmode/source.go",
			"s.own.byItself(ctx, func() error {\n\t\t\treads.Begin()\n\t\t\treturn s.own.takeUpPage(ctx, s.last)\n\t\t})",
			"s.own.takeUpPage(ctx, s.last)",
		}},
		tests: []tests{{inStream, "TestTakenOverWhileLookingForOwn"}},
	},
	{
		name: "a master that stands still is not left for its successor",
		edits: []edit{{
			"stream/internal/conn/failover.go",
			"!s.drops[kept.addr].again(now) {",
			"s.drops[kept.addr].again(now) {",
		}},
		tests: []tests{{inFaults, "TestFailovers"}},
	},
	{
		name: "a cluster is not looked at anew when a node does not answer",
		edits: []edit{{
			"stream/internal/conn/failover.go",
			"return err != nil && !Classify(err).Answered()",
			"return err == nil && !Classify(err).Answered()",
		}},
		tests: []tests{{inFaults, "TestFailovers"}},
	},
	{
		name: "a group does not tell what a failover has taken away",
		edits: []edit{{
			"stream/internal/loss/group.go",
			"\tif f.last.ID == \"\" {\n\t\treturn nil\n\t}\n",
			"\tif f.of.Group != \"\" {\n\t\treturn nil\n\t}\n",
		}},
		tests: []tests{{inFaults, "TestFailovers"}},
	},
	{
		name: "takes up its own entries that are in flight",
		edits: []edit{{
			"stream/internal/window/leases.go",
			"\t\t_, double := l.byID[id]\n\t\tif _, left",
			"\t\tdouble := l.byID[id] != nil && l.byID[id].state != Working\n\t\tif _, left",
		}},
		tests: []tests{{inFaults, "TestSingleServer"}},
	},
	{
		name: "the offset moves back",
		edits: []edit{
			{"offset/redis.go", "if above(ms, newms) or ms == newms and not above(newseq, seq) then return stored end", ""},
			{
				"stream/internal/logmode/source.go",
				"s.stored.label, s.noteFallBack(err))\n\t}\n\treturn nil\n}\n\n// commit",
				"s.stored.label, s.noteFallBack(err))\n\t}\n\treturn s.stored.store.Save(ctx, s.stored.label, b.Ended[0].ID)\n}\n\n// commit",
			},
		},
		tests: []tests{{inFaults, "TestSingleServer"}},
	},
	{
		name: "dead letters are written after the ack",
		edits: []edit{{
			"stream/internal/groupmode/settler.go",
			"return s.letters.MoveBy(ctx, script.MoveAndAck, letter, s.group, s.name, it.ID)",
			"_ = s.client.XAck(ctx, s.stream, s.group, it.ID).Err()\n\t\t\treturn s.letters.MoveBy(ctx, script.Move, letter, it.ID)",
		}},
		tests: []tests{{inFaults, "TestConsumersKilled"}},
	},
	{
		name: "removes a consumer on which entries are pending",
		edits: []edit{{
			"stream/internal/script/leave.lua",
			"if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end",
			"",
		}},
		tests: []tests{{inScript, "TestLeaveKeepsAConsumerWithPendingEntries"}},
	},
	{
		name:  "passes an entry that failed",
		edits: []edit{{"stream/outcome.go", "case OutcomeHeld:\n\t\treturn window.Waiting", "case OutcomeHeld:\n\t\treturn window.Done"}},
		tests: []tests{{inStream, "TestFailedEntryIsHeldUntilItSucceeds"}},
	},
	{
		name: "the client reads again after a reply was lost",
		edits: []edit{{
			"stream/internal/conn/derive.go",
			"own.connections, 0, 0, 0, -1\n\t\topts.MaxRetries, opts.DialerRetries = -1, 1",
			"own.connections, 0, 0, 0, -1\n\t\topts.MaxRetries, opts.DialerRetries = 3, 1",
		}},
		tests: []tests{{inStream, "TestGroupRepliesCut"}},
	},
	{
		name:  "the client of a cluster reads again after a reply was lost",
		edits: []edit{{"stream/internal/conn/reader.go", "\t\tr.AddHook(Inner{readsOnce})\n", "\t\t_ = readsOnce\n"}},
		tests: []tests{{inConn, "TestAGroupReadInAClusterIsSentOnce"}},
	},
	{
		name: "what stays pending is not looked for again",
		edits: []edit{{
			"stream/internal/feed/watch.go",
			"m.state == \"\" || m.state != before {",
			"m.state != before {",
		}},
		tests: []tests{{inStream, "TestIdleGroupsAreLookedAfterTogether"}},
	},
	{
		name: "stays with a master that was demoted",
		edits: []edit{{
			"stream/internal/conn/failover.go",
			`reply[0] == "slave" && reply[3] != "connected"`,
			`reply[0] == "nobody" && reply[3] != "connected"`,
		}},
		tests: []tests{{inStream, "TestADemotedMasterIsLeft"}, {inFaults, "TestSilentLosses"}},
	},
	{
		name: "reads on without looking for the last entry",
		edits: []edit{
			{"stream/internal/feed/feed.go", "\tif !from.Seen || p.alone {", "\tif from.ID != \"\" {"},
			{"stream/internal/feed/feed.go", "\t\tif err != nil || !from.Seen {\n", "\t\tif err != nil || from.ID != \"\" {\n"},
		},
		tests: []tests{{inStream, "TestLossesInARunner|TestLossPolicies"}, {inFaults, "TestSilentLosses"}},
	},
	{
		name:  "takes the place of a failover for a trim",
		edits: []edit{{"stream/internal/loss/survey.go", "case resp.CompareIDs(s.last, position) < 0:", "case s.last == \"\":"}},
		tests: []tests{{inFaults, "TestSilentLosses"}},
	},
	{
		name:  "sends no guard in front of a read",
		edits: []edit{{"stream/internal/loss/group.go", "if f.unguarded.Load() ||", "if true ||"}},
		tests: []tests{{inStream, "TestGroupIsSetFurtherOnWhileEntriesCome"}},
	},
	{
		name:  "reads without a guard before the count of a group begins",
		edits: []edit{{"stream/internal/loss/group.go", "return !f.unguarded.Load() && f.account.wanting()", "return false"}},
		tests: []tests{{inStream, "TestGroupLossBehindAnUnknownCount"}},
	},
	{
		name:  "a guard does not begin the count of a group",
		edits: []edit{{"stream/internal/loss/group.go", "\tif f.account.wanting() {", "\tif false {"}},
		tests: []tests{{inLoss, "TestReadsAreGuardedUntilTheCountBegins"}},
	},
	{
		name:  "begins the count of a group while a lost read may wait",
		edits: []edit{{"stream/internal/loss/account.go", "a.from, a.to, a.late = nil, nil, late", "a.from, a.to, a.late = nil, nil, false"}},
		tests: []tests{{inLoss, "TestReadsAreGuardedUntilTheCountBegins"}},
	},
	{
		name:  "does not count what it was given next to its group",
		edits: []edit{{"stream/internal/loss/account.go", "a.to == nil || a.reads < a.due {", "a.to == nil || a.reads >= 0 {"}},
		tests: []tests{{inFaults, "TestSilentLosses"}},
	},
	{
		name:  "counts what was read before the look twice",
		edits: []edit{{"stream/internal/loss/account.go", "a.from == nil || resp.CompareIDs(one.first, a.from.place) <= 0:", "a.from == nil:"}},
		tests: []tests{{inLoss, "TestAccount"}},
	},
	{
		name:  "takes an ID for the entry",
		edits: []edit{{"stream/internal/loss/log.go", "seen.last != from.ID || seen.other", "seen.last != from.ID"}},
		tests: []tests{{inFaults, "TestSilentLosses"}},
	},
	{
		name:  "after a failed read, log mode does not count anew",
		edits: []edit{{"stream/internal/loss/log.go", "f.recount = f.count.ordinal < 0", "f.recount = false"}},
		tests: []tests{{inStream, "TestNoLossAfterAFailedRead"}},
	},
	{
		name:  "sets a group back that begins in the future",
		edits: []edit{{"stream/internal/script/unread.lua", " and not string.find(last, '-18446744073709551615', 1, true)", ""}},
		tests: []tests{{inScript, "TestUnreadLeavesAGroupThatBeginsInTheFuture"}},
	},
	{
		name:  "does not notice that a stream has had fewer entries than before",
		edits: []edit{{"stream/internal/loss/state.go", "case at.added > 0 && at.added < before.added:", "case at.added < 0:"}},
		tests: []tests{{inFaults, "TestSilentLosses"}},
	},
	{
		name:  "waits for a server that stands still",
		edits: []edit{{"stream/internal/conn/reader.go", "silence: block + Patience", "silence: block + time.Hour"}},
		tests: []tests{{inStream, "TestSilenceIsNoticed"}},
	},
	{
		name: "does not renew what it holds",
		edits: []edit{{
			"stream/internal/groupmode/leases.go",
			"since := time.Now().Add(-l.claimIdle / 3)",
			"since := time.Now().Add(-time.Hour)",
		}},
		tests: []tests{{inStream, "TestGroupLongHandlerKeepsItsEntry"}},
	},
	{
		name: "saves an offset beyond an entry that is at work",
		edits: []edit{{
			"stream/internal/window/lowmark.go",
			"for m.ended < len(m.line) && m.line[m.ended].state == Done {",
			"for m.ended < len(m.line) && (m.line[m.ended].state == Done || m.line[m.ended].state == Working) {",
		}},
		tests: []tests{{inStream, "TestOffsetIsTheLowMark"}},
	},
	{
		name: "delivers on while offsets cannot be saved",
		edits: []edit{{
			"stream/internal/window/window.go",
			"w.checkpoint.stalled || len(w.ledger.settleable()) >= 2*w.Every-1",
			"w.stopped",
		}},
		tests: []tests{{inStream, "TestAFailingSaveStopsDelivery"}},
	},
	{
		name:  "a producer sends again what may have been written",
		edits: []edit{{"stream/internal/publish/command.go", "func (c *command) NoRetry() bool { return !c.keyed }", "func (c *command) NoRetry() bool { return false }"}},
		tests: []tests{{inStream, "TestALostReplyIsNotSentAgain"}},
	},
	{
		name:  "a producer goes on after a failed chunk",
		edits: []edit{{"stream/internal/publish/chunk.go", "chunk, done); cause != nil {", "chunk, done); cause != nil && len(chunk) == 0 {"}},
		tests: []tests{{inPublish, "TestAfterAFailedChunkNothingIsSent"}},
	},
	{
		name:  "publish middleware hides the failure of a write",
		edits: []edit{{"stream/publishing.go", "\tcase err == nil:\n\t\treturn c.err\n", "\tcase err == nil:\n\t\treturn nil\n"}},
		tests: []tests{{inStream, "TestPublishMiddlewareSeesFailures"}},
	},
	{
		name:  "begins an entry before the one with the same key has ended",
		edits: []edit{{"stream/internal/window/order.go", "\tbefore.behind = it\n\treturn false\n", "\treturn true\n"}},
		tests: []tests{{inStream, "TestOrderKey"}},
	},
	{
		name:  "reads on though the window is full",
		edits: []edit{{"stream/internal/window/budget.go", "return w.budget.left() >= w.Batch && w.order.redeliver.len() == 0", "return w.order.redeliver.len() == 0"}},
		tests: []tests{{inStream, "TestReadsNoMoreThanTheWindow"}},
	},
	{
		name: "counts an attempt for what was handed back untried",
		edits: []edit{{
			"stream/internal/script/hand_back.lua",
			"entry[4] - tonumber(ARGV[i + 1])",
			"entry[4]",
		}},
		tests: []tests{{inStream, "TestGroupStopHandsBack|TestGroupRollingRestart"}},
	},
	{
		name: "gives an attempt back that an earlier consumer has used",
		edits: []edit{{
			"stream/internal/groupmode/own.go",
			"page[i] = window.Returned{ID: entry.ID, Refund: isBehind(last, entry.ID, entry.RetryCount)}",
			"page[i] = window.Returned{ID: entry.ID, Refund: true}",
		}},
		tests: []tests{{inStream, "TestStopHandsBackWhatIsNotInTheWindow"}},
	},
	{
		name:  "a stop hands back only what is in the window",
		edits: []edit{{"stream/internal/groupmode/own.go", "\tuntil := time.Now().Add(returnTime)\n", "\tuntil := time.Now().Add(-returnTime)\n"}},
		tests: []tests{{inStream, "TestStopHandsBackWhatIsNotInTheWindow"}},
	},
	{
		name:  "a stop hands back a million entries, however long that takes",
		edits: []edit{{"stream/internal/groupmode/own.go", "const returnTime = 250 * time.Millisecond", "const returnTime = 4 * time.Second"}},
		tests: []tests{{inStream, "TestStopLeavesWhatItCannotHandBackInTime"}},
	},
	{
		name:  "takes up all that is pending on its name at once",
		edits: []edit{{"stream/internal/window/leases.go", "return max(0, min(l.w.Batch, l.w.budget.left()))", "return 1 << 30"}},
		tests: []tests{{inStream, "TestOwnPendingEntriesComeFirst"}},
	},
	{
		name:  "reads before all that is pending on its name is taken up",
		edits: []edit{{"stream/internal/groupmode/source.go", "s.own.open.Load() && !s.own.unanswered.Load(); first = false {", "first && !s.own.unanswered.Load(); first = false {"}},
		tests: []tests{{inStream, "TestOwnPendingEntriesComeFirst"}},
	},
	{
		name:  "claims what is its own and waits for its turn",
		edits: []edit{{"stream/internal/groupmode/claimer.go", "\tif c.own.open.Load() {\n", "\tif false {\n"}},
		tests: []tests{{inStream, "TestOwnPendingEntriesAreNotClaimed"}},
	},
	{
		name:  "claims without end while everything fails",
		edits: []edit{{"stream/internal/window/budget.go", "return max(0, min(limit-waiting, limit+b.left(), 100))", "return max(0, min(limit-waiting, 100))"}},
		tests: []tests{{inStream, "TestClaimedEntriesThatFailKeepTheBound"}},
	},
	{
		name:  "does not claim again after there was no room",
		edits: []edit{{"stream/internal/window/window.go", "\tw.slabs.drop(it)\n\tw.roomMadeLocked()\n", "\tw.slabs.drop(it)\n\tw.budget.room.Broadcast()\n"}},
		tests: []tests{{inWindow, "TestRoomToTakeIsTold"}},
	},
	{
		name:  "a list that is too long for a connection is asked for again as it is",
		edits: []edit{{"stream/internal/groupmode/own.go", "o.listed = max(1, o.listed/2)", "o.listed = max(1, o.listed)"}},
		tests: []tests{{inStream, "TestListsThatAreCutGetShorter"}},
	},
	{
		name:  "removes the names of dead consumers in one script",
		edits: []edit{{"stream/internal/script/bounds.go", "ReapMost = 100", "ReapMost = 7000"}},
		tests: []tests{{inStream, "TestManyNamesOfTheDead"}},
	},
	{
		name:  "looks at each entry of a hard limit in every group",
		edits: []edit{{"stream/internal/script/trim.lua", "math.floor(walk / (4 + #positions))", "math.floor(walk / 4)"}},
		tests: []tests{{inScript, "TestScriptsAreShort"}},
	},
	{
		name:  "acks what another consumer has claimed",
		edits: []edit{{"stream/internal/window/leases.go", "\t\tif it.renewed.Before(since) {\n\t\t\tlate", "\t\tif it.renewed.Before(time.Time{}) {\n\t\t\tlate"}},
		tests: []tests{{inStream, "TestGroupZombieSettlesNothing"}},
	},
	{
		name: "passes a malformed entry without a word",
		edits: []edit{{
			"stream/outcome.go",
			"\t\tlog.Warn(\"entry passed: it cannot be decoded\", \"err\", contain.Harmless(wrong.Err))\n",
			"\t\t\t_ = wrong\n",
		}},
		tests: []tests{{inStream, "TestUndecodableEntriesAreLoggedAndPassed"}},
	},
	{
		name: "logs the fields of an entry that failed",
		edits: []edit{{
			"stream/cause.go",
			"log.Error(heldText, \"entry_id\", d.it.ID, \"attempt\", d.entry.Deliveries, \"err\", failure)",
			"log.Error(heldText, \"entry_id\", d.it.ID, \"attempt\", d.entry.Deliveries, \"err\", failure, \"fields\", d.entry.Fields)",
		}},
		tests: []tests{{inFaults, "TestSecretsOfEntries"}},
	},
	{
		name:  "batches overtake one that failed",
		edits: []edit{{"stream/run.go", "Limit: c.batches, Ordered: l.Serial,", "Limit: c.batches,"}},
		tests: []tests{{inStream, "TestBatchesInATransactionLoseNoRow|TestBatchesAgainstAModel"}},
	},
	{
		name:  "an entry that failed before the handler is overtaken by batches",
		edits: []edit{{"stream/internal/batch/assembler.go", "case !a.Ordered || u != nil && u.running && !u.failed:", "case !a.Ordered || u == nil || u.running && !u.failed:"}},
		tests: []tests{{inStream, "TestBatchesAgainstAModel"}},
	},
	{
		name:  "with several batches at once, others are begun behind a failed one",
		edits: []edit{{"stream/internal/batch/assembler.go", "if a.Ordered && (a.failed > 0 || a.units >= a.Limit) {", "if a.Ordered && a.running >= a.Limit {"}},
		tests: []tests{{inStream, "TestNothingBehindAFailedBatch|TestBatchesAgainstAModel"}},
	},
	{
		name:  "a failed batch comes back in pieces",
		edits: []edit{{"stream/internal/batch/assembler.go", "return !u.running && n > 0 && u.arrived == n", "return !u.running && n > 0 && u.arrived > 0"}},
		tests: []tests{{inStream, "TestBatchesAgainstAModel|TestMembersLeaveAFailedBatch"}},
	},
	{
		name:  "a batch waits for a member that was lost",
		edits: []edit{{"stream/internal/window/leases.go", "\t\tw.leaveBatchLocked(it)\n\t\tw.budget.unload(it)\n", "\t\tw.budget.unload(it)\n"}},
		tests: []tests{{inStream, "TestMembersLeaveAFailedBatch"}},
	},
	{
		name:  "a batch waits for a dead letter that cannot be written",
		edits: []edit{{"stream/internal/window/writing.go", "if !w.Serial { // else", "if w.budget.parked < 0 { // else"}},
		tests: []tests{{inStream, "TestMembersLeaveAFailedBatch"}},
	},
	{
		name:  "units wait for each other's workers",
		edits: []edit{{"stream/internal/batch/assembler.go", "return a.Size + a.bound }", "return a.Size }"}},
		tests: []tests{{inStream, "TestBatchesAgainstAModel|TestBatchesAfterAnOutage"}},
	},
	{
		name:  "a stop lets messages wait for the rest of their batch",
		edits: []edit{{"stream/internal/window/window.go", "\tif w.assembler != nil {\n\t\tw.assembler.StopLocked()\n\t}\n", ""}},
		tests: []tests{{inStream, "TestStopWhileABatchWaitsForItsRest"}},
	},
	{
		name:  "log mode goes on behind a dead letter that is not written",
		edits: []edit{{"stream/internal/window/window.go", " || w.Serial && w.writing > 0 {", " {"}},
		tests: []tests{{inStream, "TestEntryIsHeldWhileItsDeadLetterFails"}},
	},
	{
		name:  "a dead letter that could not be written is dropped",
		edits: []edit{{"stream/internal/commit/letters.go", "\tbox.failed = append(box.failed, letter)\n", "\tbox.failed = append(box.failed[:0], letter)\n"}},
		tests: []tests{{inStream, "TestDeadLettersThatCannotBeWritten"}},
	},
	{
		name:  "trouble with dead letters is over with the first that is written",
		edits: []edit{{"stream/internal/commit/letters.go", "return ended && box.late == 0", "return ended"}},
		tests: []tests{{inStream, "TestDeadLettersOfSeveralKinds"}},
	},
	{
		name:  "the next entry is handled before trouble with a dead letter is told",
		edits: []edit{{"stream/internal/commit/letters.go", "return box, box.late == 0 && !box.slow", "return box, false"}},
		tests: []tests{{inStream, "TestDeadLetterIsToldBeforeTheNextEntry"}},
	},
	{
		name:  "each dead letter waits for a server that stands still",
		edits: []edit{{"stream/internal/commit/letters.go", "\t\tbox.slow = true\n", "\t\t_ = box\n"}},
		tests: []tests{{inStream, "TestDeadLetterServerThatIsSlow"}},
	},
	{
		name:  "dead letters that work wait for those that do not",
		edits: []edit{{"stream/internal/commit/letters.go", "\tcase len(box.fresh) > 0:\n\tcase len(box.failed) > 0 && (box.due || l.stopped):", "\tcase len(box.failed) == 0 && len(box.fresh) > 0:\n\tcase len(box.failed) > 0 && (box.due || l.stopped):"}},
		tests: []tests{{inStream, "TestDeadLettersOfSeveralKinds"}},
	},
	{
		name:  "a stop waits for dead letters that cannot be written",
		edits: []edit{{"stream/internal/commit/letters.go", "\tl.stopped = true\n", ""}},
		tests: []tests{{inStream, "TestStopWhileDeadLettersCannotBeWritten"}},
	},
	{
		name:  "the letters of entries that were claimed are kept",
		edits: []edit{{"stream/internal/window/leases.go", "\t\t\tw.LetterTaken() // which lets its fields go\n", ""}},
		tests: []tests{{inStream, "TestClaimedEntriesWaitForNoServerOfDeadLetters"}},
	},
}
