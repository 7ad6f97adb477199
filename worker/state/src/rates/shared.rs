//! The limit over all machines: the same algorithm as a script in Redis, on the clock of Redis.

use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use task_mcp_redis::{Redis, RedisError, Script};
use task_mcp_scoreboard::{Quota, Rated};

use crate::outage::Outage;

/// How long the answer may keep a request waiting.
const BUDGET: Duration = Duration::from_millis(50);

/// Key: a payer. Arguments: period in microseconds, burst, cost. Answer: whether it passes, then what may be sent now and the time
/// until all of it may, or the time until it passes and that until all may be sent. What is stored is the theoretical arrival time,
/// and it ends when it is past. A time beyond the window, left by another quota, is brought down to it for good: brought down anew
/// for each request, it would never pass.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local period, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window = period * burst
local arrival = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
local due = math.min(math.max(arrival, now), now + window)
local ahead = due + period * cost - now
if ahead > window then
  if due < arrival then
    redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
  end
  return {0, ahead - window, due - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
return {1, math.floor((window - ahead) / period), ahead}
";

/// The limits that machines share. Cloning is cheap and shares the connection.
#[derive(Debug, Clone)]
pub(crate) struct SharedRates {
    redis: Redis,
    /// With the braces that put all keys of the state into one slot of a cluster.
    prefix: Arc<str>,
    script: Arc<Script>,
    outage: Arc<Outage>,
}

impl SharedRates {
    /// The limits in this Redis. `prefix` begins every key.
    pub(crate) fn new(redis: Redis, prefix: &str) -> Self {
        let script = Arc::new(Script::new(SCRIPT));
        Self { redis, prefix: prefix.into(), script, outage: Arc::default() }
    }

    /// Charges a request of the payer with this digest; `None` if Redis cannot say.
    pub(crate) async fn check(&self, payer: &blake3::Hash, quota: Quota, cost: u64) -> Option<Rated> {
        let outcome = self.ask(payer, quota, cost).await;
        match &outcome {
            Ok(_) if self.outage.succeeded() => tracing::info!("Rate limits hold over all machines again."),
            Err(error) if self.outage.failed() => tracing::warn!(
                error = %error, code = error.code(),
                "Redis does not always say what other machines let pass; then rate limits hold for this machine alone."
            ),
            Ok(_) | Err(_) => {}
        }
        outcome.ok()
    }

    async fn ask(&self, payer: &blake3::Hash, quota: Quota, cost: u64) -> Result<Rated, RedisError> {
        let key = format!("{}:rate:{}", self.prefix, payer.to_hex().get(..32).unwrap_or_default());
        let arguments = |command: &mut Cmd| _ = command.arg(quota.period_us).arg(quota.burst).arg(cost);
        let answer = self.redis.run(&self.script, &[&key], arguments, BUDGET).await;
        let (passes, number, reset_us): (u8, u64, u64) = answer?.value;
        Ok(match passes {
            0 => Rated::Refused { retry_us: number, reset_us },
            _ => Rated::Allowed { remaining: number, reset_us },
        })
    }
}
