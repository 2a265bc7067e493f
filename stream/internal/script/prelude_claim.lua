local function claim(ids, owner, ...)
  local there, taken, gone = {}, {}, {}
  if #ids == 0 then return taken, gone end
  local words = {'XCLAIM', KEYS[1], ARGV[1], owner, 0}
  for _, id in ipairs(ids) do words[#words + 1] = id end
  for _, word in ipairs({'JUSTID', ...}) do words[#words + 1] = word end
  for _, id in ipairs(redis.call(unpack(words))) do there[id] = true end
  for _, id in ipairs(ids) do
    local list = there[id] and taken or gone
    list[#list + 1] = id
    if list == gone then redis.call('XACK', KEYS[1], ARGV[1], id) end -- miniredis keeps it
  end
  return taken, gone
end
