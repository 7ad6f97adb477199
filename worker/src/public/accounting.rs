//! Every request is counted: in flight while it is served, by status when it is answered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use task_mcp_scoreboard::Seat;
use task_mcp_telemetry::{Method, Route};

use crate::connections::entry::Entry;
use crate::connections::front::Front;

/// The middleware around all routes. The duration counted ends with the head of the response: the life of a stream is not the
/// time of a request.
pub(crate) async fn account(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Counted>, Error> {
    let started = Instant::now();
    let method = Method::of(request.method().as_str());
    let Some(front) = request.app_data::<Arc<Front>>().cloned() else {
        return Err(actix_web::error::ErrorInternalServerError("no app"));
    };
    let app = &front.app;
    let mut in_flight = InFlight::new(&app.seat, request.request().conn_data::<Arc<Entry>>().cloned());
    front.faults.on_request(request.method());
    let mut response = next.call(request).await?;
    if app.readiness.is_draining() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    // The pattern, not the path: a path may be spelt in many ways that lead to one route.
    let route = response.request().match_pattern().map_or(Route::Other, |pattern| Route::of(&pattern));
    app.metrics.http.answered(method, route, response.status().as_u16(), started.elapsed());
    in_flight.answer_began();
    Ok(response.map_into_boxed_body().map_body(|_, body| Counted { body, _in_flight: in_flight }))
}

/// A body that keeps its request in flight until its last byte was handed over, or its client left.
pub(crate) struct Counted {
    body: BoxBody,
    _in_flight: InFlight,
}

impl MessageBody for Counted {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

struct InFlight {
    seat: Seat,
    /// The request's connection, where there is one.
    connection: Option<Arc<Entry>>,
    has_answer: bool,
}

impl InFlight {
    fn new(seat: &Seat, connection: Option<Arc<Entry>>) -> Self {
        seat.request_started();
        if let Some(connection) = &connection {
            connection.request_began();
        }
        Self { seat: seat.clone(), connection, has_answer: false }
    }

    fn answer_began(&mut self) {
        self.has_answer = true;
        if let Some(connection) = &self.connection {
            connection.answer_began();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.seat.request_finished();
        match &self.connection {
            Some(connection) if self.has_answer => connection.answer_ended(),
            Some(connection) => connection.request_given_up(),
            None => {}
        }
    }
}
