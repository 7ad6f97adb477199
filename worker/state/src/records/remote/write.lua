-- One change of one record; see `operation.rs` for what it means.
-- KEYS: the record, the names of its kind in their order, the same by their ends (milliseconds since the epoch).
-- ARGV: condition ("always", "absent", "is"), the version it is to be, change ("put", "remove"), the record to put, how long it
--       lives in milliseconds (negative: as long as before), its name.
-- Answer: 1 and what was removed, or 0 and what is there.
local stored = redis.call('GET', KEYS[1])
if ARGV[1] == 'absent' and stored then
  return {0, stored}
end
if ARGV[1] == 'is' and (not stored or string.sub(stored, 2, 9) ~= ARGV[2]) then
  return {0, stored}
end
local lives = tonumber(ARGV[5])
if ARGV[3] == 'remove' or lives == 0 then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[6])
  redis.call('ZREM', KEYS[3], ARGV[6])
  if ARGV[3] == 'remove' then
    return {stored and 1 or 0, stored}
  end
  return {1, false}
end
if lives < 0 then
  redis.call('SET', KEYS[1], string.sub(ARGV[4], 1, 9) .. string.sub(stored, 10, 17) .. string.sub(ARGV[4], 18), 'KEEPTTL')
  return {1, false}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[4], 'PX', lives)
redis.call('ZADD', KEYS[2], 0, ARGV[6])
redis.call('ZADD', KEYS[3], now + lives, ARGV[6])
-- Names of records that have ended, a few at a time. One that ends in this very millisecond may still be there.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - 1000, 'LIMIT', 0, 8)) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
end
return {1, false}
