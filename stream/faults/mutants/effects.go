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
		edits: []edit{{"stream/effects.go", "case cluster && conn.HashTag(target.Key) != conn.HashTag(topic):", "case false && conn.HashTag(target.Key) != conn.HashTag(topic) && cluster:"}},
		tests: []tests{{inStream, "TestEffectsAreCheckedAtConstruction"}},
	},
	{
		name:  "effects: they do not count in the window",
		edits: []edit{{"stream/internal/window/checkpoint.go", "\t\tw.budget.loadEffects(it)\n", ""}},
		tests: []tests{{inWindow, "TestEffectsCountInTheWindow"}},
	},
	{
		name:  "a settling that a worker gives up is not taken on",
		edits: []edit{{"stream/settle.go", "\tif err != nil {\n\t\tr.settler.Request()\n\t}\n\treturn err\n", "\treturn err\n"}},
		tests: []tests{{inStream, "TestSettlingThatAWorkerHasGivenUp"}},
	},
}
