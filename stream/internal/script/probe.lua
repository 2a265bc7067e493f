local found, left = 'present', 'absent'
if redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[2]) == 1 then found = 'absent' end
if ARGV[3] == 'always' or ARGV[3] == 'again' and found == 'absent' then
  left = 'present'
else
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return {found, left}
