local most = '18446744073709551615'

local function place(text)
  local ms, seq = string.match(text, '^0*(%d+)-0*(%d+)$')
  if not ms then ms, seq = string.match(text, '^0*(%d+)$'), '0' end
  if ms and not over(ms, most) and not over(seq, most) then return ms .. '-' .. seq end
end
