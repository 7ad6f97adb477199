//! What must happen at the server in one step.
//!
//! A server without memory left refuses the commands that need some, but not to a script that has written already:
//! those that must not fail then begin with a write that changes nothing (Redis 7, scripting, "allow-oom"; older
//! servers alike). Numbers of 2^53 and more lose their last digits in Lua; epochs and tokens stay below that for
//! centuries.

use task_mcp_redis::Script;

/// The scripts, with their hashes.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) bump: Script,
    pub(super) renew_epochs: Script,
    pub(super) member: Script,
    pub(super) store: Script,
    pub(super) lease: Script,
    pub(super) renew_lease: Script,
    pub(super) release_lease: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            bump: Script::new(BUMP),
            renew_epochs: Script::new(RENEW_EPOCHS),
            member: Script::new(MEMBER),
            store: Script::new(STORE),
            lease: Script::new(LEASE),
            renew_lease: Script::new(RENEW_LEASE),
            release_lease: Script::new(RELEASE_LEASE),
        }
    }
}

/// Keys: epochs. Arguments: channel, cells. Moves the epochs of cells on and tells it to who listens; answers with the
/// incarnation and the epochs. What cannot be moved on ends the incarnation: an empty answer, nothing from before is
/// trusted.
const BUMP: &str = r"
redis.call('PERSIST', KEYS[1])
local inc = redis.call('HGET', KEYS[1], 'inc')
local said = inc or ''
local answer = {said}
for at = 2, #ARGV do
  local epoch = inc and redis.pcall('HINCRBY', KEYS[1], ARGV[at], 1)
  if type(epoch) ~= 'number' then
    local members = redis.pcall('HGET', KEYS[1], 'members')
    redis.call('DEL', KEYS[1])
    if type(members) == 'string' then redis.call('HSET', KEYS[1], 'members', members) end
    redis.call('PUBLISH', ARGV[1], '')
    return {''}
  end
  answer[at] = string.format('%.0f', epoch)
  said = said .. ' ' .. ARGV[at] .. ':' .. answer[at]
end
redis.call('PUBLISH', ARGV[1], said)
return answer
";

/// Keys: epochs. Arguments: channel, incarnation that is to end, incarnation that is to begin, "away" or nothing, other
/// members. Answers with the incarnation that counts now: another one if somebody else was first. The list of members
/// stays; if it was lost, those given take its place, but none counts as there until it has said so, and neither does any
/// if "away" is given.
const RENEW_EPOCHS: &str = r"
local inc = redis.pcall('HGET', KEYS[1], 'inc')
if type(inc) == 'string' and inc ~= ARGV[2] then return inc end
local time = redis.call('TIME')
local seen = ':-' .. string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local members = redis.pcall('HGET', KEYS[1], 'members')
if type(members) ~= 'string' then
  members = ''
  for at = 5, #ARGV do members = members .. ARGV[at] .. seen .. ' ' end
elseif ARGV[4] ~= '' then
  members = string.gsub(members, ':%d+', seen)
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'inc', ARGV[3])
if members ~= '' then redis.call('HSET', KEYS[1], 'members', members) end
redis.call('PUBLISH', ARGV[1], ARGV[3])
return ARGV[3]
";

/// Keys: epochs. Arguments: channel, member, until when it is one, incarnation, how long a member may be away, incarnation
/// that is to begin if one is given up, the most a member can have left, other members. Makes it a member until then;
/// notes of others when they were seen to be away, and gives them up after that time, which ends the incarnation. Answers with the time, the incarnation and
/// the members; with empty ones if the incarnation is another. What comes too late changes nothing.
const MEMBER: &str = r"
redis.call('PERSIST', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local said = string.format('%.0f', now)
local inc = redis.pcall('HGET', KEYS[1], 'inc')
if inc ~= ARGV[4] then return {said, '', ''} end
local members = redis.pcall('HGET', KEYS[1], 'members')
if type(members) ~= 'string' then
  members = ''
  for at = 8, #ARGV do members = members .. ARGV[at] .. ':-' .. said .. ' ' end
end
if tonumber(ARGV[3]) <= now then return {said, inc, members} end
local listed, ended = {ARGV[2] .. ':' .. ARGV[3]}, false
for id, text in string.gmatch(members, '(%d+):(%-?%d+)') do
  local till = tonumber(text)
  if id ~= ARGV[2] then
    if till < 0 and now + till > tonumber(ARGV[5]) then
      ended = true
    elseif till < 0 or till > now and till <= now + tonumber(ARGV[7]) then
      listed[#listed + 1] = id .. ':' .. text
    else
      listed[#listed + 1] = id .. ':-' .. said
    end
  end
end
members = table.concat(listed, ' ')
if ended then
  inc = ARGV[6]
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'inc', inc, 'members', members)
if ended then redis.call('PUBLISH', ARGV[1], inc) end
return {said, inc, members}
";

/// Keys: epochs, entry, lease. Arguments: token or nothing, milliseconds to live, bytes, incarnation, then cell and
/// epoch of each tag. Answers 0 if it is kept, 1 if a tag moved on, 2 if the lease is another's, 3 if there is no room.
const STORE: &str = r"
if ARGV[1] ~= '' and redis.pcall('GET', KEYS[3]) ~= ARGV[1] then return 2 end
local fields = {'inc'}
for at = 5, #ARGV, 2 do fields[#fields + 1] = ARGV[at] end
local now = redis.pcall('HMGET', KEYS[1], unpack(fields))
if now[1] ~= ARGV[4] then return 1 end
for at = 2, #fields do
  if (now[at] or '0') ~= ARGV[2 * at + 2] then return 1 end
end
local done = redis.pcall('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
if done.err then return 3 end
return 0
";

/// Keys: lease, fence. Arguments: milliseconds to live. Answers 1 and the token of a new lease; or 0, the token of the
/// one who has it, and how many milliseconds are left; or 2 if there is no room. The token is the server's time in
/// microseconds, or one more than the last: it grows also after the last one was lost. What is no token with an end is
/// nobody's lease, and what is no number that can be counted on is no last token: somebody else has written there.
const LEASE: &str = r"
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and #held <= 16 and string.find(held, '^%d+$') then
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 then return {0, held, left} end
end
local time = redis.call('TIME')
local token = time[1] * 1000000 + time[2]
local last = redis.pcall('GET', KEYS[2])
last = type(last) == 'string' and tonumber(last) or 0
if last >= token and last < 2 ^ 53 - 1 then token = last + 1 end
local said = string.format('%.0f', token)
local done = redis.pcall('SET', KEYS[2], said)
if done.err then return {2, '0', 0} end
redis.call('SET', KEYS[1], said, 'PX', ARGV[1])
return {1, said, 0}
";

/// Keys: lease. Arguments: token, milliseconds to live. Answers 1 if it was prolonged.
const RENEW_LEASE: &str = r"
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

/// Keys: lease. Arguments: token. Answers 1 if it was given back.
const RELEASE_LEASE: &str = r"
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
";
