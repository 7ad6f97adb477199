use task_mcp_mcp::{Blocks, Content};

use super::super::outcome::fragments;
use super::*;

#[test]
fn blocks_are_answered_as_they_are_and_have_no_structured_form() {
    let image = Content::Image { data: vec![1, 2], mime_type: "image/png".into() };
    let output = Output::blocks(&[Content::Text("a".into()), image]).unwrap();
    for (output, is_error) in [(output.clone(), false), (output.failed(), true)] {
        let result = fragments(output);
        assert_eq!((&result.structured, result.is_error), (&None, is_error));
        let mut fields = vec![b'{'];
        result.write_fields(&mut fields);
        fields.push(b'}');
        let on_the_wire: Value = serde_json::from_slice(&fields).unwrap();
        let blocks = json!([
            { "type": "text", "text": "a" },
            { "type": "image", "data": "AQI=", "mimeType": "image/png" },
        ]);
        assert_eq!(on_the_wire, json!({ "content": blocks, "isError": is_error }));
    }
}

#[test]
fn a_failed_answer_keeps_what_it_says() {
    let result = fragments(Output::of(&json!({ "a": 1 })).unwrap().failed());
    assert_eq!(result.structured.as_deref(), Some(br#"{"a":1}"#.as_slice()));
    assert_eq!((result.content, result.is_error), (Blocks::Text(r#""{\"a\":1}""#.into()), true));
}

#[test]
fn what_is_no_json_is_an_internal_error() {
    let map = std::collections::BTreeMap::from([(vec![1], 1)]);
    assert_eq!(Output::of(&map).unwrap_err().code, crate::code::INTERNAL_ERROR);
}
