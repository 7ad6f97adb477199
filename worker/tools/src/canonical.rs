//! One text for all ways to write the same arguments.

use serde_json::Value;

use crate::arguments;

/// Separates these hashes from all others (blake3, "derive_key").
const DIGEST: &str = "task-mcp 2026-11-25 digest of the arguments of a call";

/// A hash of the JSON text of a call's arguments, equal for all ways to write the same; `None` if they cannot be read.
pub fn digest(text: &str) -> Option<[u8; 32]> {
    let mut canonical = Vec::with_capacity(text.len());
    write(&arguments::parse(text).ok()?, &mut canonical);
    Some(blake3::derive_key(DIGEST, &canonical))
}

/// Appends the canonical form of a value: compact JSON, the keys of every object sorted by their bytes, every number in the one
/// form [`arguments::parse`](crate::arguments::parse) has left it. Two values have one form only if they are equal.
///
/// After RFC 8785, which sorts by UTF-16 units and writes every number as a double: neither matters to who only compares.
pub(crate) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            // Sorted as they are kept, unless some crate of the build has asked serde_json for the order of insertion.
            if fields.keys().is_sorted() {
                write_fields(fields.iter(), out);
            } else {
                let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
                sorted.sort_unstable_by_key(|(key, _)| *key);
                write_fields(sorted.into_iter(), out);
            }
            out.push(b'}');
        }
        leaf => write_leaf(leaf, out),
    }
}

fn write_fields<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut Vec<u8>) {
    for (place, (key, value)) in fields.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_leaf(key, out);
        out.push(b':');
        write(value, out);
    }
}

/// A string, number, truth value or null always is JSON, and a vector takes every byte.
fn write_leaf(leaf: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) {
    let written = serde_json::to_writer(&mut *out, leaf);
    debug_assert!(written.is_ok(), "a leaf is JSON");
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::arguments;

    fn text(value: &Value) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Small values with few keys, so that two of them are equal now and then.
    pub(crate) fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-4_i8..4).prop_map(|number| Value::from(f64::from(number) / 2.0)),
            "[a\"\\\\é\u{1}]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[ab\"é]{0,1}", inner, 0..3)
                    .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    /// The same value as another client might write it.
    pub(crate) fn loose(value: &Value) -> String {
        match value {
            Value::Array(items) => format!("[ {} ]", items.iter().map(loose).collect::<Vec<_>>().join(" ,\n")),
            Value::Object(fields) => {
                let field =
                    |(key, value): (&String, &Value)| format!("{} :\t{}", Value::from(key.as_str()), loose(value));
                format!("{{{} }}", fields.iter().rev().map(field).collect::<Vec<_>>().join(" , "))
            }
            Value::Number(number) if number.as_i64().is_some_and(|whole| whole.abs() < 1_000) => {
                format!("{number}.0e0")
            }
            leaf => leaf.to_string(),
        }
    }

    proptest! {
        #[test]
        fn the_form_is_one_for_equal_values_and_another_for_others(one in value(), other in value()) {
            let read = |text: &str| arguments::parse(text).unwrap();
            let (one, other) = (read(&one.to_string()), read(&other.to_string()));
            prop_assert_eq!(text(&one) == text(&other), one == other);
            prop_assert_eq!(text(&read(&loose(&one))), text(&one));
            prop_assert_eq!(read(&text(&one)), one, "nothing is lost");
        }
    }

    #[test]
    fn the_form_is_compact_and_sorted() {
        assert_eq!(
            text(&json!({ "b": [1, 2.5, "x\n"], "a": { "d": null, "c": true } })),
            r#"{"a":{"c":true,"d":null},"b":[1,2.5,"x\n"]}"#
        );
    }
}
