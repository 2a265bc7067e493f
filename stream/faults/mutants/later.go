package main

// laterMutants are deliberate bugs in what is published later, which the tests of package stream
// have to catch.
var laterMutants = []mutant{
	{
		name:  "an entry is sent again though it may have been moved",
		edits: []edit{{"stream/internal/script/add_later.lua", "if ARGV[3] == '1' and", "if false and"}},
		tests: []tests{{inStream, "TestPublishAtWithoutAReply"}},
	},
	{
		name:  "an entry is moved before its time",
		edits: []edit{{"stream/internal/script/move_due.lua", "local now = clock()", "local now = clock() + 1500"}, {"stream/internal/script/find_due.lua", "clock(), {}", "clock() + 1500, {}"}},
		tests: []tests{{inStream, "TestPublishAtItsTime"}},
	},
	{
		name:  "a time stays without its contents, for want of a right",
		edits: []edit{{"stream/internal/script/cancel_later.lua", "if no then return no end", ""}},
		tests: []tests{{inStream, "TestPublishAtRefusedByTheServer"}},
	},
	{
		name:  "an entry is moved though it may not be removed",
		edits: []edit{{"stream/internal/script/move_due.lua", "  if no then return no end\n", ""}},
		tests: []tests{{inStream, "TestPublishAtRefusedByTheServer"}},
	},
	{
		name:  "an entry that the topic cannot take holds up the others",
		edits: []edit{{"stream/internal/script/move_due.lua", "~= 'ERR' then", "~= '' then"}},
		tests: []tests{{inStream, "TestMoverWithoutContents"}},
	},
	{
		name:  "a time without contents is no loss",
		edits: []edit{{"stream/internal/script/move_due.lua", "    lost[#lost + 1] = ticket\n", ""}},
		tests: []tests{{inStream, "TestMoverWithoutContents"}},
	},
	{
		name:  "the topic is not trimmed when an entry is moved",
		edits: []edit{{"stream/internal/script/move_due.lua", "elseif words[1] ~= '' then", "elseif false then"}},
		tests: []tests{{inStream, "TestPublishAtItsTime"}},
	},
	{
		name:  "an entry that is put off stays pending",
		edits: []edit{{"stream/internal/script/postpone.lua", "if row then redis.call('XACK', stream, group, id) end", ""}},
		tests: []tests{{inStream, "TestRetryAfterHoldsUpNoOthers|TestRetryAfterOutlasts"}},
	},
	{
		name:  "an entry is put off that another consumer has",
		edits: []edit{{"stream/internal/script/postpone.lua", "elseif row[2] ~= consumer or", "elseif"}},
		tests: []tests{{inStream, "TestRetryAfterOfWhatIsNotPending"}},
	},
	{
		name:  "an entry is put off by half, for want of a right",
		edits: []edit{{"stream/internal/script/postpone.lua", "if no then return no end", ""}},
		tests: []tests{{inStream, "TestRetryAfterRefusedByTheServer"}},
	},
	{
		name:  "an entry that comes back is delivered for the first time",
		edits: []edit{{"stream/internal/script/bring_back.lua", "'RETRYCOUNT', count, 'FORCE'", "'RETRYCOUNT', 0, 'FORCE'"}},
		tests: []tests{{inStream, "TestRetryAfterComesBackAsItself"}},
	},
	{
		name:  "an entry comes back before its time",
		edits: []edit{{"stream/internal/script/postpone.lua", "clock() + ARGV[5]", "clock() - 1"}},
		tests: []tests{{inStream, "TestRetryAfterComesBackAsItself"}},
	},
	{
		name:  "an entry that was trimmed meanwhile is gone",
		edits: []edit{{"stream/internal/script/bring_back.lua", "if #found == 0 or not same(found[1][2], fields) then", "if false then"}},
		tests: []tests{{inStream, "TestRetryAfterOfTrimmedEntries"}},
	},
	{
		name:  "another entry in place of one that waits is taken for it",
		edits: []edit{{"stream/internal/script/bring_back.lua", "or not same(found[1][2], fields) then", "then"}},
		tests: []tests{{inStream, "TestRetryAfterTouchedByHand"}},
	},
	{
		name:  "an entry that is added again is everybody's",
		edits: []edit{{"stream/internal/script/bring_back.lua", "'millrace.for', 'group:' .. group, 'millrace.deliveries'", "'millrace.also', 'group:' .. group, 'millrace.deliveries'"}},
		tests: []tests{{inStream, "TestRetryAfterOfTrimmedEntries"}},
	},
	{
		name:  "the deliveries before a trim do not count",
		edits: []edit{{"stream/deadletter.go", "entry.Deliveries += deliveredBefore(entry.Fields)", "_ = deliveredBefore"}},
		tests: []tests{{inStream, "TestRetryAfterOfTrimmedEntries"}},
	},
	{
		name:  "the limit of deliveries does not end what is put off",
		edits: []edit{{"stream/outcome.go", "	case !e.reader.isExhausted(e):\n", "	case e.reader.Group != \"\" || !e.reader.isExhausted(e):\n"}},
		tests: []tests{{inStream, "TestRetryAfterOfTrimmedEntries|TestGroupMaxDeliveries"}},
	},
}
