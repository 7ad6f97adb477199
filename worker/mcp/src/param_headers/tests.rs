#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::json;

use super::*;
use crate::describe::ToolAnnotations;

fn tool(schema: Value) -> ToolDescription {
    ToolDescription {
        name: "sql".into(),
        title: String::new(),
        description: String::new(),
        input_schema: schema,
        output_schema: None,
        annotations: ToolAnnotations {
            read_only_hint: true,
            destructive_hint: false,
            idempotent_hint: true,
            open_world_hint: false,
        },
    }
}

fn registered(schema: Value) -> Result<ParamHeaders, String> {
    ParamHeaders::of(&[tool(schema)]).map_err(|(name, why)| {
        assert_eq!(name, "sql");
        why
    })
}

fn schema() -> Value {
    let of = |kind: Value, header: &str| json!({ "type": kind, "x-mcp-header": header });
    json!({
        "type": "object",
        "properties": {
            "region": of(json!("string"), "Region"),
            "limit": of(json!("integer"), "Limit"),
            "dry": of(json!(["boolean", "null"]), "Dry"),
            "where": { "type": "object", "properties": { "zone": of(json!("string"), "Zone") } },
            // Data, not schemas.
            "x-mcp-header": { "type": "string", "default": { "x-mcp-header": 1 }, "enum": [{ "x-mcp-header": "" }] },
        },
    })
}

fn check(arguments: Value, headers: &[(&str, &[u8])]) -> Result<(), RpcError> {
    let all = registered(schema()).unwrap();
    all.check("sql", &arguments.to_string(), &RequestHeaders { params: headers.to_vec(), ..RequestHeaders::default() })
}

#[test]
fn a_header_says_what_the_argument_says() {
    let good: [(Value, &str, &[u8]); 19] = [
        (json!({ "region": "us-west1" }), "mcp-param-region", b"us-west1"),
        (json!({ "region": "us-west1" }), "mcp-param-region", b" us-west1\t"),
        (json!({ "region": "Hello" }), "mcp-param-region", b"=?base64?SGVsbG8=?="),
        (json!({ "region": "SGVsbG8=" }), "mcp-param-region", b"SGVsbG8="),
        (json!({ "region": "=?base64?SGVsbG8=" }), "mcp-param-region", b"=?base64?SGVsbG8="),
        (json!({ "region": "=?base64?literal?=" }), "mcp-param-region", b"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        (json!({ "region": " padded " }), "mcp-param-region", b"=?base64?IHBhZGRlZCA=?="),
        (json!({ "region": "" }), "mcp-param-region", b""),
        (json!({ "region": "" }), "mcp-param-region", b"=?base64??="),
        (json!({ "limit": 42 }), "mcp-param-limit", b"42"),
        (json!({ "limit": 42 }), "mcp-param-limit", b"42.0"),
        (json!({ "limit": 42.0 }), "mcp-param-limit", b"42"),
        (json!({ "limit": -7 }), "mcp-param-limit", b"-7"),
        (json!({ "limit": 9007199254740991_i64 }), "mcp-param-limit", b"9007199254740991"),
        (json!({ "dry": true }), "mcp-param-dry", b"true"),
        (json!({ "dry": false }), "mcp-param-dry", b"=?base64?ZmFsc2U=?="),
        (json!({ "where": { "zone": "a" } }), "mcp-param-zone", b"a"),
        (json!({ "region": "a" }), "mcp-param-region", b"a"),
        (json!({ "x-mcp-header": "a", "limit": 1 }), "mcp-param-limit", b"1"),
    ];
    for (arguments, name, value) in good {
        let checked = check(arguments.clone(), &[(name, value)]);
        assert!(checked.is_ok(), "{arguments} {}: {checked:?}", String::from_utf8_lossy(value));
    }
    for arguments in
        [json!({}), json!({ "region": null, "dry": null, "where": null }), json!({ "where": 1 }), json!([])]
    {
        assert_eq!(check(arguments.clone(), &[("mcp-param-other", b"x")]), Ok(()), "{arguments}");
    }
    assert_eq!(check(json!({ "region": [1] }), &[]), Ok(()), "the schema refuses it");
}

#[test]
fn a_header_that_says_anything_else_is_refused() {
    let bad: [(Value, &str, &[u8]); 16] = [
        (json!({ "region": "us-west1" }), "mcp-param-other", b"us-west1"),
        (json!({ "region": "us-west1" }), "mcp-param-region", b"US-west1"),
        (json!({ "region": "Hello" }), "mcp-param-region", b"=?base64?SGVsbG8?="),
        (json!({ "region": "Hello" }), "mcp-param-region", b"=?base64?SGVs!!!bG8=?="),
        (json!({ "region": "Hello" }), "mcp-param-region", b"=?base64?/w==?="),
        (json!({ "region": "\u{e9}" }), "mcp-param-region", "\u{e9}".as_bytes()),
        (json!({ "region": "" }), "mcp-param-region", b"\xff"),
        (json!({ "region": "a\u{1}" }), "mcp-param-region", b"a\x01"),
        (json!({ "limit": 42 }), "mcp-param-limit", b"42.5"),
        (json!({ "limit": 42 }), "mcp-param-limit", b"+42"),
        (json!({ "limit": 42 }), "mcp-param-limit", b"0x2a"),
        (json!({ "limit": 9007199254740993_i64 }), "mcp-param-limit", b"9007199254740992"),
        (json!({ "dry": true }), "mcp-param-dry", b"TRUE"),
        (json!({ "where": { "zone": "a" } }), "mcp-param-zone", b"b"),
        (json!({ "region": [1] }), "mcp-param-region", b"[1]"),
        (json!({ "region": null }), "mcp-param-region", b"null"),
    ];
    for (arguments, name, value) in bad {
        let error = check(arguments.clone(), &[(name, value)]).unwrap_err();
        assert_eq!((error.code, error.status), (crate::code::HEADER_MISMATCH, 400), "{arguments}");
        assert!(error.message.contains("Mcp-Param-"), "{error}");
    }
    let twice = check(json!({ "region": "a" }), &[("mcp-param-region", b"a"), ("mcp-param-region", b"a")]);
    assert!(twice.unwrap_err().message.contains("only once"));
    let none = registered(schema()).unwrap();
    let without = none.check("sql", r#"{"region":"a"}"#, &RequestHeaders::default()).unwrap_err();
    assert!(without.message.contains("is missing") && without.message.contains("`region`"), "{without}");
    assert_eq!(none.check("other", r#"{"region":"a"}"#, &RequestHeaders::default()), Ok(()));
}

#[test]
fn a_schema_may_ask_only_where_an_argument_is_found_by_its_place() {
    let asks = json!({ "type": "string", "x-mcp-header": "A" });
    let object = |properties: Value| json!({ "type": "object", "properties": properties });
    let bad = [
        (json!({ "x-mcp-header": "A", "type": "object" }), "chain"),
        (object(json!({ "a": { "type": "array", "items": asks } })), "chain"),
        (object(json!({ "a": { "oneOf": [asks] } })), "chain"),
        (object(json!({ "a": { "anyOf": [{ "properties": { "b": asks } }] } })), "chain"),
        (json!({ "allOf": [object(json!({ "a": asks }))] }), "chain"),
        (json!({ "not": object(json!({ "a": asks })) }), "chain"),
        (json!({ "if": object(json!({ "a": asks })) }), "chain"),
        (json!({ "then": object(json!({ "a": asks })), "else": {} }), "chain"),
        (json!({ "$defs": { "a": asks } }), "chain"),
        (json!({ "patternProperties": { "^a": asks } }), "chain"),
        (json!({ "additionalProperties": asks }), "chain"),
        (json!({ "dependentSchemas": { "a": object(json!({ "b": asks })) } }), "chain"),
        (object(json!({ "a": asks, "b": { "type": "integer", "x-mcp-header": "a" } })), "two arguments"),
        (object(json!({ "a": { "type": "number", "x-mcp-header": "A" } })), "type string"),
        (object(json!({ "a": { "type": "object", "x-mcp-header": "A" } })), "type string"),
        (object(json!({ "a": { "type": ["string", "integer"], "x-mcp-header": "A" } })), "type string"),
        (object(json!({ "a": { "type": ["null"], "x-mcp-header": "A" } })), "type string"),
        (object(json!({ "a": { "x-mcp-header": "A" } })), "type string"),
        (object(json!({ "a": { "$ref": "#/$defs/a", "x-mcp-header": "A" } })), "type string"),
    ];
    for (schema, why) in bad {
        let error = registered(schema.clone()).unwrap_err();
        assert!(error.contains(why), "{schema}: {error}");
    }
    for name in
        [json!(""), json!("a b"), json!("a:b"), json!("a\r\nb"), json!("\u{e9}"), json!(1), json!(null), json!({})]
    {
        let error = registered(object(json!({ "a": { "type": "string", "x-mcp-header": name } }))).unwrap_err();
        assert!(error.contains("RFC 9110"), "{name}: {error}");
    }
    assert!(registered(object(json!({ "a": { "const": { "x-mcp-header": 1 } } }))).is_ok());
}
