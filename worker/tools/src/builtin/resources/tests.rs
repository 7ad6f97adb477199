use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::Value;
use task_mcp_mcp::ResourceDescription;

use super::*;
use crate::testing::{Demo, call};

async fn everything(resources: &Documents) -> Vec<Vec<ResourceDescription>> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = resources.list(&call(), cursor.as_deref()).await.unwrap();
        pages.push(page.resources);
        cursor = page.next;
        if cursor.is_none() {
            return pages;
        }
    }
}

async fn read(resources: &Documents, uri: &str) -> Result<ResourceContents, Stop> {
    Ok(resources.read(&call(), uri).await?.unwrap_or_else(|| panic!("{uri} is nobody's")).remove(0))
}

fn text(contents: ResourceContents) -> String {
    match contents.body {
        ResourceBody::Text(text) => text,
        ResourceBody::Blob(_) => panic!("{contents:?}"),
    }
}

#[tokio::test]
async fn all_that_is_listed_can_be_read() {
    let demo = Demo::new();
    demo.add_change("zip-it");
    demo.add_change("add-login");
    demo.write("specs/area/b c/spec.md", "# spec\n");
    let resources = Documents::new(Arc::clone(&demo.store));
    let pages = everything(&resources).await;
    let listed: Vec<&str> = pages[0].iter().map(|resource| resource.uri.as_str()).collect();
    assert_eq!(
        listed,
        [
            "changes://active",
            "change://add-login/proposal",
            "change://add-login/tasks",
            "change://add-login/delta/accounts",
            "change://zip-it/proposal",
            "change://zip-it/tasks",
            "change://zip-it/delta/accounts",
            "spec://area/b%20c",
        ]
    );
    for resource in &pages[0] {
        let contents = read(&resources, &resource.uri).await.unwrap();
        assert_eq!((contents.uri.as_str(), &contents.mime_type), (resource.uri.as_str(), &resource.mime_type));
        let text = text(contents);
        assert!(resource.size.is_none_or(|size| size == text.len() as u64), "{}", resource.uri);
        assert!(resource.title.is_some() && !resources.tags(&resource.uri).is_empty());
    }
    let names: std::collections::HashSet<&str> = pages[0].iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names.len(), pages[0].len(), "names are unique");
}

#[tokio::test]
async fn a_page_goes_on_behind_the_one_before_whatever_came_or_went() {
    let demo = Demo::new();
    for number in 0..250 {
        demo.write(&format!("specs/s{number:03}/spec.md"), "x");
    }
    let resources = Documents::new(Arc::clone(&demo.store));
    let sizes: Vec<usize> = everything(&resources).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 100, 51]);
    let first = resources.list(&call(), None).await.unwrap();
    assert_eq!(first.resources.last().unwrap().uri, "spec://s098");
    demo.remove("specs/s098");
    demo.write("specs/s000a/spec.md", "x");
    demo.write("specs/s099a/spec.md", "x");
    let second = resources.list(&call(), first.next.as_deref()).await.unwrap();
    let uris: Vec<&str> = second.resources.iter().take(3).map(|resource| resource.uri.as_str()).collect();
    assert_eq!(uris, ["spec://s099", "spec://s099a", "spec://s100"], "nothing twice, nothing left out");
    let longest = format!(
        "specs/{}/spec.md",
        "ä".repeat(500)
            .as_bytes()
            .chunks(200)
            .map(|c| String::from_utf8_lossy(c).into_owned())
            .collect::<Vec<_>>()
            .join("/")
    );
    let name = DocumentName::of_path(&longest).unwrap();
    assert_eq!(list::after(&URL_SAFE_NO_PAD.encode(name.uri())).unwrap(), name, "the longest cursor is taken");
}

#[tokio::test]
async fn a_cursor_of_ours_is_the_only_one_taken() {
    let resources = Documents::new(Arc::clone(&Demo::new().store));
    let other = URL_SAFE_NO_PAD.encode("file:///etc/passwd");
    let long = "A".repeat(6 * 1024 + 1);
    for cursor in ["x", "!!", "AA==", other.as_str(), &long] {
        match resources.list(&call(), Some(cursor)).await {
            Err(Stop::Protocol(error)) => {
                assert_eq!(error.code, task_mcp_mcp::code::INVALID_PARAMS, "{cursor}");
            }
            other => panic!("{cursor}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn pages_of_the_active_changes_are_those_of_the_tool() {
    let demo = Demo::new();
    for slug in ["one-a", "two-b", "three-c"] {
        demo.add_change(slug);
    }
    let resources = Documents::new(Arc::clone(&demo.store));
    let page = async |uri: &str| serde_json::from_str::<Value>(&text(read(&resources, uri).await.unwrap())).unwrap();
    let whole = page("changes://active").await;
    assert_eq!((&whole["pageSize"], &whole["total"]), (&50.into(), &3.into()));
    let first = page("changes://active?pageSize=2").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let second = page("changes://active?page=2&pageSize=2").await;
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    let token = first["nextPageToken"].as_str().unwrap();
    let mut by_token = page(&format!("changes://active?pageSize=2&pageToken={token}")).await;
    by_token["items"][0]["x"] = Value::Null;
    assert_eq!(by_token["items"][0]["slug"], second["items"][0]["slug"]);
    for (uri, reason) in [
        ("changes://active?page=0", "page: it must be 1 or more"),
        ("changes://active?pageSize=201", "pageSize: it must be 1 to 200"),
        ("changes://active?pageToken=x", "pageToken: "),
    ] {
        match read(&resources, uri).await {
            Err(Stop::Protocol(error)) => {
                assert!(error.message.contains(reason), "{error}");
                assert_eq!(error.data.unwrap()["uri"], uri);
            }
            other => panic!("{uri}: {other:?}"),
        }
    }
    for uri in [
        "changes://",
        "changes://active/",
        "changes://active?",
        "changes://active?page",
        "changes://active?page=+1",
        "changes://active?page=1&page=1",
        "changes://active?page=-1",
        "changes://active?page=99999999999999999999",
        "changes://active?pagesize=1",
        "changes://active?x=1",
        "changes://active?pageToken=a%00b",
        "changes://active?pageToken=%zz",
        "changes://active#x",
        "changes://archived",
        "https://example.com/",
    ] {
        assert!(!resources.owns(uri) && resources.tags(uri).is_empty(), "{uri}");
        assert_eq!(resources.read(&call(), uri).await, Ok(None), "{uri}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_told_with_its_uri_and_what_to_do() {
    let demo = Demo::new();
    demo.add_change("add-login");
    demo.write("changes/archive/2026-01-01-add-old/tasks.md", "");
    demo.write("specs/latin/spec.md", "");
    std::fs::write(demo.path("specs/latin/spec.md"), b"caf\xe9").unwrap();
    demo.write("specs/link/other.md", "# elsewhere\n");
    std::os::unix::fs::symlink("other.md", demo.path("specs/link/spec.md")).unwrap();
    demo.write("specs/large/spec.md", &"x".repeat(2 << 20));
    let resources = Documents::new(Arc::clone(&demo.store));
    for (uri, code, said) in [
        ("spec://latin", "EBADSHAPE_NOT_UTF8", "is not valid UTF-8"),
        ("spec://link", "EPATH_ESCAPE", "is a symbolic link"),
        ("spec://large", "EBADSHAPE_SIZE_EXCEEDED", "is larger than"),
        ("change://add-logn/tasks", "ENOCHANGE", "Did you mean: add-login?"),
        ("change://add-old/tasks", "EARCHIVED", "archived as"),
        ("change://add-login/design", "ENODOCUMENT", "changes/add-login/design.md does not exist"),
        ("spec://nothing", "ENODOCUMENT", "specs/nothing/spec.md"),
    ] {
        match read(&resources, uri).await {
            Err(Stop::Protocol(error)) => {
                assert_eq!(error.code, task_mcp_mcp::code::INVALID_PARAMS, "{uri}");
                assert!(error.message.starts_with(&format!("Resource not found: {uri}")), "{error}");
                assert!(error.message.contains(said), "{error}");
                let data = error.data.unwrap();
                assert_eq!((data["uri"].as_str(), data["reason"]["code"].as_str()), (Some(uri), Some(code)));
            }
            other => panic!("{uri}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_uri_may_be_asked_for(uri in prop_oneof!["\\PC*", "changes://active(\\?(page|pageSize|pageToken|x)?=?[0-9a-z%&=+-]{0,8}){0,3}"]) {
        let _ = Wanted::of(&uri);
    }

    #[test]
    fn any_cursor_may_be_sent(cursor in "\\PC*") {
        let _ = list::after(&cursor);
    }
}
