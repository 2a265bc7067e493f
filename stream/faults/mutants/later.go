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
}
