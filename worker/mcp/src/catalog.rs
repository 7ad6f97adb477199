//! What the server tells of itself and its tools. Nothing here changes while a process lives, so it is serialised once.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::revision::{Era, Revision};

/// Who the server is.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// Name for programs.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Version of the software.
    pub version: String,
    /// How a model should use the server.
    pub instructions: String,
}

/// One tool as `tools/list` shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolDescription {
    /// Unique name.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What it does, for a model.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of `structuredContent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Hints on its behaviour.
    pub annotations: ToolAnnotations,
}

/// Hints on a tool's behaviour (specification, `ToolAnnotations`).
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// It changes nothing.
    pub read_only_hint: bool,
    /// It may destroy what was there.
    pub destructive_hint: bool,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent_hint: bool,
    /// It reaches beyond the server's own data.
    pub open_world_hint: bool,
}

/// Why a catalogue cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Two tools share a name.
    #[error("two tools are named `{0}`")]
    DuplicateTool(String),
    /// A description is not serialisable.
    #[error("the catalogue cannot be serialised")]
    Serialise(#[from] serde_json::Error),
}

/// How long a client may keep the list of tools, in milliseconds: it changes with a reload only, so minutes are safe and
/// seconds would be waste.
const LIST_TTL_MS: u64 = 300_000;

/// The serialised answers that never change.
#[derive(Debug)]
pub struct Catalog {
    pub(crate) tools_legacy: String,
    pub(crate) tools_modern: String,
    pub(crate) discover: String,
    pub(crate) initialize: [String; 2],
    /// Fields that open every result of the modern era, with a trailing comma.
    pub(crate) modern_prefix: String,
}

impl Catalog {
    /// Serialises what is told of `info` and `tools`, which are listed in the given order.
    ///
    /// # Errors
    /// Two tools of one name.
    pub fn new(info: &ServerInfo, tools: &[ToolDescription]) -> Result<Self, CatalogError> {
        for (at, tool) in tools.iter().enumerate() {
            if tools.iter().take(at).any(|earlier| earlier.name == tool.name) {
                return Err(CatalogError::DuplicateTool(tool.name.clone()));
            }
        }
        let identity = json!({ "name": info.name, "title": info.title, "version": info.version });
        let capabilities = json!({ "tools": {} });
        let meta = json!({ "io.modelcontextprotocol/serverInfo": identity });
        let supported: Vec<&str> = Revision::ALL.iter().map(|revision| revision.name()).collect();

        let modern = |mut fields: Map<String, Value>| {
            fields.insert("resultType".into(), "complete".into());
            fields.insert("_meta".into(), meta.clone());
            fields.insert("ttlMs".into(), LIST_TTL_MS.into());
            fields.insert("cacheScope".into(), "public".into());
            serde_json::to_string(&Value::Object(fields))
        };
        let fields =
            |pairs: Vec<(&str, Value)>| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let handshake = |revision: Revision| {
            serde_json::to_string(&json!({
                "protocolVersion": revision.name(),
                "capabilities": capabilities,
                "serverInfo": identity,
                "instructions": info.instructions,
            }))
        };

        Ok(Self {
            tools_legacy: serde_json::to_string(&json!({ "tools": tools }))?,
            tools_modern: modern(fields(vec![("tools", json!(tools))]))?,
            discover: modern(fields(vec![
                ("supportedVersions", json!(supported)),
                ("capabilities", capabilities.clone()),
                ("instructions", json!(info.instructions)),
            ]))?,
            initialize: [handshake(Revision::V2025_11_25)?, handshake(Revision::V2025_06_18)?],
            modern_prefix: format!("\"resultType\":\"complete\",\"_meta\":{},", serde_json::to_string(&meta)?),
        })
    }

    pub(crate) fn tools(&self, era: Era) -> &str {
        match era {
            Era::Legacy => &self.tools_legacy,
            Era::Modern => &self.tools_modern,
        }
    }

    /// The answer to a handshake that asked for `requested`: that revision if it is a legacy one, else the newest of those.
    pub(crate) fn initialize(&self, requested: &str) -> &str {
        let [newest, older] = &self.initialize;
        match Revision::parse(requested) {
            Some(Revision::V2025_06_18) => older,
            Some(Revision::V2025_11_25 | Revision::V2026_07_28) | None => newest,
        }
    }
}
