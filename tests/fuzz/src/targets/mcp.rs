//! What the targets that feed the engine share.

use std::sync::LazyLock;

use serde_json::json;
use serde_json::value::RawValue;
use task_mcp_mcp::{
    Catalog, Engine, Method, Offer, PromptDescription, Reply, Request, Route, RpcError, ServerInfo, ToolAnnotations,
    ToolDescription, code,
};

/// The name of the tool whose arguments are repeated in headers: `region`, `limit`, `dry` in `Mcp-Param-Region` and so on.
pub(super) const TOOL: &str = "sql";

/// An engine that offers something of everything.
pub(super) static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

#[allow(clippy::expect_used, reason = "it is a test")]
fn engine() -> Engine {
    let param = |kind: &str, header: &str| json!({ "type": kind, "x-mcp-header": header });
    let properties = json!({ "region": param("string", "Region"), "limit": param("integer", "Limit"), "dry": param("boolean", "Dry") });
    let tool = ToolDescription {
        name: TOOL.to_owned(),
        title: String::new(),
        description: String::new(),
        input_schema: json!({ "type": "object", "properties": properties }),
        output_schema: None,
        annotations: ToolAnnotations {
            read_only_hint: true,
            destructive_hint: false,
            idempotent_hint: true,
            open_world_hint: false,
        },
    };
    let prompt =
        PromptDescription { name: "p".into(), title: String::new(), description: String::new(), arguments: Vec::new() };
    let offer =
        Offer { tools: vec![tool], prompts: vec![prompt], resources: true, completions: true, ..Offer::default() };
    let info = ServerInfo {
        name: "fed".to_owned(),
        title: String::new(),
        version: "1".to_owned(),
        instructions: String::new(),
    };
    Engine::new(Catalog::new(&info, &offer).expect("a sound catalogue"))
}

/// Checks what a message leads to, and says it in a word.
pub(super) fn checked(input: &[u8], route: &Route<'_>) -> &'static str {
    match route {
        Route::Reply(reply) => {
            // What is no request may be refused without its id.
            let (id, is_request) = readable_id(input).unzip();
            let has_id = reply.body.starts_with(b"{\"jsonrpc\":\"2.0\",\"id\":");
            assert!(has_id || is_request != Some(true), "a request is answered without its id");
            check_reply(reply, id.filter(|_| has_id));
            match reply.error_code {
                Some(code::PARSE_ERROR) => "parse-error",
                Some(code::INVALID_REQUEST) => "invalid-request",
                Some(code::METHOD_NOT_FOUND) => "method-not-found",
                Some(code::INVALID_PARAMS) => "invalid-params",
                Some(code::HEADER_MISMATCH) => "header-mismatch",
                Some(code::UNSUPPORTED_PROTOCOL_VERSION) => "unsupported-version",
                other => unreachable!("the engine itself refuses with no such code: {other:?}"),
            }
        }
        Route::Request(asked) => {
            let id = asked.id.as_json();
            let reply = ENGINE.told(asked).unwrap_or_else(|| Reply::refusal(asked, RpcError::internal("fed")));
            check_reply(&reply, Some(id));
            method(asked)
        }
        Route::Notification(_) => "notification",
        Route::Response(_) => "response",
        Route::Batch(messages) => {
            for message in messages {
                checked(message.get().as_bytes(), &ENGINE.route_of_batch(message, None));
            }
            "batch"
        }
    }
}

fn method(asked: &Request<'_>) -> &'static str {
    match asked.method {
        Method::Initialize(_) => "initialize",
        Method::Ping => "ping",
        Method::Discover => "discover",
        Method::List(_) => "list",
        Method::CallTool(_) => "call-tool",
        Method::GetPrompt(_) => "get-prompt",
        Method::ReadResource(_) => "read-resource",
        Method::ListResources(_) => "list-resources",
        Method::Complete(_) => "complete",
        Method::SetLevel(_) => "set-level",
        Method::Subscribe(_) => "subscribe",
        Method::Unsubscribe(_) => "unsubscribe",
        Method::Listen(_) => "listen",
        Method::GetTask(_) => "get-task",
        Method::UpdateTask { .. } => "update-task",
        Method::CancelTask(_) => "cancel-task",
    }
}

/// An answer is one compact JSON object on one line, under the id as its client wrote it.
#[allow(clippy::expect_used, reason = "it is a test")]
fn check_reply(reply: &Reply, id: Option<&str>) {
    let text = std::str::from_utf8(&reply.body).expect("an answer is text");
    assert!(!text.contains(['\n', '\r']), "{text}");
    let begins = match id {
        Some(id) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},"),
        None => "{\"jsonrpc\":\"2.0\",".to_owned(),
    };
    let rest = text.strip_prefix(&begins);
    assert!(rest.is_some_and(|rest| rest.starts_with("\"result\":") || rest.starts_with("\"error\":")), "{text}");
    let raw: &RawValue = serde_json::from_str(text).expect("an answer is JSON");
    assert_eq!(raw.get().len(), text.len(), "an answer has no blanks around it");
}

/// The id of a message, read another way than the engine reads it, and whether it is one of a request; `None` if there is none, or it
/// may be taken for several.
fn readable_id(input: &[u8]) -> Option<(&str, bool)> {
    #[derive(serde::Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        #[serde(borrow, default)]
        jsonrpc: Option<&'a RawValue>,
        #[serde(borrow, default)]
        method: Option<&'a RawValue>,
        // Named, so that what repeats one of them is no message here either.
        #[serde(default, rename = "params")]
        _params: Option<serde::de::IgnoredAny>,
        #[serde(default, rename = "result")]
        _result: Option<serde::de::IgnoredAny>,
        #[serde(default, rename = "error")]
        _error: Option<serde::de::IgnoredAny>,
    }
    let message: Message<'_> = serde_json::from_str(std::str::from_utf8(input).ok()?).ok()?;
    let id = message.id.get();
    let is_good = id.starts_with('"') || id.parse::<i64>().is_ok() || id.parse::<u64>().is_ok();
    let is_request = message.jsonrpc.map(RawValue::get) == Some("\"2.0\"")
        && message.method.is_some_and(|method| serde_json::from_str::<String>(method.get()).is_ok());
    is_good.then_some((id, is_request))
}
