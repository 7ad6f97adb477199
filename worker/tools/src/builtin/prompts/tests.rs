use std::collections::BTreeSet;

use super::super::builtin_tools;
use super::*;
use crate::testing::{Demo, call};

/// What the messages say, one after the other, and the URIs of what they bring along.
async fn got(demo: &Demo, name: &str, arguments: &[(&str, &str)]) -> Result<(String, Vec<String>), crate::Stop> {
    let prompts = all(&demo.store);
    let prompt = prompts.iter().find(|prompt| prompt.describe().name == name).unwrap();
    let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut text = String::new();
    let mut uris = Vec::new();
    for message in prompt.get(&call(), arguments).await? {
        match message.content {
            Content::Text(said) => text.push_str(&said),
            Content::Resource(contents) => uris.push(contents.uri),
            Content::Link { uri, .. } => uris.push(format!("link {uri}")),
            other => panic!("{other:?}"),
        }
    }
    Ok((text, uris))
}

async fn refusal_of(demo: &Demo, name: &str, arguments: &[(&str, &str)]) -> String {
    match got(demo, name, arguments).await {
        Err(crate::Stop::Protocol(error)) => {
            assert_eq!(error.code, task_mcp_mcp::code::INVALID_PARAMS);
            error.message
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_change_brings_its_documents_along() {
    let demo = Demo::new();
    demo.add_change("add-login");
    demo.write("changes/add-login/design.md", "# Design\n");
    demo.write("specs/accounts/spec.md", "# accounts\n");
    demo.write("specs/other/spec.md", "# other\n");
    let documents = ["proposal", "tasks", "design", "delta/accounts"].map(|part| format!("change://add-login/{part}"));
    let (text, uris) = got(&demo, "implement-change", &[("slug", "add-login")]).await.unwrap();
    assert!(text.contains("1 of 2 tasks are done; the next is: 1.2 Open"), "{text}");
    assert_eq!(uris, documents);
    let (text, uris) = got(&demo, "review-change", &[("slug", "add-login")]).await.unwrap();
    assert!(text.contains("- ADDED in `accounts`: Lock"), "{text}");
    assert_eq!(uris, [documents.as_slice(), &["spec://accounts".to_owned()]].concat(), "and the specs it touches");
}

#[tokio::test]
async fn what_is_too_long_is_linked() {
    let demo = Demo::new();
    demo.add_change("add-login");
    demo.write("changes/add-login/design.md", &"x".repeat(200_000));
    let (_, uris) = got(&demo, "implement-change", &[("slug", "add-login")]).await.unwrap();
    assert!(uris.contains(&"link change://add-login/design".to_owned()), "{uris:?}");
    assert!(uris.contains(&"change://add-login/delta/accounts".to_owned()), "what fits is embedded: {uris:?}");
}

#[tokio::test]
async fn a_wrong_argument_is_named() {
    let demo = Demo::new();
    demo.add_change("add-login");
    for prompt in ["implement-change", "review-change"] {
        for (slug, named) in [("add-logn", "Did you mean: add-login?"), ("Add Login", "a-z"), ("", "3 to 64")] {
            let message = refusal_of(&demo, prompt, &[("slug", slug)]).await;
            assert!(message.contains("`slug`") && message.contains(named), "{message}");
        }
    }
    demo.write("changes/archive/2026-01-01-add-old/tasks.md", "");
    assert!(refusal_of(&demo, "implement-change", &[("slug", "add-old")]).await.contains("archived"));
    let long = "x".repeat(201);
    for title in ["", "  ", "a\nb", &long] {
        assert!(refusal_of(&demo, "propose-change", &[("title", title)]).await.contains("`title`"), "{title:?}");
    }
    let long = "x".repeat(10_001);
    assert!(refusal_of(&demo, "propose-change", &[("title", "x"), ("context", &long)]).await.contains("`context`"));
}

#[tokio::test]
async fn a_proposal_knows_what_there_is() {
    let demo = Demo::new();
    demo.add_change("add-login");
    demo.write("specs/area/accounts/spec.md", "# accounts\n");
    let arguments = [("title", "Add sign-in by e-mail"), ("context", "Because of CONTEXT.")];
    let (text, _) = got(&demo, "propose-change", &arguments).await.unwrap();
    for said in [
        "**Add sign-in by e-mail**",
        "CONTEXT.",
        "- `add-login`: ",
        "`spec://area/accounts`",
        "`add-sign-in-by-e-mail`",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

/// `thing.verb` in backticks is a tool, unless it is a file.
#[tokio::test]
async fn only_tools_that_exist_are_named() {
    let demo = Demo::new();
    demo.add_change("add-login");
    let tools: BTreeSet<String> = builtin_tools(&demo.store).iter().map(|tool| tool.describe().name).collect();
    let arguments = [("slug", "add-login"), ("title", "Add x")];
    for (name, argument) in NAMES.into_iter().zip([arguments[1], arguments[0], arguments[0]]) {
        let (text, _) = got(&demo, name, &[argument]).await.unwrap();
        let named: BTreeSet<&str> = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| word.contains('.') && !word.ends_with(".md") && !word.contains([' ', '/', '#']))
            .collect();
        assert!(named.contains("change.show"), "{name} tells of the tools: {named:?}");
        for tool in named {
            assert!(tools.contains(tool), "{name} names `{tool}`, which is no tool");
        }
    }
}
