//! What names a call: for the cache, for the ledger, for people.

use task_mcp_cache::Key;

use super::Executor;
use super::path::Admitted;
use crate::canonical;
use crate::idempotency::IdempotencyKey;
use crate::registry::Registry;
use crate::tool::Partition;

/// Longest name of an entry, in bytes: enough to know it by.
const NAME_BYTES_MAX: usize = 512;
/// Separates these hashes from all others (blake3, "derive_key").
const FINGERPRINT: &str = "task-mcp 2026-11-24 fingerprint of a call with an idempotency key";

/// What the key of an entry begins with, for each tool in its place: everything but the caller and the arguments. A tool whose
/// version or schemas differ has other keys, so that instances of two versions on one cache do not meet.
pub(super) fn bases(registry: &Registry, store_id: &str) -> Vec<Key> {
    let base = |description: &task_mcp_mcp::ToolDescription| {
        let version = registry.get(&description.name).map_or(0, |entry| entry.version);
        let schemas = [Some(&description.input_schema), description.output_schema.as_ref()];
        let [input, output] = schemas.map(|schema| {
            let mut text = Vec::new();
            canonical::write(schema.unwrap_or(&serde_json::Value::Null), &mut text);
            text
        });
        let version = version.to_le_bytes();
        Key::of(&[store_id.as_bytes(), description.name.as_bytes(), version.as_slice(), &input, &output])
    };
    registry.all().iter().map(base).collect()
}

/// An entry of the cache, named for it and for people.
pub(super) struct Named {
    pub(super) key: Key,
    /// The tool and the canonical arguments.
    pub(super) name: String,
}

impl Named {
    pub(super) fn new(executor: &Executor, admitted: &Admitted, partition: Partition) -> Self {
        let Admitted { entry, call, arguments, .. } = admitted;
        let mut name = Vec::with_capacity(128);
        name.extend_from_slice(entry.name.as_bytes());
        name.push(b' ');
        let arguments_at = name.len();
        canonical::write(arguments, &mut name);
        let base = executor.0.bases.get(entry.index).map_or([0; 32].as_slice(), |base| base.as_bytes().as_slice());
        let whose: [&[u8]; 2] = match partition {
            Partition::Public => [b"public", b""],
            Partition::Private => [b"private", call.principal.partition()],
        };
        let key = Key::of(&[base, whose[0], whose[1], name.get(arguments_at..).unwrap_or_default()]);
        let mut name = String::from_utf8(name).unwrap_or_default();
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        Self { key, name }
    }
}

/// The ledger's key of a write, and what another call under the same key must equal to be its repeat.
pub(super) fn for_ledger(executor: &Executor, admitted: &Admitted, key: &IdempotencyKey) -> (String, [u8; 32]) {
    let Admitted { entry, call, arguments, .. } = admitted;
    let store = executor.0.backing.store_id.as_bytes();
    let tool = entry.name.as_bytes();
    // Hashed: what a client calls a key is nobody's business.
    let hash = Key::of(&[b"idempotency", store, call.principal.person(), tool, key.as_str().as_bytes()]);
    let mut hasher = blake3::Hasher::new_derive_key(FINGERPRINT);
    let mut canonical = Vec::new();
    canonical::write(arguments, &mut canonical);
    hasher.update(tool);
    hasher.update(b"\0");
    hasher.update(&canonical);
    (hash.to_string(), *hasher.finalize().as_bytes())
}
