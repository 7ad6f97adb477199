//! Writes with an idempotency key: however often one is sent, it is done once and answered the same.
//!
//! | what the first call came to | what a repeat gets |
//! |---|---|
//! | a result, or a refusal of the tool | the same answer |
//! | it was not run: scopes, arguments, no room | the key is free: it is run |
//! | an error after which nothing was done ([`Aftermath`](crate::Aftermath)) | likewise |
//! | it runs | [`IDEMPOTENCY_IN_PROGRESS`](crate::code::IDEMPOTENCY_IN_PROGRESS) |
//! | an error that broke it off, a panic, the death of its process | [`OUTCOME_UNKNOWN`](crate::code::OUTCOME_UNKNOWN) |

use std::sync::Arc;

use task_mcp_state::{Begun, StateError};

use super::keys::for_ledger;
use super::path::Admitted;
use super::write::Written;
use super::{Answer, Executor, record, refusals};
use crate::idempotency::IdempotencyKey;
use crate::tool::Aftermath;

impl Executor {
    /// Runs the tool if it is the first call with this key, else answers what is known of that one.
    pub(super) async fn write_once(&self, key: &IdempotencyKey, admitted: Admitted) -> Answer {
        let (key, fingerprint) = for_ledger(self, &admitted, key);
        let entry = Arc::clone(&admitted.entry);
        let ledger = &self.0.backing.ledger;
        let ticket = match ledger.begin(&key, fingerprint).await {
            Ok(Begun::First(ticket)) => ticket,
            Ok(Begun::Replay(kept)) => {
                return match record::decode(kept) {
                    Some(outcome) => Answer { outcome, replayed: true },
                    None => refusals::outcome_unknown().into(),
                };
            }
            Ok(Begun::Running) => return refusals::in_progress().into(),
            Ok(Begun::Conflict) => return refusals::conflict().into(),
            Ok(Begun::Unknown) => return refusals::outcome_unknown().into(),
            Err(error) => {
                tracing::debug!(error = %error, tool = entry.name, "A write was refused for want of the ledger.");
                return refusals::ledger_unavailable().into();
            }
        };
        let Written { outcome, aftermath } = self.written(admitted).await;
        let kept = match (&outcome, aftermath) {
            (Err(_), Aftermath::NothingDone) => None,
            (Err(_), Aftermath::Unknown) => Some(record::encode(&Err(refusals::outcome_unknown().into()))),
            (Ok(_), _) | (Err(_), Aftermath::Refused) => Some(record::encode(&outcome)),
        };
        match ledger.finish(ticket, kept).await {
            Ok(()) => {}
            // What its tool says is longer than answers are kept: no fault of the ledger, and documented.
            Err(error @ StateError::TooLarge { .. }) => {
                tracing::debug!(error = %error, tool = entry.name, "An answer is too long to be repeated.");
            }
            Err(error) => {
                // The caller hears what came of it all the same; a repeat hears that it is not known.
                tracing::warn!(
                    error = %error, tool = entry.name,
                    "The answer to an idempotency key could not be kept; a repeat will be told that its outcome is unknown."
                );
            }
        }
        outcome.into()
    }
}
