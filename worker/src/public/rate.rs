//! How much a caller may send: asked once it is known who calls, and before the body is read.

use std::net::IpAddr;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use task_mcp_scoreboard::{Quota, Rated};
use task_mcp_state::Payer;
use task_mcp_tools::Principal;

use crate::app::App;
use crate::connections::serve::client_address;
use crate::live::Live;
use crate::public::refusal::Refusal;

/// A caller that may go on.
pub(crate) struct Admitted {
    /// Who calls.
    pub(crate) principal: Principal,
    /// Where it stands with its limit, if there is one.
    pub(crate) standing: Option<Standing>,
}

/// Where a caller stands with its limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Requests at once after a pause.
    pub(crate) limit: u64,
    /// Requests at once now.
    remaining: u64,
    /// When it is the limit again, in seconds since 1970.
    pub(crate) reset_at_s: i64,
}

/// Who calls, and whether it may now.
///
/// # Errors
/// As [`Access::check`](crate::public::access::Access::check), and 429 over `limits.requests_per_minute`.
pub(crate) async fn admit(request: &HttpRequest, app: &App, live: &Live) -> Result<Admitted, Refusal> {
    let principal = live.access.check(request)?;
    let Some(quota) = live.limits.rate else { return Ok(Admitted { principal, standing: None }) };
    // Where everybody is anonymous, addresses are what can be told apart.
    let address = request.peer_addr().filter(|_| !live.access.needs_token()).map(client_address);
    let verdict = app.rates.check(payer(&principal, address), quota).await;
    if verdict.is_local {
        app.metrics.limits.rate_local.add(1);
    }
    match verdict.rated {
        Rated::Allowed { remaining, reset_us } => {
            Ok(Admitted { principal, standing: Some(Standing::new(quota, remaining, reset_us)) })
        }
        Rated::Refused { retry_us, reset_us } => {
            app.metrics.limits.rate_limited.add(1);
            let standing = Standing::new(quota, 0, reset_us);
            Err(Refusal::new(429, "RATE_LIMIT_EXCEEDED", "too many requests (limits.requests_per_minute)")
                .with_hint("try again after the time in Retry-After")
                .with_retry_after(retry_us.div_ceil(1_000), standing)
                .with_rpc_code(task_mcp_mcp::code::LIMITED))
        }
    }
}

/// Whose requests are counted together: people of one name and two tenants are two, one whose scopes changed is the same.
fn payer(principal: &Principal, address: Option<IpAddr>) -> Payer<'_> {
    address.map_or_else(|| Payer::Principal(principal.person()), Payer::Address)
}

/// The answer, with where its caller stands.
pub(crate) fn tell(standing: Option<Standing>, mut response: HttpResponse) -> HttpResponse {
    for (name, value) in standing.iter().flat_map(|standing| standing.headers()) {
        response.headers_mut().insert(name, value);
    }
    response
}

impl Standing {
    fn new(quota: Quota, remaining: u64, reset_us: u64) -> Self {
        let reset_s = i64::try_from(reset_us.div_ceil(1_000_000)).unwrap_or(i64::MAX);
        Self { limit: quota.burst, remaining, reset_at_s: Timestamp::now().as_second().saturating_add(reset_s) }
    }

    /// The headers that tell it.
    pub(crate) fn headers(self) -> [(HeaderName, HeaderValue); 3] {
        [
            (HeaderName::from_static("x-ratelimit-limit"), self.limit.into()),
            (HeaderName::from_static("x-ratelimit-remaining"), self.remaining.into()),
            (HeaderName::from_static("x-ratelimit-reset"), self.reset_at_s.into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use task_mcp_tools::Scopes;

    use super::*;

    #[test]
    fn people_of_one_name_and_two_tenants_have_limits_of_their_own() {
        let of = |tenant, scopes: Scopes| Principal::of("ada", tenant, scopes);
        let (one, other, nowhere) =
            (of(Some("one"), Scopes::All), of(Some("other"), Scopes::All), of(None, Scopes::All));
        let same = of(Some("one"), Scopes::Of(Default::default()));
        assert_eq!(payer(&one, None), payer(&same, None));
        for another in [&other, &nowhere] {
            assert_ne!(payer(&one, None), payer(another, None));
        }
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(payer(&one, Some(address)), payer(&other, Some(address)));
    }
}
