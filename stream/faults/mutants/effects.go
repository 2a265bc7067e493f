package main

const inEffect = "./stream/internal/effect"

// effectsMutants are deliberate bugs in effects, which happen together with the settling.
var effectsMutants = []mutant{
	{
		name:  "effects: the fence is taken out",
		edits: []edit{{"stream/internal/script/effects_group.lua", "row[2] ~= ARGV[2] or ", ""}},
		tests: []tests{{inStream, "TestEffectsAreFenced"}},
	},
	{
		name:  "effects: the delivery count is not compared",
		edits: []edit{{"stream/internal/script/effects_group.lua", "row[4] ~= entry.count", "false"}},
		tests: []tests{{inStream, "TestEffectsAreFenced"}},
	},
	{
		name: "effects: the ack comes first",
		edits: []edit{{
			"stream/internal/script/effects_group.lua",
			"perform(lists) or attempt(unpack(ack))", "attempt(unpack(ack)) or perform(lists)",
		}},
		tests: []tests{{inStream, "TestHalfOfACommit"}},
	},
	{
		name:  "effects: the second half of a commit is tried again with the first",
		edits: []edit{{"stream/internal/script/prelude_effects.lua", "if written == 0 then", "if written >= 0 then"}},
		tests: []tests{{inStream, "TestHalfOfACommit"}},
	},
	{
		name:  "effects: counters are not looked at before",
		edits: []edit{{"stream/internal/script/prelude_effects.lua", "return verb == 'i' and countable(", "return false and countable("}},
		tests: []tests{{inStream, "TestEffectsAreRefusedBeforeTheFirstWrite"}},
	},
	{
		name:  "effects: types are not looked at before",
		edits: []edit{{"stream/internal/script/prelude_effects.lua", "if is ~= 'none' and is ~= kind then", "if false then"}},
		tests: []tests{{inStream, "TestEffectsAreRefusedBeforeTheFirstWrite"}},
	},
	{
		name:  "effects: the right to ack is not looked at before",
		edits: []edit{{"stream/internal/script/effects_group.lua", "denied('XACK', KEYS[1], ARGV[1], '0-0') or ", ""}},
		tests: []tests{{inStream, "TestEffectsAreRefusedBeforeTheFirstWrite"}},
	},
	{
		name:  "effects: rights are not looked at before",
		edits: []edit{{"stream/internal/script/prelude_effects.lua", "      if problem then return problem end\n      allowed", "      allowed"}},
		tests: []tests{{inStream, "TestEffectsAreRefusedBeforeTheFirstWrite"}},
	},
	{
		name:  "effects: a lost reply is forgotten",
		edits: []edit{{"stream/internal/groupmode/committer.go", "c.unknown[it] = true", "c.unknown[it] = false"}},
		tests: []tests{{inStream, "TestEffectsOfALostReply"}},
	},
	{
		name:  "effects: a commit is forgotten when a later one fails",
		edits: []edit{{"stream/internal/groupmode/committer.go", "\t\tcase !c.settled[it]:\n", "\t\tdefault:\n"}},
		tests: []tests{{inStream, "TestEffectsOfSeveralCommits"}},
	},
	{
		name:  "effects: a consumer that was removed takes nothing back",
		edits: []edit{{"stream/internal/groupmode/committer.go", "if c.named {\n\t\tc.tellRemoved", "if true {\n\t\tc.tellRemoved"}},
		tests: []tests{{inStream, "TestEffectsOfAConsumerThatIsRemoved"}},
	},
	{
		name:  "effects: a consumer of a given name takes back",
		edits: []edit{{"stream/internal/groupmode/committer.go", "if c.named {\n\t\tc.tellRemoved", "if false {\n\t\tc.tellRemoved"}},
		tests: []tests{{inStream, "TestEffectsOfAConsumerThatIsRemoved"}, {inFaults, "TestEffectsUnderFaults"}},
	},
	{
		name: "effects: a failed run is not reset",
		edits: []edit{
			{"stream/internal/effect/buffer.go", "b.begun, b.open, b.list, b.kept = b.run, true, nil, nil", "b.begun, b.open, b.kept = b.run, true, nil"},
			{"stream/internal/effect/buffer.go", "\tif succeeded {\n\t\tb.kept = b.list\n\t}\n\tb.open, b.list = false, nil\n", "\tif succeeded {\n\t\tb.kept, b.list = b.list, nil\n\t}\n\tb.open = false\n"},
		},
		tests: []tests{{inStream, "TestEffectsOfFailuresAreDropped"}},
	},
	{
		name:  "effects: a success counts whatever middleware makes of it",
		edits: []edit{{"stream/worker.go", "if effects := d.reader.effects.Take(); failure == nil {", "if effects := d.reader.effects.Take(); true {"}},
		tests: []tests{{inStream, "TestEffectsOfFailuresAreDropped"}},
	},
	{
		name:  "effects: a bisected batch keeps those of the larger part",
		edits: []edit{{"stream/batch.go", "msg.startOver()", "_ = msg"}},
		tests: []tests{{inStream, "TestEffectsOfABatch"}},
	},
	{
		name: "effects: a late one goes to the next entry",
		edits: []edit{{
			"stream/internal/effect/buffer.go",
			"\tif !b.open || run != b.run {\n\t\treturn ErrOver", "\tif !b.open {\n\t\treturn ErrOver",
		}},
		tests: []tests{{inStream, "TestNoEffects"}, {inEffect, "TestBufferTakesEffectsOfTheOpenRun"}},
	},
	{
		name:  "effects: slots are not compared",
		edits: []edit{{"stream/effects.go", "case cluster && beside != \"\" && conn.HashTag", "case cluster && beside == \"\" && conn.HashTag"}},
		tests: []tests{{inStream, "TestEffectsAreCheckedAtConstruction"}},
	},
	{
		name:  "effects: they do not count in the window",
		edits: []edit{{"stream/internal/window/checkpoint.go", "\t\tw.budget.loadEffects(it)\n", ""}},
		tests: []tests{{inWindow, "TestEffectsCountInTheWindow"}},
	},
	{
		name:  "effects, log mode: the fence is taken out",
		edits: []edit{{"stream/internal/script/effects_log.lua", "if have ~= ARGV[2] then return {'fenced', have} end", ""}},
		tests: []tests{{inStream, "TestLogEffectsOfTwoWithOneLabel"}},
	},
	{
		name:  "effects, log mode: a commit that has happened is not known again",
		edits: []edit{{"stream/internal/script/effects_log.lua", "if have == link then return {'done', ''} end", ""}},
		tests: []tests{{inStream, "TestLogEffectsOfALostReply"}},
	},
	{
		name:  "effects, log mode: a commit is made anew after a lost reply",
		edits: []edit{{"stream/internal/logmode/source.go", "\t\tif c.sent == nil {\n\t\t\tc.next(list[c.passed:])\n\t\t}\n", "\t\tc.next(list[c.passed:])\n"}},
		tests: []tests{{inStream, "TestLogEffectsOfALostReply"}},
	},
	{
		name:  "effects, log mode: a consumer goes on with the chain of the one before",
		edits: []edit{{"stream/internal/script/begin_chain.lua", "if name ~= ARGV[2] then", "if not name then"}},
		tests: []tests{{inStream, "TestLogEffectsOfTwoWithOneLabel"}},
	},
	{
		name:  "effects, log mode: no chain is begun when the offset is loaded",
		edits: []edit{{"stream/internal/logmode/stored.go", "\tif s.chain != nil {\n\t\treturn s.chain.begin(ctx) // first", "\tif s.chain != nil && s.chain.name != \"\" {\n\t\treturn s.chain.begin(ctx) // first"}},
		tests: []tests{{inStream, "TestLogEffectsHappenWithTheOffset"}},
	},
	{
		name:  "effects, log mode: a server that has fallen back is another consumer",
		edits: []edit{{"stream/internal/logmode/chain.go", "if name == c.name || numberOf(name) < numberOf(c.name) {", "if false {"}},
		tests: []tests{{inStream, "TestLogEffectsOfAServerThatFallsBack"}},
	},
	{
		name:  "effects, log mode: another consumer is a server that has fallen back",
		edits: []edit{{"stream/internal/logmode/chain.go", "if name == c.name || numberOf(name) < numberOf(c.name) {", "if name != \"\" {"}},
		tests: []tests{{inStream, "TestLogEffectsOfTwoWithOneLabel"}},
	},
	{
		name:  "effects, log mode: an idle consumer does not look for its link",
		edits: []edit{{"stream/internal/logmode/chain.go", "\treturn errFellBack\n}\n\n// fencedBy", "\treturn nil\n}\n\n// fencedBy"}},
		tests: []tests{{inStream, "TestLogEffectsOfACutAppendOnlyFile"}},
	},
	{
		name:  "effects, log mode: the link moves first",
		edits: []edit{{"stream/internal/script/effects_log.lua", "perform(lists) or\n  attempt('HSET', offsets, label, id) or attempt('HSET', KEYS[1], label, link)", "attempt('HSET', KEYS[1], label, link) or\n  attempt('HSET', offsets, label, id) or perform(lists)"}},
		tests: []tests{{inStream, "TestHalfOfALogCommit"}},
	},
	{
		name:  "effects, log mode: a seek does not move the offset back",
		edits: []edit{{"stream/internal/logmode/seek.go", "s.chain.save(ctx, id, true)", "s.chain.save(ctx, id, false)"}},
		tests: []tests{{inStream, "TestLogEffectsAfterASeek"}},
	},
	{
		name:  "effects, log mode: a refused commit forgets those before",
		edits: []edit{{"stream/internal/logmode/chain.go", "c.passed += c.sent.entries", "c.passed = c.sent.entries"}},
		tests: []tests{{inStream, "TestLogEffectsHappenWithTheOffset"}},
	},
	{
		name:  "effects, log mode: after a loss the rest of a batch is handled again",
		edits: []edit{{"stream/internal/loss/log.go", "return f.lastOf(ctx, recent.behind(one.ID), one.Place)", "return f.lastOf(ctx, recent[len(recent):], one.Place)"}},
		tests: []tests{{inLoss, "TestLastKnownPlaceInABatch"}},
	},
	{
		name:  "a relay leaves out what was redriven for one reader",
		edits: []edit{{"stream/consumer.go", "if c.relays {", "if false {"}},
		tests: []tests{{inStream, "TestRelayCopiesEntries"}},
	},
	{
		name:  "a relay keeps its offset where it reads",
		edits: []edit{{"stream/relay.go", "offset.NewRedis(to.Client,", "offset.NewRedis(from.Client,"}},
		tests: []tests{{inStream, "TestRelayOfTwoWithOneLabel"}},
	},
	{
		name:  "a settling that a worker gives up is not taken on",
		edits: []edit{{"stream/settle.go", "\tif err != nil {\n\t\tr.settler.Request()\n\t}\n\treturn err\n", "\treturn err\n"}},
		tests: []tests{{inStream, "TestSettlingThatAWorkerHasGivenUp"}},
	},
}
