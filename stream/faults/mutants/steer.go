package main

// steerMutants are deliberate bugs in pauses, seeks, and the bound of a Run.
var steerMutants = []mutant{
	{
		name:  "entries are begun in a pause",
		edits: []edit{{"stream/internal/window/window.go", "if w.budget.paused || w.checkpoint.stalled", "if w.checkpoint.stalled"}},
		tests: []tests{{inStream, "TestPause"}},
	},
	{
		name:  "reading goes on in a pause",
		edits: []edit{{"stream/internal/window/budget.go", "!w.budget.isLoaded() && !w.budget.paused", "!w.budget.isLoaded()"}},
		tests: []tests{{inStream, "TestPauseInAGroup"}},
	},
	{
		name: "a read that waits takes entries in a pause, in log mode",
		edits: []edit{{
			"stream/internal/logmode/source.go",
			"if s.window.IsPaused() {",
			"if s.window.IsPaused() && b.Len() == 0 {",
		}},
		tests: []tests{{inStream, "TestPause"}},
	},
	{
		name:  "a read that waits goes on in a pause",
		edits: []edit{{"stream/internal/feed/feed.go", "\tif f.group == \"\" {\n\t\treturn\n\t}\n\tgo func", "\tif f.group != \"\" {\n\t\treturn\n\t}\n\tgo func"}},
		tests: []tests{{inStream, "TestPauseInAGroup"}},
	},
	{
		name:  "a read of a Runner goes on for a member that is paused",
		edits: []edit{{"stream/internal/feed/hub.go", "func (m *member) Recall() { signal(m.recalled) }", "func (m *member) Recall() {}"}},
		tests: []tests{{inStream, "TestPauseInAGroup"}},
	},
	{
		name:  "batches begin in a pause",
		edits: []edit{{"stream/internal/batch/assembler.go", "!a.stopped && !a.paused && (", "!a.stopped && ("}},
		tests: []tests{{inStream, "TestPauseOfBatches"}},
	},
	{
		name:  "a batch that was ripe in a pause does not begin behind it",
		edits: []edit{{"stream/internal/batch/assembler.go", "\ta.paused = paused\n\ta.beginLocked()\n", "\ta.paused = paused\n"}},
		tests: []tests{{inStream, "TestPauseOfBatches"}},
	},
	{
		name:  "a pause does not end by itself",
		edits: []edit{{"stream/steer.go", "func() { e.endPause(p) }", "func() {}"}},
		tests: []tests{{inStream, "TestPause"}},
	},
	{
		name: "the end of a pause ends the one that has replaced it",
		edits: []edit{
			{"stream/steer.go", "if s.paused != nil {\n\t\ts.paused.timer.Stop()\n\t}\n\ts.paused = p", "s.paused = p"},
			{"stream/steer.go", "(p == nil || s.paused == p)", "true"},
		},
		tests: []tests{{inStream, "TestPauseBeforeRunAndAgain"}},
	},
	{
		name: "a paused consumer claims",
		edits: []edit{
			{"stream/internal/window/budget.go", "if b.paused || b.draining {", "if b.draining {"},
			{"stream/internal/groupmode/claimer.go", "if c.window.IsPaused() {", "if false {"},
		},
		tests: []tests{{inStream, "TestPauseAndClaims"}},
	},
	{
		name:  "losses are looked for in a pause",
		edits: []edit{{"stream/internal/groupmode/claimer.go", "if c.window.IsPaused() {", "if false {"}},
		tests: []tests{{inStream, "TestSeekInAGroup"}},
	},
	{
		name:  "a full window counts as stuck in a pause",
		edits: []edit{{"stream/internal/window/snapshot.go", "!w.budget.readerWaits || w.budget.paused || blocking", "!w.budget.readerWaits || blocking"}},
		tests: []tests{{inStream, "TestPauseWithAFullWindow"}},
	},
	{
		name:  "a seek of a group tells what was deleted before as a loss",
		edits: []edit{{"stream/internal/groupmode/source.go", "s.made || s.sought", "s.made"}},
		tests: []tests{{inStream, "TestSeek"}},
	},
	{
		name:  "a seek of a label tells what was deleted before as a loss",
		edits: []edit{{"stream/internal/logmode/source.go", "resumed && !s.sought", "resumed"}},
		tests: []tests{{inStream, "TestSeek"}},
	},
	{
		name:  "a seek interrupts handlers at work",
		edits: []edit{{"stream/run.go", "e.handling(ctx, reading.Done())", "e.handling(reading, reading.Done())"}},
		tests: []tests{{inStream, "TestSeekWaitsForHandlers"}},
	},
	{
		name:  "a seek that is given up is carried out",
		edits: []edit{{"stream/steer.go", "\tif s.next != t {\n\t\treturn false\n\t}\n\ts.next = nil\n\treturn true", "\treturn s.next == t"}, {"stream/steer.go", "context.WithCancelCause(ctx)\n", "context.WithCancelCause(context.WithoutCancel(ctx))\n"}},
		tests: []tests{{inStream, "TestSeekThatIsGivenUp"}},
	},
	{
		name:  "a seek that a stop has overtaken is forgotten",
		edits: []edit{{"stream/steer.go", "s.next.err = errRunEnded", "s.next.err = nil"}},
		tests: []tests{{inStream, "TestSeekWithoutARun"}},
	},
	{
		name:  "a seek behind the end is told as a loss",
		edits: []edit{{"stream/internal/script/seek.lua", "if place == '+' or above(place, generated) then", "if place == '+' then"}},
		tests: []tests{{inStream, "TestSeek"}},
	},
	{
		name:  "a seek leaves Redis without the count of a group",
		edits: []edit{{"stream/internal/script/seek.lua", "if read < 0 then", "if true then"}},
		tests: []tests{{inStream, "TestSeekKeepsTheLag"}},
	},
	{
		name:  "entries behind the bound of a Run are handled",
		edits: []edit{{"stream/internal/mode/bound.go", "b == nil || resp.CompareIDs(batch.LastID(), b.at) <= 0", "b == nil || batch.LastID() != \"\""}},
		tests: []tests{{inStream, "TestUntil"}},
	},
	{
		name:  "a bounded Run does not wait for what is held",
		edits: []edit{{"stream/run.go", "\tif over {\n\t\t_ = r.window.Drain", "\tif over && ctx.Err() != nil {\n\t\t_ = r.window.Drain"}},
		tests: []tests{{inStream, "TestUntilWaitsForWhatIsHeld"}},
	},
	{
		name:  "a bounded Run waits for entries that are parked",
		edits: []edit{{"stream/internal/window/pause.go", "w.ledger.len() > w.budget.parked", "w.ledger.len() > 0"}},
		tests: []tests{{inStream, "TestUntilWithParkedEntries"}},
	},
	{
		name:  "a bounded Run leaves what was handed back",
		edits: []edit{{"stream/internal/groupmode/over.go", "if len(left) == 0 {", "if len(left) >= 0 {"}},
		tests: []tests{{inStream, "TestUntilGoesOnAfterAStop"}},
	},
	{
		name:  "the end of a bounded Run is looked up again after a seek",
		edits: []edit{{"stream/internal/mode/bound.go", "case b.at != \"\":", "case b.at == \"none\":"}},
		tests: []tests{{inStream, "TestUntilWithSeekAndPause"}},
	},
	{
		name:  "what was read behind the bound has used up an attempt",
		edits: []edit{{"stream/internal/groupmode/source.go", "\tif over {\n\t\tlast = b.LastID()", "\tif b.More && !over {\n\t\tlast = b.LastID()"}},
		tests: []tests{{inStream, "TestUntil"}},
	},
	{
		name:  "entries that waited for the end of a pause wake no worker",
		edits: []edit{{"stream/internal/window/pause.go", "\tw.roomMadeLocked()\n\tw.wakeReadyLocked()\n", "\tw.roomMadeLocked()\n"}},
		tests: []tests{{inWindow, "TestWindowAgainstAModel"}},
	},
	{
		name:  "the claimer is not told that a window was drained",
		edits: []edit{{"stream/internal/window/pause.go", "\tw.budget.draining = false\n\tw.budget.tellClaimer(w.order.redeliver.len())\n", "\tw.budget.draining = false\n"}},
		tests: []tests{{inWindow, "TestWindowAgainstAModel"}},
	},
	{
		name:  "a Run tells what was deleted before a seek without a Run as a loss",
		edits: []edit{{"stream/steer.go", "sought, s.active, s.sought = s.sought, true, false", "s.active = true"}},
		tests: []tests{{inStream, "TestSeekWithoutARun"}},
	},
	{
		name: "another process tells what was deleted before a seek as a loss",
		edits: []edit{
			{"stream/internal/script/seek.lua", "elseif above(stream['max-deleted-entry-id'], place) then", "elseif false then"},
			{"stream/internal/loss/number.go", "resp.CompareIDs(before.MaxDeletedEntryID, place) > 0", "false"},
		},
		tests: []tests{{inStream, "TestSeekByAnotherProcess"}, {inAdmin, "TestSeekBeforeADeletedEntry"}},
	},
	{
		name:  "an admin sets a group that has moved since",
		edits: []edit{{"stream/internal/script/seek.lua", "if ARGV[4] and ARGV[4] ~= from then", "if false then"}},
		tests: []tests{{inAdmin, "TestSeekOfAGroupThatPassesAtOnce"}},
	},
	{
		name:  "a consumer that repositions tells a loss",
		edits: []edit{{"stream/steer.go", "\tif !c.engine.inGroup() {\n\t\treturn nil\n\t}\n\treturn c.engine.seek(ctx, nil)", "\treturn nil"}},
		tests: []tests{{inStream, "TestReposition"}},
	},
}
