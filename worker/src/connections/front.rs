//! What the requests of a worker share because they come over the network.

use std::sync::Arc;

use actix_web::web::Data;

use super::adopted::Adopter;
use super::gate::Gate;
use crate::app::App;
use crate::faults::Armed;

/// What the requests of a worker share because they come over the network. It is built once.
pub(crate) struct Front {
    /// What requests share whatever way they come.
    pub(crate) app: Data<App>,
    /// The open connections, and who is let in.
    pub(crate) gate: Arc<Gate>,
    /// Serves connections of slots that nobody serves.
    pub(crate) adopter: Adopter,
    pub(crate) faults: Arc<Armed>,
}
