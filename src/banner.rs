//! What `serve` prints when it serves: everything a person needs for the first call.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use task_mcp_config::Settings;
use task_mcp_supervisor::Ready;

/// The text, one fact a line.
pub(crate) fn banner(settings: &Settings, ready: &Ready, version: &str) -> String {
    let mut text = format!(
        "Task MCP {version} serves with {} worker{}; process {}\n",
        ready.workers,
        if ready.workers == 1 { "" } else { "s" },
        std::process::id()
    );
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    let endpoint = ready.endpoints.first().copied().map(|address| format!("http://{}/mcp", reachable(address)));
    for address in &ready.endpoints {
        line("endpoint", &format!("http://{}/mcp", reachable(*address)));
    }
    line("metrics", &format!("http://{}/metrics", reachable(ready.admin)));
    line("tree", &tree(&settings.store.root));
    line("auth", &auth(settings));
    if let Some(endpoint) = endpoint {
        let token = if settings.auth.is_configured() { " -H \"Authorization: Bearer $TOKEN\"" } else { "" };
        let body = r#"{"tool":"changes.active","input":{}}"#;
        line("try", &format!("curl -s {endpoint}{token} -H 'Content-Type: application/json' -d '{body}'"));
    }
    text
}

fn tree(root: &Path) -> String {
    let tree = root.join("openspec");
    if tree.is_dir() { tree.display().to_string() } else { format!("{} (does not exist yet)", tree.display()) }
}

fn auth(settings: &Settings) -> String {
    match settings.auth.tokens.len() {
        0 => "none: any program of this machine may call; set auth.tokens to ask for a token".to_owned(),
        1 => "bearer token, 1 known".to_owned(),
        count => format!("bearer token, {count} known"),
    }
}

/// An address that answers here: "all interfaces" is none a client can call.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}
