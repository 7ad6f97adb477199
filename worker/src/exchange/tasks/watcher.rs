//! What a run hears while it runs: what its client does, whether it is still its own, whether its worker leaves. It also tells the
//! client how the task stands.

use std::sync::Arc;
use std::time::Duration;

use task_mcp_state::{State, Subscription, TASK_TOPIC};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::changes::{Step, change};
use super::context::TaskContext;
use super::runs::Leave;
use super::work::Work;

/// How often the record is looked at, should the bus have lost what was said of it.
const LOOK: Duration = Duration::from_millis(500);
/// How often the client is told of progress at most: each time costs a write of the record.
const TELL: Duration = Duration::from_secs(1);

/// What a run has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Its client has given it up. Said once.
    GivenUp,
    /// It has expired, or another worker runs it: whatever it comes to, nobody wants it.
    Lost,
    /// Its worker leaves. Said once for each step.
    Leaves(Leave),
}

/// Listens for one run.
pub(super) struct Watcher {
    state: State,
    owner: String,
    id: String,
    context: Arc<TaskContext>,
    news: Subscription,
    look_at: Instant,
    leaves: watch::Receiver<Leave>,
    left: Leave,
    messages: watch::Receiver<String>,
    told: String,
    tell_at: Instant,
    is_given_up: bool,
}

impl Watcher {
    pub(super) fn new(
        state: &State,
        owner: &str,
        id: &str,
        context: &Arc<TaskContext>,
        leaves: watch::Receiver<Leave>,
    ) -> Self {
        let now = Instant::now();
        Self {
            state: state.clone(),
            owner: owner.to_owned(),
            id: id.to_owned(),
            context: Arc::clone(context),
            news: state.bus().subscribe(&[&format!("{TASK_TOPIC}{id}")]),
            look_at: now,
            leaves,
            left: Leave::Stay,
            messages: context.messages(),
            told: String::new(),
            tell_at: now,
            is_given_up: false,
        }
    }

    /// What the run has to know next.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let (left, told, tell_at) = (self.left, &self.told, self.tell_at);
            let looks = tokio::select! {
                _ = self.news.next() => true,
                () = sleep_until(self.look_at) => true,
                Ok(leave) = async { self.leaves.wait_for(|leave| *leave > left).await.map(|leave| *leave) } => {
                    self.left = leave;
                    return News::Leaves(leave);
                }
                Ok(message) = async {
                    let message = self.messages.wait_for(|message| message != told).await.map(|message| message.clone());
                    sleep_until(tell_at).await;
                    message
                } => {
                    self.tell(message).await;
                    false
                }
            };
            if looks && let Some(news) = self.look().await {
                return news;
            }
        }
    }

    async fn look(&mut self) -> Option<News> {
        self.look_at = Instant::now() + LOOK;
        // What cannot be read now is read at the next look.
        let task = match self.state.tasks().get(&self.owner, &self.id).await {
            Ok(Some(task)) => task,
            Ok(None) => return Some(News::Lost),
            Err(_) => return None,
        };
        if task.status.is_final() || !self.state.tasks().is_mine(&task) {
            return Some(News::Lost);
        }
        let is_given_up = Work::of(&task).is_none_or(|work| work.is_given_up);
        self.context.saw(task);
        let is_new = is_given_up && !std::mem::replace(&mut self.is_given_up, is_given_up);
        is_new.then_some(News::GivenUp)
    }

    /// Progress is worth a try, no more.
    async fn tell(&mut self, message: String) {
        self.tell_at = Instant::now() + TELL;
        let tasks = self.state.tasks();
        let _ = change(tasks, &self.owner, &self.id, |task, work| {
            if task.status.is_final() || !tasks.is_mine(task) {
                return Step::Keep(());
            }
            work.message = Some(message.clone());
            Step::Put(task.status, ())
        })
        .await;
        self.told = message;
    }
}
