local looked = 0
local function state(key)
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then return '' end
  looked = looked + #groups
  for _, pairs in ipairs(groups) do
    local group = named(pairs)
    if group.name == ARGV[1] then
      if group.pending ~= 0 then return '' end
      local words, length = {tostring(group['last-delivered-id']), tostring(group['entries-read']), tostring(group.lag)}, redis.call('XLEN', key)
      if group.lag and group.lag < length then
        words[#words + 1] = length
      else
        if length > 0 then looked = looked + 150 end
        local stream = named(redis.call('XINFO', 'STREAM', key))
        for _, name in ipairs({'length', 'last-generated-id', 'entries-added', 'max-deleted-entry-id'}) do
          words[#words + 1] = tostring(stream[name])
        end
      end
      return table.concat(words, ' ')
    end
  end
  return ''
end
local states = {}
for i, key in ipairs(KEYS) do
  states[i] = state(key)
  if looked > 300 then break end
end
return states
