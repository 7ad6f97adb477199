//! What holds for every store. Each promise takes an empty store and its epoch source.

use serde_json::Value;
use task_mcp_changes::{ActiveQuery, ArchiveRequest, ChangesError, DocumentName, EpochSource, OpenTasks, Store};

use crate::world::{World, archiving, opening, slug};

/// Runs every promise on a fresh store each.
async fn keeps_the_contract<S: Store, W>(fresh: impl Fn() -> W, store: impl Fn(&W) -> (&S, &dyn EpochSource)) {
    macro_rules! promise {
        ($name:ident) => {{
            let world = fresh();
            let (store, epochs) = store(&world);
            $name(store, epochs).await;
        }};
    }
    promise!(an_empty_store_has_an_empty_first_page);
    promise!(opening_creates_then_resumes);
    promise!(a_lock_keeps_others_out);
    promise!(pages_hold_every_change_once);
    promise!(documents_are_listed_in_the_order_of_their_names);
    promise!(a_document_is_read_by_its_name);
    promise!(archiving_is_done_once);
    promise!(writes_move_the_epoch_on);
    promise!(bad_queries_name_the_field);
    promise!(results_are_camel_case);
}

#[tokio::test]
async fn the_files_store_keeps_the_contract() {
    keeps_the_contract(World::new, |world| (&world.store, world.epochs.as_ref())).await;
}

async fn an_empty_store_has_an_empty_first_page(store: &dyn Store, _: &dyn EpochSource) {
    let page = store.active(ActiveQuery::default()).await.unwrap();
    assert_eq!((page.items.len(), page.total, page.page, page.page_size), (0, 0, 1, 50));
    assert!(page.next_page_token.is_none());
    assert_eq!(store.show(&slug("nothing-here")).await.unwrap_err().code(), "ENOCHANGE");
    assert_eq!(store.archive(archiving("nothing-here", "ana")).await.unwrap_err().code(), "ENOCHANGE");
}

async fn uris(store: &dyn Store) -> Vec<String> {
    store.documents().await.unwrap().iter().map(|entry| entry.name.uri()).collect()
}

async fn documents_are_listed_in_the_order_of_their_names(store: &dyn Store, _: &dyn EpochSource) {
    assert!(uris(store).await.is_empty());
    for slug in ["zip-it", "add-login"] {
        store.open(opening(slug, "ana")).await.unwrap();
    }
    let of = |slug: &str| ["proposal", "tasks", &format!("delta/{slug}")].map(|part| format!("change://{slug}/{part}"));
    assert_eq!(uris(store).await, [of("add-login"), of("zip-it")].concat(), "by slug, then in the order they are read");
    for entry in store.documents().await.unwrap().iter() {
        assert_eq!(store.document(&entry.name).await.unwrap().text.len() as u64, entry.size_bytes);
    }
}

async fn a_document_is_read_by_its_name(store: &dyn Store, _: &dyn EpochSource) {
    let name = |uri: &str| DocumentName::of_uri(uri).unwrap();
    let code = async |uri: &str| store.document(&name(uri)).await.unwrap_err().code();
    assert_eq!(code("change://add-login/tasks").await, "ENOCHANGE");
    store.open(opening("add-login", "ana")).await.unwrap();
    let first = store.document(&name("change://add-login/proposal")).await.unwrap();
    assert!(first.text.contains("Title of add-login") && first.updated_at.ends_with('Z'));
    store.open(opening("zip-it", "ana")).await.unwrap();
    assert_eq!(store.document(&first.name).await.unwrap(), first, "the same bytes have the same tag");
    let other = store.document(&name("change://zip-it/proposal")).await.unwrap();
    assert_ne!(other.tag, first.tag, "other bytes have another");
    for missing in ["change://add-login/design", "change://add-login/delta/other", "spec://add-login"] {
        assert_eq!(code(missing).await, "ENODOCUMENT");
    }
}

async fn opening_creates_then_resumes(store: &dyn Store, _: &dyn EpochSource) {
    let opened = store.open(opening("add-login", "ana")).await.unwrap();
    assert!(opened.created && opened.locked && !opened.missing.is_empty());
    let page = store.active(ActiveQuery::default()).await.unwrap();
    assert_eq!(page.items[0].title, "Title of add-login");
    assert_eq!(page.items[0].template.as_deref(), Some("feature"));
    assert_eq!(page.items[0].owner.as_deref(), Some("ana"));
    let shown = store.show(&slug("add-login")).await.unwrap();
    assert_eq!(shown.lock.unwrap().owner, "ana");
    assert_eq!(shown.deltas[0].operation, "ADDED");
    assert_eq!(shown.tasks.len(), shown.task_counts.total);
    assert!(!store.open(opening("add-login", "ana")).await.unwrap().created);
}

async fn a_lock_keeps_others_out(store: &dyn Store, _: &dyn EpochSource) {
    store.open(opening("add-login", "ana")).await.unwrap();
    for error in [
        store.open(opening("add-login", "bob")).await.unwrap_err(),
        store.archive(archiving("add-login", "bob")).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "ELOCKED");
        let details = error.details().unwrap();
        assert_eq!((&details["owner"], &details["ttl"]), (&Value::from("ana"), &Value::from(3600)));
        assert!(details["since"].is_string() && details["expiresAt"].is_string());
    }
}

async fn pages_hold_every_change_once(store: &dyn Store, _: &dyn EpochSource) {
    for number in 0..7 {
        store.open(opening(&format!("change-{number}"), "ana")).await.unwrap();
    }
    let (mut seen, mut query) = (Vec::new(), ActiveQuery { page_size: Some(3), ..ActiveQuery::default() });
    let mut pages = 0;
    loop {
        let page = store.active(query.clone()).await.unwrap();
        pages += 1;
        assert_eq!((page.total, page.page), (7, pages));
        seen.extend(page.items.iter().map(|item| item.slug.clone()));
        let Some(token) = page.next_page_token else { break };
        query.page_token = Some(token);
    }
    assert_eq!(pages, 3);
    let second = ActiveQuery { page: Some(2), page_size: Some(3), ..ActiveQuery::default() };
    let second = store.active(second).await.unwrap();
    assert_eq!(second.items.iter().map(|i| i.slug.clone()).collect::<Vec<_>>(), seen[3..6]);
    seen.sort();
    assert_eq!(seen, (0..7).map(|n| format!("change-{n}")).collect::<Vec<_>>());
    let none = ActiveQuery { owner: Some("eve".to_owned()), ..ActiveQuery::default() };
    assert_eq!(store.active(none).await.unwrap().total, 0);
}

async fn archiving_is_done_once(store: &dyn Store, _: &dyn EpochSource) {
    store.open(opening("add-login", "ana")).await.unwrap();
    let with = |open_tasks| ArchiveRequest { open_tasks, ..archiving("add-login", "ana") };
    let refused = store.archive(with(OpenTasks::Refuse)).await.unwrap_err();
    assert_eq!(refused.code(), "EOPENTASKS");
    assert!(refused.hint().unwrap().contains("allowOpenTasks"));
    let ChangesError::OpenTasks { tag, first, open, .. } = refused else { panic!("it has open tasks") };
    assert!(!first.is_empty() && first.len() <= open);
    let other = store.archive(with(OpenTasks::AllowSeen("other".to_owned()))).await.unwrap_err();
    assert_eq!(other.code(), "EOPENTASKS", "nobody has agreed to these tasks");
    let archived = store.archive(with(OpenTasks::AllowSeen(tag))).await.unwrap();
    assert!(archived.archived && !archived.already_archived);
    let again = store.archive(archiving("add-login", "bob")).await.unwrap();
    assert!(again.already_archived);
    assert_eq!(again.receipt, archived.receipt);
    assert_eq!(store.active(ActiveQuery::default()).await.unwrap().total, 0);
    for error in
        [store.show(&slug("add-login")).await.unwrap_err(), store.open(opening("add-login", "ana")).await.unwrap_err()]
    {
        assert_eq!(error.code(), "EARCHIVED");
        assert_eq!(error.details().unwrap()["archivedAs"], archived.archived_as.as_str());
    }
}

async fn writes_move_the_epoch_on(store: &dyn Store, epochs: &dyn EpochSource) {
    let mut before = epochs.current();
    let mut moved = |what: &str| {
        let now = epochs.current();
        assert_ne!(now, before, "{what}");
        before = now;
    };
    store.open(opening("add-login", "ana")).await.unwrap();
    moved("open");
    store.open(opening("add-login", "ana")).await.unwrap();
    moved("resume");
    store.archive(archiving("add-login", "ana")).await.unwrap();
    moved("archive");
    store.active(ActiveQuery::default()).await.unwrap();
    assert_eq!(epochs.current(), before, "reading moves nothing");
}

async fn bad_queries_name_the_field(store: &dyn Store, _: &dyn EpochSource) {
    let query = ActiveQuery::default;
    for (bad, field) in [
        (ActiveQuery { page_size: Some(0), ..query() }, "pageSize"),
        (ActiveQuery { page_size: Some(201), ..query() }, "pageSize"),
        (ActiveQuery { page: Some(0), ..query() }, "page"),
    ] {
        let error = store.active(bad).await.unwrap_err();
        assert_eq!(error.code(), "EBADINPUT");
        assert!(error.to_string().starts_with(&format!("{field}: ")), "{error}");
    }
    let token = ActiveQuery { page_token: Some("nonsense".to_owned()), ..query() };
    assert_eq!(store.active(token).await.unwrap_err().code(), "EBADTOKEN");
    for (ttl, title, field) in
        [(Some(59), "T", "ttl"), (Some(86_401), "T", "ttl"), (None, "", "title"), (None, "a\nb", "title")]
    {
        let request = task_mcp_changes::OpenRequest { ttl, title: title.to_owned(), ..opening("bad-one", "ana") };
        let error = store.open(request).await.unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    }
    assert_eq!(store.active(query()).await.unwrap().total, 0, "nothing was created");
}

async fn results_are_camel_case(store: &dyn Store, _: &dyn EpochSource) {
    let opened = serde_json::to_value(store.open(opening("add-login", "ana")).await.unwrap()).unwrap();
    assert_eq!(opened["resourceUris"]["proposal"], "change://add-login/proposal");
    assert_eq!(opened["paths"]["tasks"], "openspec/changes/add-login/tasks.md");
    assert!(opened["toolVersions"]["change.open"].is_string() && opened["toolVersions"]["taskMcp"].is_string());
    let page = serde_json::to_value(store.active(ActiveQuery::default()).await.unwrap()).unwrap();
    let item = &page["items"][0];
    let is_time = |value: &Value| value.as_str().is_some_and(|t| t.len() == 24 && t.ends_with('Z'));
    assert!(is_time(&item["updatedAt"]) && is_time(&item["createdAt"]), "{item}");
    assert_eq!(item["paths"]["root"], "openspec/changes/add-login");
    let archived = serde_json::to_value(store.archive(archiving("add-login", "ana")).await.unwrap()).unwrap();
    assert!(is_time(&archived["receipt"]["archivedAt"]), "{archived}");
}
