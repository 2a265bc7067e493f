-- is_letter tells a dead letter by the names of its last six fields.
local function is_letter(f)
  local n = #f - 12
  return n >= 0 and f[n + 1] == 'millrace.stream' and f[n + 3] == 'millrace.id'
    and (f[n + 5] == 'millrace.group' or f[n + 5] == 'millrace.label')
    and f[n + 7] == 'millrace.attempts' and f[n + 9] == 'millrace.error' and f[n + 11] == 'millrace.time'
end

-- restore makes the fields of a letter those of the redriven entry, and returns how many
-- texts those are, or nil where the letter was redriven too often.
local function restore(f, most, address)
  local n = #f - 12
  if address == '' then
    address = (f[n + 5] == 'millrace.group' and 'group:' or 'label:') .. f[n + 6]
  end
  local origin, redrives = f[n + 4], 0
  if n >= 4 and f[n - 1] == 'millrace.redrives' and f[n - 3] == 'millrace.origin-id'
    and #f[n] < 10 and string.match(f[n], '^%d+$') then
    origin, redrives, n = f[n - 2], tonumber(f[n]), n - 4
    if n >= 2 and f[n - 1] == 'millrace.for' then n = n - 2 end
  end
  if redrives >= most then return nil end
  local headers = {'millrace.origin-id', origin, 'millrace.redrives', string.format('%d', redrives + 1)}
  if address ~= '*' then
    table.insert(headers, 1, 'millrace.for')
    table.insert(headers, 2, address)
  end
  for i = 1, #headers do f[n + i] = headers[i] end
  return n + #headers
end

-- A user who may not delete letters is refused before an entry is added: the letter would
-- be there as well.
if redis.acl_check_cmd and not redis.acl_check_cmd('XDEL', KEYS[1], '0-0') then
  return redis.error_reply('NOPERM this user has no permissions to run the xdel command on the dead letters')
end
local answers, moved = {}, {}
for i = 3, #ARGV, 2 do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  local f = found[1] and found[1][2]
  local answer = 'gone'
  if f and f[#f] == ARGV[i + 1] and is_letter(f) then
    local n = restore(f, tonumber(ARGV[1]), ARGV[2])
    if not n then
      answer = 'kept'
    else
      answer = redis.pcall('XADD', KEYS[2], '*', unpack(f, 1, n))
      if type(answer) == 'table' then
        if #moved == 0 then return answer end
        break
      end
      moved[#moved + 1] = ARGV[i]
    end
  end
  answers[#answers + 1] = answer
end
if #moved > 0 then redis.call('XDEL', KEYS[1], unpack(moved)) end
return answers
