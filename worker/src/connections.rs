//! How connections are served, whoever accepted them.

use std::any::Any;
use std::time::Duration;

use actix_web::dev::{Extensions, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App as ActixApp, Error, middleware, web};
use task_mcp_config::Settings;
use task_mcp_scoreboard::Seat;

use crate::app::App;
use crate::public::accounting::{Counted, account};
use crate::public::routes;

/// What a connection may cost. It does not change while the process runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Without a request.
    pub(crate) keep_alive: Duration,
    /// For the headers of a request.
    pub(crate) headers_timeout: Duration,
    /// From the end of the answer to the end of the connection.
    pub(crate) disconnect_timeout: Duration,
    /// Connections of its own; adopted ones are accepted while all together are fewer.
    pub(crate) most: usize,
}

impl ConnectionLimits {
    pub(crate) fn new(settings: &Settings) -> Self {
        let workers = usize::from(settings.server.workers.max(1));
        Self {
            keep_alive: Duration::from_secs(settings.limits.keep_alive_s),
            headers_timeout: Duration::from_millis(settings.limits.headers_timeout_ms),
            disconnect_timeout: Duration::from_secs(1),
            most: (settings.limits.max_connections as usize).div_ceil(workers),
        }
    }
}

/// All routes with what is around them.
pub(crate) fn application(
    app: web::Data<App>,
) -> ActixApp<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<Counted>, Error = Error, InitError = ()>,
> {
    ActixApp::new().app_data(app).wrap(middleware::from_fn(account)).configure(routes)
}

/// Counts a connection for as long as its data live.
pub(crate) fn count(seat: Seat) -> impl Fn(&dyn Any, &mut Extensions) + Clone {
    move |_, extensions| {
        seat.connection_opened();
        extensions.insert(OpenConnection(seat.clone()));
    }
}

/// Lives in the data of a connection and is dropped with it.
struct OpenConnection(Seat);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}
