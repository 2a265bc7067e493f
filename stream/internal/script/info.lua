local of = named(redis.call('XINFO', 'STREAM', KEYS[1]))
local function id(entry) return entry and entry[1] or '' end
return {of.length, of['entries-added'] or 0, of['last-generated-id'], of['max-deleted-entry-id'] or '0-0', id(of['first-entry']), id(of['last-entry'])}
