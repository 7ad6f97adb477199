//! Who may call: the names a request may come under, the pages it may come from, the token it must bring.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use subtle::{Choice, ConstantTimeEq};
use task_mcp_config::Settings;
use task_mcp_tools::Principal;

use crate::bearer::bearer;
use crate::public::refusal::{Refusal, single};

/// The rules of one instance.
#[derive(Debug)]
pub(crate) struct Access {
    hosts: Vec<String>,
    origins: Vec<String>,
    tokens: Vec<Token>,
}

/// A token as its hash, so that comparing it tells nothing of it and the process keeps no copy.
#[derive(Debug)]
struct Token {
    hash: [u8; 32],
    principal: Principal,
}

impl Access {
    pub(crate) fn new(settings: &Settings) -> Self {
        let server = &settings.server;
        // Hosts and origins come out of the settings in the form in which browsers send them.
        Self {
            hosts: server
                .allowed_hosts
                .iter()
                .map(String::as_str)
                .chain(server.public_authority())
                .map(str::to_owned)
                .collect(),
            origins: server.allowed_origins.iter().chain([&server.public_url]).cloned().collect(),
            tokens: settings.auth.tokens.iter().map(|token| Token::new(token.expose())).collect(),
        }
    }

    /// Whether callers need a token.
    pub(crate) fn needs_token(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Whether somebody may call as this principal.
    pub(crate) fn admits(&self, principal: &Principal) -> bool {
        match self.needs_token() {
            true => self.tokens.iter().any(|token| token.principal == *principal),
            false => *principal == Principal::anonymous(),
        }
    }

    /// All checks, in the order that tells a stranger least.
    ///
    /// # Errors
    /// 403 for `Host` and `Origin`, 401 for the token.
    pub(crate) fn check(&self, request: &HttpRequest) -> Result<Principal, Refusal> {
        self.check_host(request)?;
        self.check_origin(request)?;
        self.check_token(request)
    }

    /// Refuses a request that came under a name this server does not go by: a page that rebinds its own name to this address
    /// (DNS rebinding) sends that name. An address literal cannot be rebound, so it is always accepted.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check_host(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let named =
            single(request, HOST.as_str())?.map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase());
        // A target in absolute form wins over the header (RFC 9112, section 3.2.2), so both must be names of this server.
        let target = request.uri().authority().map(|authority| authority.as_str().to_ascii_lowercase());
        let mut names = named.iter().chain(&target).peekable();
        if names.peek().is_some() && names.all(|host| self.accepts_host(host)) {
            return Ok(());
        }
        Err(Refusal::new(403, "HOST_NOT_ALLOWED", "the request's Host is not a name of this server")
            .with_hint("name it in server.allowed_hosts, or set server.public_url"))
    }

    fn accepts_host(&self, host: &str) -> bool {
        let name = without_port(host);
        name == "localhost"
            || is_address(name)
            || self.hosts.iter().any(|allowed| allowed == host || (without_port(allowed) == allowed && allowed == name))
    }

    /// Refuses a request from a browser page of another origin (specification 2026-07-28, "Streamable HTTP", security).
    fn check_origin(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let Some(origin) = single(request, ORIGIN.as_str())? else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let own = authority.is_some_and(|authority| same_server(authority, &host.to_ascii_lowercase()));
        if own || self.origins.iter().any(|allowed| *allowed == origin && !allowed.is_empty()) {
            return Ok(());
        }
        Err(Refusal::new(403, "ORIGIN_NOT_ALLOWED", "the request comes from a page of another origin")
            .with_hint("name the origin in server.allowed_origins"))
    }

    fn check_token(&self, request: &HttpRequest) -> Result<Principal, Refusal> {
        if !self.needs_token() {
            return Ok(Principal::anonymous());
        }
        let Some(value) = single(request, AUTHORIZATION.as_str())? else {
            return Err(Refusal::unauthorised("MISSING_AUTH_TOKEN", "a bearer token is needed"));
        };
        let Some(token) = bearer(value) else {
            return Err(Refusal::unauthorised("MISSING_AUTH_TOKEN", "the Authorization header holds no bearer token"));
        };
        let hash = *blake3::hash(token).as_bytes();
        // Every token is compared, in constant time, so that the time taken does not tell which one was near.
        let mut found = None;
        for known in &self.tokens {
            let equal: Choice = known.hash.ct_eq(&hash);
            if bool::from(equal) {
                found = Some(&known.principal);
            }
        }
        found.cloned().ok_or_else(|| Refusal::unauthorised("INVALID_AUTH_TOKEN", "the bearer token is not known"))
    }
}

impl Token {
    fn new(token: &str) -> Self {
        let hash = blake3::hash(token.as_bytes());
        let name: String = hash.to_hex().chars().take(12).collect();
        Self { hash: *hash.as_bytes(), principal: Principal::new(&format!("token:{name}")) }
    }
}

/// `host` of `host:port`; the brackets of an IPv6 literal stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => {
            if name.contains(':') && !name.starts_with('[') {
                host
            } else {
                name
            }
        }
        Some(_) | None => host,
    }
}

/// Whether two authorities are one server: the same, or two names of this machine's loopback with one port.
fn same_server(one: &str, other: &str) -> bool {
    const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
    let port = |authority: &str| authority.strip_prefix(without_port(authority)).map(str::to_owned);
    let loopback = |authority: &str| LOOPBACK.contains(&without_port(authority));
    !one.is_empty() && (one == other || (loopback(one) && loopback(other) && port(one) == port(other)))
}

fn is_address(name: &str) -> bool {
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    literal.parse::<IpAddr>().is_ok() || literal.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;
    use actix_web::test::TestRequest;

    use super::*;

    fn access(tokens: &[&str]) -> Access {
        Access {
            hosts: vec!["mcp.example.com".into(), "with-port.example.com:8443".into()],
            origins: vec!["https://app.example.com".into(), String::new()],
            tokens: tokens.iter().map(|token| Token::new(token)).collect(),
        }
    }

    fn host(host: &str) -> bool {
        let request = TestRequest::default().insert_header((HOST, host)).to_http_request();
        access(&[]).check_host(&request).is_ok()
    }

    #[test]
    fn only_names_of_this_server_and_addresses_are_hosts() {
        for good in [
            "localhost",
            "localhost:8443",
            "LOCALHOST:1",
            "127.0.0.1:8443",
            "[::1]:8443",
            "[::1]",
            "192.0.2.7",
            "mcp.example.com",
            "mcp.example.com:443",
            "with-port.example.com:8443",
        ] {
            assert!(host(good), "{good}");
        }
        for bad in [
            "evil.example.com",
            "localhost.evil.example.com",
            "127.0.0.1.evil.example.com:8443",
            "",
            ":8443",
            "with-port.example.com:1",
            "mcp.example.com.evil.example.com",
            "localhost:8443@evil.example.com",
        ] {
            assert!(!host(bad), "{bad}");
        }
    }

    #[test]
    fn a_target_in_absolute_form_names_a_host_too() {
        let check = |target: &str| {
            let request = TestRequest::with_uri(target).insert_header((HOST, "localhost:8443")).to_http_request();
            access(&[]).check_host(&request).is_ok()
        };
        assert!(check("/mcp") && check("http://localhost:8443/mcp"));
        assert!(!check("http://evil.example.com/mcp"));
    }

    #[test]
    fn a_repeated_header_is_refused() {
        let twice = |name: HeaderName, one, other| {
            let request = TestRequest::default().insert_header((HOST, "localhost:8443"));
            let request = request.append_header((name.clone(), one)).append_header((name, other)).to_http_request();
            access(&["first-token-0123456789"]).check(&request)
        };
        assert!(twice(AUTHORIZATION, "Bearer first-token-0123456789", "Bearer x").is_err());
        assert!(twice(ORIGIN, "http://localhost:8443", "http://evil.example.com").is_err());
    }

    #[test]
    fn only_own_and_listed_origins_are_accepted() {
        let check = |origin: &str| {
            let request =
                TestRequest::default().insert_header((HOST, "localhost:8443")).insert_header((ORIGIN, origin));
            access(&[]).check(&request.to_http_request()).is_ok()
        };
        for good in ["http://localhost:8443", "http://127.0.0.1:8443", "http://[::1]:8443", "https://app.example.com"] {
            assert!(check(good), "{good}");
        }
        for bad in ["http://localhost:3000", "http://evil.example.com", "null", "", "https://app.example.com.evil.com"]
        {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn a_token_names_its_principal_and_nothing_else_passes() {
        let check = |header: Option<&str>| {
            let mut request = TestRequest::default().insert_header((HOST, "localhost"));
            if let Some(header) = header {
                request = request.insert_header((AUTHORIZATION, header));
            }
            access(&["first-token-0123456789", "second-token-0123456789"]).check(&request.to_http_request())
        };
        let first = check(Some("Bearer first-token-0123456789")).unwrap();
        let second = check(Some("bearer second-token-0123456789")).unwrap();
        assert_ne!(first, second);
        let admits = |tokens: &[&str], who: &Principal| access(tokens).admits(who);
        assert!(admits(&["first-token-0123456789"], &first) && !admits(&["first-token-0123456789"], &second));
        assert!(!admits(&[], &first) && admits(&[], &Principal::anonymous()));
        assert!(!admits(&["first-token-0123456789"], &Principal::anonymous()));
        assert!(!first.name().contains("first"), "a principal's name is no secret");
        for bad in
            [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Bearer first-token-012345678"), Some("Basic x")]
        {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
