//! What a legacy client is told unasked where it has one channel for all: changes of lists, and of the resources it has subscribed to.
//!
//! Source: specification 2025-11-25, "Resources", subscriptions; "Tools" and "Prompts", list changed notifications.

use actix_web::web::{Bytes, Data};
use task_mcp_state::Heard;
use tokio::sync::mpsc;

use super::unasked::wanted;
use super::wanted::{Gathered, Wanted};
use crate::app::App;
use crate::sessions::Session;

/// Tells `channel` of changes, until it is closed.
pub(crate) async fn overhear(app: Data<App>, session: Session, channel: mpsc::Sender<Bytes>) {
    let [changed, touched] = Wanted::TOPICS;
    // Before anything is looked at, so that nothing is missed.
    let mut subscription = app.state.bus().subscribe(&[changed, touched, &session.changed()]);
    let mut all = wanted(&app, &session).await;
    let mut gathered = Gathered::default();
    loop {
        tokio::select! {
            heard = subscription.next() => match &heard {
                Heard::Event { topic, .. } if **topic == *session.changed() => all = wanted(&app, &session).await,
                Heard::Event { .. } => all.note(&heard, &mut gathered),
                Heard::Resync => {
                    all = wanted(&app, &session).await;
                    all.note(&heard, &mut gathered);
                }
            },
            () = gathered.due() => {
                for one in gathered.take() {
                    if channel.send(one.to_message(None, None)).await.is_err() {
                        return;
                    }
                }
            }
            () = channel.closed() => return,
        }
    }
}
