local function denied(command, ...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, ...) then
    return redis.error_reply('NOPERM this user has no permissions to run the ' .. string.lower(command) .. ' command on ' .. (...))
  end
end
