package main

// sqlMutants are deliberate bugs in what goes to SQL databases. Their tests need the servers of
// Postgres and MariaDB.
var sqlMutants = []mutant{
	{
		name: "the position is read before the inbox is written",
		edits: []edit{
			{
				"offset/sqlstore/inbox.go",
				"\tfresh, err := s.insert(ctx, tx, label, ids)\n",
				"\tmark, found, err := s.mark(ctx, tx, label)\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\tfresh, err := s.insert(ctx, tx, label, ids)\n",
			},
			{
				"offset/sqlstore/inbox.go",
				"\tmark, found, err := s.mark(ctx, tx, label)\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\tisNew =",
				"\tisNew =",
			},
		},
		tests: []tests{{inSQL, "TestCompactionBetweenTheSteps"}},
	},
	{
		name: "a position is read without a lock at each isolation level",
		edits: []edit{{
			"offset/sqlstore/inbox.go",
			"strings.HasPrefix(level, \"read \")",
			"level != \"\"",
		}, {"offset/sqlstore/inbox.go", "\t\"slices\"\n\t\"strings\"\n", "\t\"slices\"\n"}},
		tests: []tests{{inSQL, "TestCompactionRace"}},
	},
	{
		name: "a position that is missing in the snapshot is taken for none",
		edits: []edit{{
			"offset/sqlstore/inbox.go",
			"err != nil || found {\n\t\treturn mark, found, err\n\t}\n",
			"err != nil || !found || found {\n\t\treturn mark, found, err\n\t}\n",
		}},
		tests: []tests{{inSQL, "TestCompactionRace"}},
	},
	{
		name: "a position that was added for its lock stays",
		edits: []edit{{
			"offset/sqlstore/inbox.go",
			"\tif err == nil {\n\t\t_, err = exec(ctx, tx, s.sql.remove, label)\n\t}\n",
			"",
		}},
		tests: []tests{{inSQL, "TestEnterLeavesNoPosition"}},
	},
	{
		name: "a position in SQL moves back",
		edits: []edit{{
			"offset/sqlstore/store.go",
			"at.Compare(next) >= 0",
			"at.Compare(next) == 0",
		}},
		tests: []tests{{inSQL, "TestStore"}},
	},
	{
		name: "an entry is passed twice",
		edits: []edit{{
			"offset/sqlstore/dialect.go",
			"AND id < ? AND length(id) = 41",
			"AND id <= ? AND length(id) = 41",
		}},
		tests: []tests{{inSQL, "TestPassMovesThePositionOnce"}},
	},
	{
		name: "rows above the position are deleted from the inbox",
		edits: []edit{{
			"offset/sqlstore/dialect.go",
			"WHERE label = ? AND id <= ?\"",
			"WHERE label = ? AND id >= ?\"",
		}},
		tests: []tests{{inSQL, "TestEnterFindsWhatWasEntered"}},
	},
	{
		name: "a corrupt position counts as one that is ahead",
		edits: []edit{{
			"offset/sqlstore/inbox.go",
			"\t\t_, _, err := s.position(ctx, tx, s.sql.load, label)\n\t\treturn false, err\n",
			"\t\treturn false, nil\n",
		}},
		tests: []tests{{inSQL, "TestPassRefusesACorruptPosition"}},
	},
	{
		name: "an entry that was handled before is handled again",
		edits: []edit{{
			"stream/streamsql/transaction.go",
			"err = claim(tx); err != nil || !begun {",
			"err = claim(tx); err != nil {",
		}},
		tests: []tests{{inSQL, "TestOnceInOrder"}},
	},
	{
		name: "with several handlers, the position passes entries at work",
		edits: []edit{{
			"stream/option_consumer.go",
			"&& !c.ordered && c.concurrency == 1\n",
			"&& !c.ordered\n",
		}},
		tests: []tests{{inStream, "TestEntryTellsWhetherItIsInOrder"}},
	},
	{
		name: "a consumer in order does not look into the inbox",
		edits: []edit{{
			"offset/sqlstore/dialect.go",
			" AND NOT EXISTS (SELECT 1 FROM \" + inbox + \" WHERE label = ? AND id = ?)\"",
			" AND (? = '' OR ? <> '')\"",
		}},
		tests: []tests{{inSQL, "TestInOrderAfterSeveralHandlers"}},
	},
	{
		name: "messages that were rolled back with a failed one count as done",
		edits: []edit{{
			"stream/streamsql/transaction.go",
			"\t\t\trest = append(rest, i)\n",
			"",
		}},
		tests: []tests{{inSQL, "TestOnceEach"}},
	},
	{
		name: "a transaction that the handler has ended counts as committed",
		edits: []edit{{
			"stream/streamsql/transaction.go",
			"\t\treturn true, errEnded\n",
			"\t\t_ = errEnded\n\t\treturn true, nil\n",
		}},
		tests: []tests{{inSQL, "TestTransactionEndedByTheHandler"}},
	},
	{
		name: "the inbox is compacted up to a low mark that was found once",
		edits: []edit{{
			"stream/streamsql/compactor.go",
			"upTo = c.before\n",
			"upTo = mark\n",
		}},
		tests: []tests{{inSQL, "TestCompactorWaitsForEntriesAtWork"}},
	},
	{
		name: "the inbox is compacted beyond what is pending",
		edits: []edit{{
			"stream/streamsql/compactor.go",
			"before.Compare(mark) < 0 {\n\t\t\tmark = before",
			"before.Compare(mark) > 0 {\n\t\t\tmark = before",
		}},
		tests: []tests{{inSQL, "TestCompactorWaitsForEntriesAtWork"}},
	},
	{
		name: "a row of the outbox that was published is published again",
		edits: []edit{{
			"stream/internal/script/publish_outbox.lua",
			"redis.call('HEXISTS', gates, token) == 0",
			"redis.call('HEXISTS', gates, token) >= 0",
		}},
		tests: []tests{{inSQL, "TestRelayAfterAKill"}},
	},
	{
		name: "a relay that is not the owner any more publishes",
		edits: []edit{{
			"stream/internal/script/publish_outbox.lua",
			"redis.call('HGET', gates, 'owner') ~= ARGV[1]",
			"not redis.call('HGET', gates, 'owner')",
		}},
		tests: []tests{{inScript, "TestOutboxKnowsItsOwner"}},
	},
	{
		name: "rows behind one that was refused are deleted with those before it",
		edits: []edit{{
			"stream/streamsql/relay.go",
			"c.store.DB(), t.topic, list[:done])",
			"c.store.DB(), t.topic, list)",
		}},
		tests: []tests{{inSQL, "TestRelayInTrouble"}},
	},
	{
		name: "a relay removes the gates of rows that are there",
		edits: []edit{{
			"stream/streamsql/relay.go",
			"if !present[token] {",
			"if present[token] {",
		}},
		tests: []tests{{inSQL, "TestRelayAfterAKill"}},
	},
	{
		name: "the rows of the outbox have no order",
		edits: []edit{{
			"stream/streamsql/outbox.go",
			"ORDER BY id LIMIT",
			"ORDER BY token LIMIT",
		}},
		tests: []tests{{inSQL, "TestRelay"}},
	},
}
