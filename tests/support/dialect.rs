//! One tool call in each dialect of the wire, answers brought to one form.

use serde_json::{Value, json};
use task_mcp_bench::{Request, Response};

use super::{
    rpc::{Answer, Session, modern_call},
    server::Server,
};

/// The ways a tool can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// JSON-RPC, MCP 2026-07-28.
    Modern,
    /// JSON-RPC, MCP 2025-11-25, in a session of its own.
    Legacy,
    /// `POST /mcp` with `{tool,input}`: lines of JSON.
    Ndjson,
    /// `POST /sse` with `{tool,input}`: an event stream.
    Sse,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Modern, Self::Legacy, Self::Ndjson, Self::Sse];

    /// The path its requests go to.
    pub fn path(self) -> &'static str {
        if self == Self::Sse { "/sse" } else { "/mcp" }
    }

    /// The answers its clients ask for.
    fn accept(self) -> &'static str {
        match self {
            Self::Modern | Self::Legacy => "application/json, text/event-stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Sse => "text/event-stream",
        }
    }

    /// Whether it is one of the two with the body `{tool,input}`.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Ndjson | Self::Sse)
    }
}

/// An answer, whatever the dialect.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The structured result, or what went wrong.
    pub outcome: Result<Value, Fault>,
}

/// An error in the dialect's own form.
#[derive(Debug)]
pub struct Fault {
    /// The error as JSON text: codes, message, data.
    pub text: String,
}

impl Reply {
    /// The structured result; an error fails the test.
    pub fn ok(self) -> Value {
        self.outcome.unwrap_or_else(|fault| panic!("{}: {}", self.status, fault.text))
    }

    /// The error; a result fails the test.
    pub fn fault(self) -> Fault {
        match self.outcome {
            Ok(result) => panic!("{} with a result, but an error was due: {result}", self.status),
            Err(fault) => fault,
        }
    }
}

/// A client of one server in one dialect.
pub struct Caller<'a> {
    server: &'a Server,
    dialect: Dialect,
    token: Option<String>,
}

impl<'a> Caller<'a> {
    /// A client without a token.
    pub fn new(server: &'a Server, dialect: Dialect) -> Self {
        Self { server, dialect, token: None }
    }

    /// The same client with a bearer token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Calls a tool over a new connection.
    pub fn call(&self, tool: &str, arguments: Value) -> Reply {
        if self.dialect == Dialect::Legacy {
            let session = Session::open(self.server, self.token.as_deref());
            return rpc_reply(session.call("tools/call", json!({"name": tool, "arguments": arguments})));
        }
        self.send(self.request(tool, arguments))
    }

    /// Sends a body as it stands, broken or not.
    pub fn send_body(&self, body: &str) -> Reply {
        let request = self.post(body);
        match self.dialect {
            Dialect::Legacy => rpc_reply(Session::open(self.server, self.token.as_deref()).send_body(body)),
            Dialect::Modern => self.send(
                request
                    .header("MCP-Protocol-Version", "2026-07-28")
                    .header("Mcp-Method", "tools/call")
                    .header("Mcp-Name", "changes.active"),
            ),
            Dialect::Ndjson | Dialect::Sse => self.send(request),
        }
    }

    /// The body of a call in this dialect, for tests that bend it.
    pub fn body(&self, tool: &str, arguments: &Value) -> String {
        if self.dialect.is_plain() {
            return json!({"tool": tool, "input": arguments, "apiVersion": "1.0.0"}).to_string();
        }
        let mut params = json!({"name": tool, "arguments": arguments});
        if self.dialect == Dialect::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).to_string()
    }

    fn request(&self, tool: &str, arguments: Value) -> Request {
        let request = match self.dialect {
            Dialect::Modern => modern_call(tool, arguments),
            _ => self.post(&self.body(tool, &arguments)),
        };
        match &self.token {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    fn post(&self, body: &str) -> Request {
        Request::post_json(self.dialect.path(), body).header("Accept", self.dialect.accept())
    }

    fn send(&self, request: Request) -> Reply {
        let response = self.server.send(&request);
        let kind = response.header("content-type").unwrap_or_default().to_owned();
        match self.dialect {
            Dialect::Modern | Dialect::Legacy => rpc_reply(Answer::new(response)),
            _ if kind.starts_with("application/json") => refusal(&response),
            Dialect::Ndjson => ndjson_reply(&response),
            Dialect::Sse => sse_reply(&response),
        }
    }
}

/// JSON-RPC: `error`, a result with `isError`, or `structuredContent`.
fn rpc_reply(answer: Answer) -> Reply {
    let Answer { status, message, response } = answer;
    assert_eq!(message["jsonrpc"], "2.0", "{status} {}", response.text());
    let outcome = match message.get("error") {
        Some(error) => {
            assert!(error["code"].is_i64() && error["message"].is_string(), "an error has code and message: {error}");
            Err(Fault { text: error.to_string() })
        }
        None => tool_outcome(&message["result"]),
    };
    Reply { status, outcome }
}

/// A tool's result as all dialects carry it.
fn tool_outcome(result: &Value) -> Result<Value, Fault> {
    assert!(result["content"].is_array(), "a result has content: {result}");
    if result["isError"] == true {
        return Err(Fault { text: result.to_string() });
    }
    assert!(result["structuredContent"].is_object(), "a result is structured: {result}");
    Ok(result["structuredContent"].clone())
}

/// The plain dialects before a stream begins: `{apiVersion,error{code,message}}` with a status that is not 200.
fn refusal(response: &Response) -> Reply {
    let body: Value = serde_json::from_slice(&response.body).expect("a refusal is JSON");
    assert_ne!(response.status, 200, "{body}");
    Reply { status: response.status, outcome: Err(plain_fault(&body)) }
}

fn plain_fault(holder: &Value) -> Fault {
    let error = &holder["error"];
    assert!(error["code"].is_string() && error["message"].is_string(), "an error has code and message: {holder}");
    Fault { text: error.to_string() }
}

/// Lines: start, result or error, end.
fn ndjson_reply(response: &Response) -> Reply {
    let text = response.text();
    assert_eq!(response.header("content-type"), Some("application/x-ndjson"), "{} {text}", response.status);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let types: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    let outcome = match types.as_slice() {
        ["start", "result", "end"] => tool_outcome(&lines[1]["result"]),
        ["start", "error", "end"] => Err(plain_fault(&lines[1])),
        other => panic!("lines of types {other:?}: {text}"),
    };
    Reply { status: response.status, outcome }
}

/// A comment at once, then one event, `result` or `error`.
fn sse_reply(response: &Response) -> Reply {
    let text = response.text();
    assert_eq!(response.header("content-type"), Some("text/event-stream"), "{} {text}", response.status);
    assert!(text.starts_with(": keep-alive"), "{text}");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data: Value = serde_json::from_str(field("data:").expect("an event has data")).expect("data is JSON");
    assert!(field("id:").is_some_and(|id| !id.is_empty()), "an event has an id: {text}");
    let outcome = match field("event:") {
        Some("result") => tool_outcome(&data["result"]),
        Some("error") => Err(plain_fault(&data)),
        other => panic!("event {other:?}: {text}"),
    };
    Reply { status: response.status, outcome }
}
