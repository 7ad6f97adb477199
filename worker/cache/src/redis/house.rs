//! What one process does for its machine: it listens to the bumps of all machines, adopts incarnations, and sends what
//! was not told.

use std::collections::HashMap;
use std::time::Duration;

use redis::pipe;
use task_mcp_redis::{Answer, Heard, RedisError, ServerId, Subscription};
use task_mcp_scoreboard::{EPOCH_CELLS, RemoteTrust, monotonic_ms};
use tokio::time::{MissedTickBehavior, interval};

use super::RedisTier;
use super::adoption::{Adoption, Found, Why};
use super::answers;
use super::keys::INCARNATION;
use super::machine::of_server;
use super::member::{Member, Renewal};
use super::members::{MEMBERS, server_ms};
use crate::tier::Stamps;

/// How often it makes sure that it still hears everything, and prolongs the machine's membership.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// For how long the other processes may take what it knows for the truth after the last time it made sure. The bound of
/// `tracked`: nobody answers from memory what was bumped longer ago than this.
const TRUST_MS: u64 = 1_000;

/// How long one of its commands may take; nobody waits for them.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The server's time, all fields of the epochs, and whether their key was made to last.
type AllFields = ((u64, u64), Fields, i64);

/// The fields of the epochs, whatever they hold.
type Fields = HashMap<Vec<u8>, Vec<u8>>;

/// The housekeeper.
struct House<'a> {
    tier: &'a RedisTier,
    /// The server whose bumps are heard.
    joined: Option<ServerId>,
    /// Whether it was said that they are not.
    said_lost: bool,
    /// The server at which the present incarnation was adopted.
    adopted_at: Option<ServerId>,
    /// Whether what is known follows from what was read at `adopted_at` and what was heard since.
    in_step: bool,
    /// Whether it has just come into step.
    fell_in: bool,
    /// What was untold at the last look; what still is was lost by whoever was to tell it.
    untold: HashMap<usize, u64>,
    member: Member,
}

impl RedisTier {
    /// Does the chores of the machine, for ever: for one process of an instance.
    pub(crate) async fn keep_house(&self) {
        let Ok(mut subscription) = self.redis.subscribe(std::slice::from_ref(&self.keys.bumps)).await else {
            return std::future::pending().await;
        };
        let mut house = House {
            tier: self,
            joined: None,
            said_lost: false,
            adopted_at: None,
            in_step: false,
            fell_in: false,
            untold: HashMap::new(),
            member: Member::new(self),
        };
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = subscription.next() => {
                    house.heard(heard).await;
                    // Nobody has to wait for the next look round to be sure.
                    if std::mem::take(&mut house.fell_in) {
                        look.reset_immediately();
                    }
                }
                _ = look.tick() => house.look_round(&mut subscription).await,
            }
        }
    }
}

impl House<'_> {
    async fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Joined { server } => {
                self.joined = Some(server);
                if std::mem::take(&mut self.said_lost) {
                    tracing::info!("Bumps in Redis are heard again.");
                }
                self.fall_in().await;
            }
            Heard::Message { payload, .. } => {
                let said = self.joined.and_then(|server| answers::bumps(&payload, server));
                match said {
                    Some(stamps) if stamps.incarnation == self.tier.machine.adopted() => {
                        self.tier.machine.learn(&stamps);
                    }
                    // Another incarnation has begun, or none is left.
                    _ if self.in_step && self.joined == self.adopted_at => self.fall_in().await,
                    _ => {}
                }
            }
            Heard::Lost { reason } => {
                self.joined = None;
                self.distrust();
                if self.tier.tracked && !std::mem::replace(&mut self.said_lost, true) {
                    tracing::warn!(reason, "Bumps in Redis are not heard; every read asks Redis until they are again.");
                }
            }
        }
    }

    async fn look_round(&mut self, subscription: &mut Subscription) {
        if !self.in_step {
            self.fall_in().await;
        }
        if !self.tell_what_was_left().await {
            // Not a member any longer, then: a write that waits for it to be told is let go in the end.
            self.in_step = false;
            return;
        }
        for _ in 0..2 {
            if !self.in_step {
                return;
            }
            match self.make_sure(subscription).await {
                Renewal::Member { .. } => return,
                Renewal::Unsure => self.in_step = false,
                Renewal::OutOfStep => self.fall_in().await,
            }
        }
    }

    /// Tells Redis of bumps that nobody else will tell it of; false if that could not be done.
    async fn tell_what_was_left(&mut self) -> bool {
        let untold: HashMap<_, _> = self.tier.machine.all_untold().into_iter().collect();
        // Those who bump tell it themselves, within the budget; what was untold a whole look ago was left.
        let left = |(cell, epoch): (&usize, &u64)| (untold.contains_key(cell)).then_some((*cell, *epoch));
        let left: Vec<_> =
            self.untold.iter().filter_map(left).filter(|(cell, epoch)| self.is_untold(*cell, *epoch)).collect();
        self.tier.metrics.pending_bumps.set(i64::try_from(left.len()).unwrap_or(i64::MAX));
        self.untold = untold;
        if left.is_empty() {
            return true;
        }
        // No line in the log: Redis answers, and a worker was too slow for its budget, or died.
        let sent = self.catch_up(&left).await;
        tracing::debug!(sent, "Redis was told of changes that were left untold.");
        sent > 0
    }

    fn is_untold(&self, cell: usize, epoch: u64) -> bool {
        self.tier.machine.remote.told(cell) < epoch
    }

    /// Remains a member, and prolongs trust if everything said so far was heard, and counted.
    async fn make_sure(&mut self, subscription: &mut Subscription) -> Renewal {
        let began_ms = monotonic_ms();
        // The answer to the second comes on the connection of the messages, behind all that were published before.
        let (renewal, answered) = tokio::join!(self.member.renew(self.tier, self.adopted_at), async {
            match self.joined {
                Some(_) => subscription.ping(PATIENCE).await.ok(),
                None => None,
            }
        });
        loop {
            tokio::select! {
                biased;
                heard = subscription.next() => self.heard(heard).await,
                () = std::future::ready(()) => break,
            }
        }
        let heard_all = answered.is_some() && answered == self.adopted_at && self.joined == self.adopted_at;
        if heard_all && self.in_step && matches!(renewal, Renewal::Member { all_there: true }) {
            let incarnation = self.tier.machine.adopted();
            self.tier.machine.remote.set_trust(RemoteTrust { until_ms: began_ms + TRUST_MS, incarnation });
        }
        renewal
    }

    /// Nobody answers from memory until further notice.
    fn distrust(&mut self) {
        self.in_step = false;
        let incarnation = self.tier.machine.adopted();
        self.tier.machine.remote.set_trust(RemoteTrust { until_ms: 0, incarnation });
    }

    /// Reads all epochs, adopts their incarnation or begins another, and sends what was not told.
    async fn fall_in(&mut self) {
        self.distrust();
        let machine = &self.tier.machine;
        let here: Vec<_> = (0..EPOCH_CELLS).map(|cell| (cell, machine.epochs.of_cell(cell))).collect();
        let known: Vec<_> = (0..EPOCH_CELLS).map(|cell| machine.remote.known(cell)).collect();
        let Some((server, fields)) = self.read_epochs().await else { return };
        let text = |name: &str| fields.get(name.as_bytes()).and_then(|bytes| std::str::from_utf8(bytes).ok());
        self.member.found(text(MEMBERS));
        let lies = fields.get(INCARNATION.as_bytes()).cloned();
        let incarnation = lies.as_deref().and_then(answers::incarnation);
        let epochs = epochs(&fields);
        let now: HashMap<_, _> = epochs.iter().copied().collect();
        let went_back = known.iter().enumerate().any(|(cell, known)| {
            *known > u16::try_from(cell).ok().and_then(|cell| now.get(&cell).copied()).unwrap_or(0)
        });
        let adopted = machine.adopted();
        let found = Found { adopted, adopted_at: self.adopted_at, server, incarnation, went_back };
        match (found.adoption(), incarnation) {
            (Adoption::Keep | Adoption::Adopt, Some(incarnation)) => {
                self.adopt(Stamps { incarnation: of_server(incarnation, server), epochs }, server);
            }
            (Adoption::Renew(why), _) => {
                let others = (self.member.others(), why == Why::OtherServer);
                let Ok(answer) = self.tier.renew_epochs(lies, others, PATIENCE).await else { return };
                let Some(incarnation) = answer.value.filter(|_| answer.server == server) else { return };
                self.adopt(Stamps { incarnation: of_server(incarnation, server), epochs: Vec::new() }, server);
                self.announce(why);
                // Whatever was bumped before, no entry from before is answered.
                for (cell, epoch) in here {
                    self.tier.machine.remote.tell(cell, epoch);
                }
            }
            (_, None) => return,
        }
        (self.in_step, self.fell_in) = (true, true);
        let untold = self.tier.machine.all_untold();
        let sent = self.catch_up(&untold).await;
        if sent > 0 {
            tracing::info!(sent, "Redis was told of changes from the time it could not be.");
        }
    }

    /// All fields of the epochs. What is no hash is taken for an empty one.
    async fn read_epochs(&mut self) -> Option<(ServerId, Fields)> {
        let mut commands = pipe();
        commands.cmd("TIME");
        commands.cmd("HGETALL").arg(&self.tier.keys.epochs);
        commands.cmd("PERSIST").arg(&self.tier.keys.epochs);
        let answer: Result<Answer<AllFields>, _> = self.tier.redis.ask(commands, PATIENCE).await;
        match answer {
            Ok(Answer { value: (time, fields, _), server }) => {
                self.member.set_clock(server, server_ms(time));
                Some((server, fields))
            }
            Err(RedisError::Nonsense(_)) => Some((self.tier.redis.server()?, HashMap::new())),
            Err(error) if error.code().as_deref() == Some("WRONGTYPE") => {
                Some((self.tier.redis.server()?, HashMap::new()))
            }
            Err(_) => None,
        }
    }

    fn adopt(&mut self, stamps: Stamps, server: ServerId) {
        let machine = &self.tier.machine;
        machine.remote.set_trust(RemoteTrust { until_ms: 0, incarnation: stamps.incarnation });
        machine.learn(&stamps);
        self.adopted_at = Some(server);
    }

    fn announce(&self, why: Why) {
        match why {
            Why::Arrived => tracing::info!("Results are kept in Redis; none from before is answered."),
            Why::OtherServer => {
                tracing::warn!("Redis is another server than before; no result from before is answered.")
            }
            Why::Emptied => tracing::info!("Redis holds no tag epochs; no result from before is answered."),
            Why::WentBack => self.tier.say_went_back(),
        }
    }

    /// Sends bumps that were not told; of how many cells.
    async fn catch_up(&self, untold: &[(usize, u64)]) -> usize {
        match self.tier.tell(untold, PATIENCE).await {
            Ok(()) => untold.len(),
            Err(_) => 0,
        }
    }
}

/// The epochs among the fields; others are not ours.
fn epochs(fields: &Fields) -> Vec<(u16, u64)> {
    let epoch = |(cell, epoch): (&Vec<u8>, &Vec<u8>)| Some((answers::number(cell)?, answers::number(epoch)?));
    fields.iter().filter_map(epoch).filter(|(cell, _)| usize::from(*cell) < EPOCH_CELLS).collect()
}
