//! The path of a connection from its acceptance to its end.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::{App as ActixApp, Error, middleware};

use super::front::Front;
use super::gate::Reserved;
use super::refuse::refuse;
use super::watched::Watched;
use crate::public::accounting::{Counted, account};
use crate::public::routes;

/// All routes with what is around them.
pub(crate) fn application(
    front: Arc<Front>,
) -> ActixApp<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<Counted>, Error = Error, InitError = ()>,
> {
    ActixApp::new().app_data(front.app.clone()).app_data(front).wrap(middleware::from_fn(account)).configure(routes)
}

/// A connection that was accepted.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    /// Room that was kept for it.
    pub(crate) reserved: Option<Reserved>,
}

impl From<TcpStream> for Accepted {
    fn from(stream: TcpStream) -> Self {
        Self { stream, reserved: None }
    }
}

/// Serves accepted connections on the thread that calls it: those that are let in, until they end or are ended; the others
/// are told why not. Who is let in is decided by the call, not by the future it returns. `closing` makes futures that return when
/// idle connections are to end, and the others after their next answer.
///
/// # Errors
/// The routes cannot be built.
pub(crate) async fn service<F, C, A>(
    front: &Arc<Front>,
    closing: F,
) -> Result<impl Service<A, Response = (), Error = DispatchError> + use<F, C, A>, ()>
where
    F: Fn() -> C + 'static,
    C: Future<Output = ()> + 'static,
    A: Into<Accepted> + 'static,
{
    let (gate, limits) = (front.gate.clone(), front.gate.limits());
    let factory = application(front.clone()).into_factory().map_err(|error| error.error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(closing)
        .keep_alive(limits.keep_alive)
        // A client that has closed its side is gone: what it asked for is not read any more, so a read ends.
        .h1_allow_half_closed(false)
        .client_request_timeout(limits.headers_timeout)
        .client_disconnect_timeout(limits.disconnect_timeout)
        .on_connect_ext(|stream: &Watched<TcpStream>, data| {
            data.insert(stream.entry().clone());
        })
        .h1(map_config(factory, |()| AppConfig::default()));
    let http = Rc::new(http.new_service(()).await?);
    Ok(fn_service(move |accepted: A| {
        let Accepted { stream, reserved } = accepted.into();
        // A client that left before it was looked at has no address any more.
        let admitted = stream.peer_addr().ok().map(|peer| (peer, gate.admit(client_address(peer), reserved)));
        let http = Rc::clone(&http);
        async move {
            let Some((peer, admitted)) = admitted else { return Ok(()) };
            let pass = match admitted {
                Ok(pass) => pass,
                Err(reason) => {
                    refuse(stream, reason).await;
                    return Ok(());
                }
            };
            // Small answers go out at once; where that cannot be had, they go out all the same.
            let _ = stream.set_nodelay(true);
            let stream = Watched::new(stream, pass.entry().clone());
            tokio::select! {
                served = http.call((stream, Some(peer))) => served,
                () = pass.entry().ended() => Ok(()),
            }
        }
    }))
}

/// The address whose connections, and whose requests if it has no other name, are counted together. Behind a trusted proxy it will be
/// the one the proxy tells (`limits.trusted_proxies`); until then it is the proxy's own.
pub(crate) fn client_address(peer: SocketAddr) -> IpAddr {
    peer.ip()
}
