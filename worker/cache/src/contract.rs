//! What every shared tier promises. A backend's tests say how two processes that share it are made, and run it all by
//! [`contract`].

use std::time::Duration;

use task_mcp_scoreboard::Epochs;
use task_mcp_telemetry::CacheFault;

use crate::entry::unix_ms;
use crate::testing::{eventually, value};
use crate::tier::{Entry, Found, Lease, Looked, Stamps, Tier, Token};
use crate::{Key, Tag};

/// Two processes that share a tier whose leases end after 100 ms, and whatever must live as long as they do.
pub(crate) struct Shared<T> {
    pub(crate) one: T,
    pub(crate) two: T,
    pub(crate) _keep: Box<dyn std::any::Any>,
}

/// Runs every promise against what an `async fn() -> Shared<impl Tier>` makes.
macro_rules! contract {
    ($start:path: $($promise:ident)*) => {
        $(
            #[tokio::test]
            async fn $promise() {
                $crate::contract::$promise($start().await).await;
            }
        )*
    };
    ($start:path) => {
        $crate::contract::contract! { $start:
            what_one_stores_all_find
            a_bump_ends_what_was_stored_before
            a_tag_in_the_same_cell_only_ends_more
            what_was_computed_before_a_bump_is_not_kept
            an_entry_without_a_wanted_tag_is_not_found
            time_makes_an_entry_stale_then_ends_it
            an_entry_is_replaced
            one_has_the_lease_until_it_gives_it_back
            a_lease_ends_unless_it_is_renewed
            whose_lease_has_ended_does_not_store
            the_incarnation_of_an_entry_counts
            an_entry_over_the_limit_is_never_answered
            any_name_and_any_bytes_are_kept
        }
    };
}
pub(crate) use contract;

fn key(name: &str) -> Key {
    Key::of(&[name.as_bytes()])
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::new(name)).collect()
}

async fn stamps<T: Tier>(tier: &T, key: &Key, tags: &[Tag]) -> Stamps {
    match tier.look(key, tags).await {
        Looked::Nothing(stamps) | Looked::Stale(_, stamps) => stamps,
        other => panic!("{other:?}"),
    }
}

fn entry(stamps: Stamps, text: &str) -> Entry {
    let (fresh, stale) = (Duration::from_secs(100), Duration::from_secs(100));
    Entry { value: value(text), stamps, name: "t {}".to_owned(), created_ms: unix_ms(), fresh, stale }
}

async fn fresh<T: Tier>(tier: &T, key: &Key, tags: &[Tag]) -> Option<Found> {
    match tier.look(key, tags).await {
        Looked::Fresh(found) => Some(found),
        _ => None,
    }
}

async fn store<T: Tier>(tier: &T, name: &str, tags: &[Tag], text: &str) -> Result<(), CacheFault> {
    let stamps = stamps(tier, &key(name), tags).await;
    tier.store(&key(name), entry(stamps, text), None).await
}

async fn mine<T: Tier>(tier: &T, key: &Key) -> Token {
    eventually("the lease is to be had", async || match tier.lease(key).await {
        Lease::Mine(token) => Some(token),
        _ => None,
    })
    .await
}

pub(crate) async fn what_one_stores_all_find(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["a", "b"]);
    store(&one, "k", &tags, "v").await.unwrap();
    let found = fresh(&two, &key("k"), &tags).await.unwrap();
    assert_eq!(found.value, value("v"));
    assert!(found.age < Duration::from_secs(10), "{:?}", found.age);
    assert_eq!(fresh(&two, &key("l"), &tags).await, None);
}

pub(crate) async fn a_bump_ends_what_was_stored_before(Shared { one, two, .. }: Shared<impl Tier>) {
    let (tags, other) = (tags(&["a", "b"]), tags(&["c"]));
    store(&one, "k", &tags, "v").await.unwrap();
    store(&one, "l", &other, "v").await.unwrap();
    two.bump(&tags[1..]).await;
    assert_eq!(fresh(&one, &key("k"), &tags).await, None);
    assert!(fresh(&one, &key("l"), &other).await.is_some(), "another tag was bumped");
    store(&one, "k", &tags, "w").await.unwrap();
    assert_eq!(fresh(&two, &key("k"), &tags).await.unwrap().value, value("w"));
}

pub(crate) async fn a_tag_in_the_same_cell_only_ends_more(Shared { one, two, .. }: Shared<impl Tier>) {
    let wanted = tags(&["a"]);
    let same_cell = (0..)
        .map(|number| format!("x{number}"))
        .find(|name| Epochs::cell(name) == Epochs::cell("a"))
        .map(|name| Tag::new(&name))
        .unwrap();
    store(&one, "k", &wanted, "v").await.unwrap();
    two.bump(&[same_cell]).await;
    assert_eq!(fresh(&one, &key("k"), &wanted).await, None);
}

pub(crate) async fn what_was_computed_before_a_bump_is_not_kept(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["a"]);
    let before = stamps(&one, &key("k"), &tags).await;
    two.bump(&tags).await;
    assert_eq!(one.store(&key("k"), entry(before, "old"), None).await, Err(CacheFault::Late));
    assert_eq!(fresh(&two, &key("k"), &tags).await, None);
}

pub(crate) async fn an_entry_without_a_wanted_tag_is_not_found(Shared { one, two, .. }: Shared<impl Tier>) {
    store(&one, "k", &tags(&["a"]), "v").await.unwrap();
    assert_eq!(fresh(&two, &key("k"), &tags(&["a", "b"])).await, None);
}

pub(crate) async fn time_makes_an_entry_stale_then_ends_it(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["a"]);
    let now = stamps(&one, &key("k"), &tags).await;
    let ago = |seconds: u64| Entry { created_ms: unix_ms() - seconds * 1_000, ..entry(now.clone(), "v") };
    one.store(&key("k"), ago(150), None).await.unwrap();
    match two.look(&key("k"), &tags).await {
        Looked::Stale(found, stamps) => {
            assert!(found.age >= Duration::from_secs(150), "{:?}", found.age);
            assert_eq!(stamps, now);
        }
        other => panic!("{other:?}"),
    }
    // What is over already may be refused.
    let _ = one.store(&key("l"), ago(201), None).await;
    assert!(matches!(two.look(&key("l"), &tags).await, Looked::Nothing(_)));
}

pub(crate) async fn an_entry_is_replaced(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["a"]);
    let now = stamps(&one, &key("k"), &tags).await;
    for text in ["v", "w"] {
        one.store(&key("k"), entry(now.clone(), text), None).await.unwrap();
    }
    assert_eq!(fresh(&two, &key("k"), &tags).await.unwrap().value, value("w"));
}

pub(crate) async fn one_has_the_lease_until_it_gives_it_back(Shared { one, two, .. }: Shared<impl Tier>) {
    let first = mine(&one, &key("k")).await;
    match two.lease(&key("k")).await {
        Lease::Held { left, holder } => {
            assert_eq!(holder, first);
            assert!(left <= Duration::from_millis(100), "{left:?}");
        }
        other => panic!("{other:?}"),
    }
    one.release(&key("k"), first).await;
    let Lease::Mine(second) = two.lease(&key("k")).await else { panic!("it was given back") };
    assert!(second > first);
    one.release(&key("k"), first).await;
    assert!(matches!(one.lease(&key("k")).await, Lease::Held { .. }), "what was given back cannot be given back again");
}

pub(crate) async fn a_lease_ends_unless_it_is_renewed(Shared { one, two, .. }: Shared<impl Tier>) {
    let first = mine(&one, &key("k")).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(one.renew(&key("k"), first).await);
    }
    assert!(matches!(two.lease(&key("k")).await, Lease::Held { .. }), "200 ms later it is still held");
    mine(&two, &key("k")).await;
    assert!(!one.renew(&key("k"), first).await);
}

pub(crate) async fn whose_lease_has_ended_does_not_store(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["a"]);
    let now = stamps(&one, &key("k"), &tags).await;
    let first = mine(&one, &key("k")).await;
    let second = mine(&two, &key("k")).await;
    assert_eq!(one.store(&key("k"), entry(now.clone(), "first"), Some(first)).await, Err(CacheFault::Fenced));
    assert_eq!(fresh(&two, &key("k"), &tags).await, None);
    two.store(&key("k"), entry(now, "second"), Some(second)).await.unwrap();
    assert_eq!(fresh(&one, &key("k"), &tags).await.unwrap().value, value("second"));
}

pub(crate) async fn the_incarnation_of_an_entry_counts(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["a"]);
    let mut now = stamps(&one, &key("k"), &tags).await;
    now.incarnation ^= 1;
    let _ = one.store(&key("k"), entry(now, "of another instance"), None).await;
    assert_eq!(fresh(&two, &key("k"), &tags).await, None);
}

pub(crate) async fn an_entry_over_the_limit_is_never_answered(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["a"]);
    let now = stamps(&one, &key("k"), &tags).await;
    // The default of cache.entry_bytes is 4 MiB.
    let _ = one.store(&key("k"), entry(now, &"x".repeat((4 << 20) + 1)), None).await;
    assert_eq!(fresh(&two, &key("k"), &tags).await, None);
}

pub(crate) async fn any_name_and_any_bytes_are_kept(Shared { one, two, .. }: Shared<impl Tier>) {
    let tags = tags(&["", "\r\n*{}\0", &"long".repeat(1_000)]);
    let now = stamps(&one, &key("k"), &tags).await;
    let text = "\0\r\n".repeat(10_000);
    one.store(&key("k"), Entry { name: "\0*\r\n".repeat(500), ..entry(now, &text) }, None).await.unwrap();
    assert_eq!(fresh(&two, &key("k"), &tags).await.unwrap().value, value(&text));
}
