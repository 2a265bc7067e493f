local complete
local function replaced(id)
  if complete == nil then
    local of = named(redis.call('XINFO', 'STREAM', KEYS[1]))
    complete = of['entries-added'] == of.length
  end
  return complete and #redis.call('XRANGE', KEYS[1], id, id) == 0
end
