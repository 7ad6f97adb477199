//! What is counted of requests.

use std::time::Duration;

use task_mcp_scoreboard::{Counter, Histogram, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, series};
use crate::names;

/// A route as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/`
    Service,
    /// `/healthz`
    Healthz,
    /// `/readyz`
    Readyz,
    /// `/health`
    Health,
    /// `/mcp`
    Mcp,
    /// `/sse`
    Sse,
    /// Anything else.
    Other,
}

impl Route {
    const ALL: [Self; 7] =
        [Self::Service, Self::Healthz, Self::Readyz, Self::Health, Self::Mcp, Self::Sse, Self::Other];

    /// The route of a request's path.
    pub fn of(path: &str) -> Self {
        match path {
            "/" => Self::Service,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/health" => Self::Health,
            "/mcp" => Self::Mcp,
            "/sse" => Self::Sse,
            _ => Self::Other,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Service => "/",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Health => "/health",
            Self::Mcp => "/mcp",
            Self::Sse => "/sse",
            Self::Other => "other",
        }
    }
}

/// A method as a label: a client may send any token, a label may not be any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// Anything else.
    Other,
}

impl Method {
    const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Post, Self::Delete, Self::Options, Self::Other];

    /// The method of a request's token.
    pub fn of(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

/// Statuses this server answers with, ascending; the label of all others is `other`.
const STATUSES: [u16; 23] =
    [200, 202, 204, 304, 400, 401, 403, 404, 405, 406, 408, 411, 413, 414, 415, 417, 422, 429, 431, 500, 501, 503, 505];

/// A process's handles on the series of requests.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Vec<Counter>,
    durations: Vec<Histogram>,
}

impl HttpMetrics {
    /// Counts one answered request.
    pub fn answered(&self, method: Method, route: Route, status: u16, duration: Duration) {
        let pair = route as usize * Method::ALL.len() + method as usize;
        let status = STATUSES.binary_search(&status).unwrap_or(STATUSES.len());
        if let Some(counter) = self.requests.get(pair * (STATUSES.len() + 1) + status) {
            counter.add(1);
        }
        if let Some(histogram) = self.durations.get(pair) {
            histogram.observe_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(crate) fn plan() -> Vec<Series> {
        let requests = pairs().flat_map(|(route, method)| {
            let statuses = STATUSES.iter().map(u16::to_string).chain(["other".to_owned()]);
            statuses.map(move |status| {
                let labels = [("method", method.label()), ("route", route.label()), ("status_code", status.as_str())];
                series(names::HTTP_REQUESTS, Kind::Counter, &labels, true)
            })
        });
        let durations = pairs().map(|(route, method)| {
            let labels = [("method", method.label()), ("route", route.label())];
            series(names::HTTP_DURATION, Kind::Histogram { bounds_ns: names::HTTP_BOUNDS_NS.to_vec() }, &labels, true)
        });
        requests.chain(durations).collect()
    }

    pub(crate) fn bind(binder: &mut Binder<'_>) -> Result<Self, UnplannedSeries> {
        let count = Route::ALL.len() * Method::ALL.len();
        Ok(Self {
            requests: (0..count * (STATUSES.len() + 1)).map(|_| binder.counter()).collect::<Result<_, _>>()?,
            durations: (0..count).map(|_| binder.histogram()).collect::<Result<_, _>>()?,
        })
    }
}

/// In the order in which [`HttpMetrics::answered`] computes positions.
fn pairs() -> impl Iterator<Item = (Route, Method)> {
    Route::ALL.into_iter().flat_map(|route| Method::ALL.into_iter().map(move |method| (route, method)))
}
