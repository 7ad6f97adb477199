//! Single JSON-RPC messages, of both eras.

use serde_json::{Value, json};
use task_mcp_bench::{Request, Response};

use super::server::Server;

/// Prefix of the keys that every 2026 request carries in `_meta`.
pub const META: &str = "io.modelcontextprotocol";

/// An answer to one JSON-RPC message.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The message with an id or an error: the body itself, or the one message of an event stream that has it.
    pub message: Value,
    /// The whole answer.
    pub response: Response,
}

impl Answer {
    /// Reads the message out of a response in either framing.
    pub fn new(response: Response) -> Self {
        let text = response.text();
        let is_stream = response.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let message = if is_stream {
            let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
            let mut messages = data.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
            messages.rfind(|message| message.get("method").is_none()).unwrap_or(Value::Null)
        } else {
            serde_json::from_str(&text).unwrap_or(Value::Null)
        };
        Self { status: response.status, message, response }
    }

    /// `error.code`, if it is an error.
    pub fn error_code(&self) -> Option<i64> {
        self.message.pointer("/error/code")?.as_i64()
    }

    /// The result; an error fails the test.
    pub fn result(&self) -> &Value {
        let result = self.message.get("result");
        result.unwrap_or_else(|| panic!("no result: {} {}", self.status, self.response.text()))
    }
}

/// A complete 2026-07-28 request with its headers and `_meta`.
pub fn modern(method: &str, params: Value) -> Request {
    modern_as(json!(7), &json!({}), method, params)
}

/// The same with this `id`, of a client with these capabilities; what is in `_meta` stays there.
pub fn modern_as(id: Value, capabilities: &Value, method: &str, mut params: Value) -> Request {
    for (key, value) in [
        ("protocolVersion", json!("2026-07-28")),
        ("clientInfo", json!({"name": "e2e", "version": "1"})),
        ("clientCapabilities", capabilities.clone()),
    ] {
        params["_meta"][format!("{META}/{key}")] = value;
    }
    let name = ["name", "uri", "taskId"].iter().find_map(|field| params.get(field));
    let name = name.and_then(Value::as_str).map(str::to_owned);
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let request = Request::post_json("/mcp", body.to_string())
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", method);
    match name {
        Some(name) => request.header("Mcp-Name", &name),
        None => request,
    }
}

/// A 2026-07-28 `tools/call`.
pub fn modern_call(tool: &str, arguments: Value) -> Request {
    modern("tools/call", json!({"name": tool, "arguments": arguments}))
}

/// A session of the older era after its handshake.
pub struct Session<'a> {
    server: &'a Server,
    revision: &'static str,
    id: Option<String>,
    token: Option<String>,
}

impl<'a> Session<'a> {
    /// Shakes hands in 2025-11-25: `initialize`, then `notifications/initialized`, which is answered 202 without a body.
    pub fn open(server: &'a Server, token: Option<&str>) -> Self {
        Self::open_as(server, "2025-11-25", token)
    }

    /// The same in another revision.
    pub fn open_as(server: &'a Server, revision: &'static str, token: Option<&str>) -> Self {
        let params =
            json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}});
        let mut session = Self { server, revision, id: None, token: token.map(str::to_owned) };
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let answer = Answer::new(server.send(&session.request(&hello.to_string()).without("MCP-Protocol-Version")));
        assert_eq!(answer.result()["protocolVersion"], revision);
        session.id = answer.response.header("mcp-session-id").map(str::to_owned);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let ready = server.send(&session.request(&ready.to_string()));
        assert_eq!((ready.status, ready.body.len()), (202, 0), "{}", ready.text());
        session
    }

    /// The id that the server issued, if it issues any.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Sends one request of this session.
    pub fn call(&self, method: &str, params: Value) -> Answer {
        let message = json!({"jsonrpc": "2.0", "id": 2, "method": method, "params": params});
        self.send_body(&message.to_string())
    }

    /// Sends a body as it stands, broken or not.
    pub fn send_body(&self, body: &str) -> Answer {
        Answer::new(self.server.send(&self.request(body)))
    }

    /// A request of this session, to be bent or sent by the test.
    pub fn request(&self, body: &str) -> Request {
        let mut request = Request::post_json("/mcp", body).header("MCP-Protocol-Version", self.revision);
        if let Some(id) = &self.id {
            request = request.header("Mcp-Session-Id", id);
        }
        match &self.token {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request,
        }
    }
}
