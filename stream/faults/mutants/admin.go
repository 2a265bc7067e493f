package main

// adminMutants are deliberate bugs in package admin, which its tests, and those of the suite of
// faults, have to catch.
var adminMutants = []mutant{
	{
		name:  "a redrive leaves the letter",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "moved[#moved + 1] = ARGV[i]", "moved[1] = ARGV[i]"}},
		tests: []tests{{inAdmin, "TestRedriveInPages"}},
	},
	{
		name:  "a redrive deletes a letter before its entry is added",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "      answer = redis.pcall('XADD'", "      redis.call('XDEL', KEYS[1], ARGV[i])\n      answer = redis.pcall('XADD'"}},
		tests: []tests{{inAdmin, "TestRedriveOutOfMemory|TestRedriveOfNothing"}},
	},
	{
		name:  "a redrive adds the entry though the letter may not be deleted",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "if redis.acl_check_cmd and", "if false and"}},
		tests: []tests{{inAdmin, "TestRightsOfARedrive"}},
	},
	{
		name:  "the guard against loops counts nothing",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "string.format('%d', redrives + 1)", "'1'"}},
		tests: []tests{{inAdmin, "TestRedriveRestoresEntries"}},
	},
	{
		name:  "a letter is redriven for ever",
		edits: []edit{{"stream/admin/redrive.go", "case letter.Redrives >= r.cfg.MaxRedrives:", "case letter.Redrives > 1<<30:"}},
		tests: []tests{{inAdmin, "TestRedriveLeaves"}},
	},
	{
		name:  "the script takes letters that were redriven too often",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "  if redrives >= most then return nil end\n", ""}},
		tests: []tests{{inRedrive, "TestRedriveScriptChecksLetters"}},
	},
	{
		name:  "a redriven entry has the headers of the one before, too",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "origin, redrives, n = f[n - 2], tonumber(f[n]), n - 4", "origin, redrives = f[n - 2], tonumber(f[n])"}},
		tests: []tests{{inAdmin, "TestRedriveRestoresEntries"}},
	},
	{
		name:  "a redriven entry is everybody's",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "if address ~= '*' then", "if address == '' then"}},
		tests: []tests{{inAdmin, "TestRedrivenEntriesAreForOneReader"}},
	},
	{
		name:  "a plan takes whatever has the ID of a letter",
		edits: []edit{{"stream/admin/internal/redrive/redrive.lua", "f and f[#f] == ARGV[i + 1] and is_letter(f)", "f and is_letter(f)"}},
		tests: []tests{{inAdmin, "TestRedriveTakesNoOthers"}},
	},
	{
		name:  "an edit takes whatever has the ID of a letter",
		edits: []edit{{"stream/admin/internal/redrive/edit.lua", "if not f or f[#f] ~= ARGV[2] then", "if not f then"}},
		tests: []tests{{inAdmin, "TestEditOfALetterThatIsGone"}},
	},
	{
		name:  "a drop takes whatever has the ID of a letter",
		edits: []edit{{"stream/admin/internal/redrive/drop.lua", "if f and f[#f] == ARGV[i + 1] then", "if f then"}},
		tests: []tests{{inAdmin, "TestRedriveTakesNoOthers"}},
	},
	{
		name:  "a redrive in two steps adds an entry without its key",
		edits: []edit{{"stream/admin/internal/redrive/mover.go", "[]string{m.Target, m.onceKey(letter.ID)}", "[]string{m.Target, m.onceKey(letter.ID) + strconv.Itoa(time.Now().Nanosecond())}"}, {"stream/admin/internal/redrive/mover.go", "\t\"strings\"\n", "\t\"strconv\"\n\t\"strings\"\n"}},
		tests: []tests{{inAdmin, "TestRedriveLosesAnswers|TestRedriversKilled"}},
	},
	{
		name:  "a redrive in two steps deletes first",
		edits: []edit{{"stream/admin/internal/redrive/mover.go", "\targs := []any{onceKept", "\tm.Source.XDel(ctx, m.Dead, letter.ID)\n\targs := []any{onceKept"}},
		tests: []tests{{inAdmin, "TestRedriversKilled|TestRedriveLosesAnswers"}},
	},
	{
		name:  "a redrive counts what its answers say",
		edits: []edit{{"stream/admin/internal/redrive/work.go", "Moved:  int64(len(tried)) - leftOfTried - w.gone,", "Moved:  w.moved,"}},
		tests: []tests{{inAdmin, "TestRedriveLosesAnswers"}},
	},
	{
		name:  "a page whose answer was lost counts as moved by others",
		edits: []edit{{"stream/admin/internal/redrive/work.go", "\t\tif lost {\n\t\t\tw.unsure", "\t\tif lost && a.letters == 0 {\n\t\t\tw.unsure"}},
		tests: []tests{{inAdmin, "TestRedriveLosesAnswers"}},
	},
	{
		name:  "a redrive gives up at the first answer that is lost",
		edits: []edit{{"stream/admin/internal/redrive/work.go", "if err == nil || !passes(err) {", "if err == nil || unknown || !passes(err) {"}},
		tests: []tests{{inFaults, "TestRedriveUnderCuts"}},
	},
	{
		name:  "a redrive goes on while its entries come back",
		edits: []edit{{"stream/admin/internal/redrive/returns.go", "if r.reach < returnsOf {", "if r.reach < 100*returnsOf {"}},
		tests: []tests{{inAdmin, "TestRedriveStopsWhenEntriesReturn"}},
	},
	{
		name:  "a redrive takes no notice of how far its reader is behind",
		edits: []edit{{"stream/admin/internal/redrive/pace.go", "case p.behind > 0 && p.lag > p.behind:", "case p.behind > 0 && p.lag > 1<<40:"}},
		tests: []tests{{inAdmin, "TestRedriveWaitsWhereTheLagIsUnknown"}},
	},
	{
		name:  "letters that come later are redriven with the plan",
		edits: []edit{{"stream/admin/internal/letters/range.go", "s = span{from: \"-\", to: last}", "s = span{from: \"-\", to: \"+\"}"}},
		tests: []tests{{inAdmin, "TestLettersThatComeWhileItIsPlanned"}},
	},
	{
		name:  "undecodable letters are redriven unasked",
		edits: []edit{{"stream/admin/redrive.go", "case letter.Undecodable() && !r.cfg.AlsoUndecodable:", "case letter.Undecodable() && r.cfg.AlsoUndecodable:"}},
		tests: []tests{{inAdmin, "TestRedriveLeaves"}},
	},
	{
		name: "an agent does not end a pause",
		edits: []edit{{
			"stream/admin/steered.go",
			"\tcase s.pause != Pause{}:\n\t\ts.pause, s.until = Pause{}, time.Time{}\n\t\tif !s.atWork {\n\t\t\ts.consumer.Resume()\n\t\t}\n",
			"\tcase s.pause != Pause{}:\n\t\ts.pause, s.until = Pause{}, time.Time{}\n",
		}},
		tests: []tests{{inAdmin, "TestPauseFromElsewhere"}},
	},
	{
		name: "an agent tells late that it obeys",
		edits: []edit{{
			"stream/admin/agent.go",
			"\t\t\t\tif s.obeyPause(control.Paused, skew) {\n\t\t\t\t\ta.renewed = time.Time{}\n\t\t\t\t}\n",
			"\t\t\t\ts.obeyPause(control.Paused, skew)\n",
		}},
		tests: []tests{{inAdmin, "TestPauseFromElsewhere"}},
	},
	{
		name: "the consumers beside a seek go on where they were",
		edits: []edit{{
			"stream/admin/agent_seek.go",
			"\t\t\treturn s.consumer.Reposition(ctx)\n",
			"\t\t\treturn nil\n",
		}},
		tests: []tests{{inAdmin, "TestSeekFromElsewhere"}},
	},
	{
		name: "a process stays listed after its stop",
		edits: []edit{{
			"stream/admin/agent.go",
			"\t\tpipe.HDel(ctx, keys.processes(), a.id)\n",
			"",
		}},
		tests: []tests{{inAdmin, "TestAgentShowsItsConsumers"}},
	},
	{
		name: "an agent obeys a broken order as one to do nothing",
		edits: []edit{{
			"stream/admin/steered.go",
			"\t\ts.failure = err.Error()\n",
			"\t\ts.failure = \"\"\n",
		}},
		tests: []tests{{inAdmin, "TestSeekThatCannotBeObeyed"}},
	},
}
