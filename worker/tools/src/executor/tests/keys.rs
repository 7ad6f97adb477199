use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::keys::{Named, bases, for_ledger};
use super::super::path::Admitted;
use super::*;
use crate::canonical::tests::{loose, value};
use crate::{IdempotencyKey, Scopes, arguments};

fn named(world: &World, principal: &Principal, arguments: &str, partition: Partition) -> Named {
    Named::new(&world.executor, &admitted(world, "probe.kept", principal, arguments), partition)
}

fn admitted(world: &World, tool: &str, principal: &Principal, arguments: &str) -> Admitted {
    Admitted {
        entry: Arc::clone(world.executor.0.registry.get(tool).unwrap()),
        call: Call::new(principal.clone()),
        arguments: arguments::parse(arguments).unwrap(),
        limits: LIMITS,
    }
}

fn principals() -> impl Strategy<Value = Principal> {
    let scopes =
        prop_oneof![Just(Scopes::All), proptest::collection::btree_set("[rw]{1,2}", 0..3).prop_map(Scopes::Of),];
    ("[ab]{1,2}", proptest::option::of("[ab]{1,2}"), scopes)
        .prop_map(|(name, tenant, scopes)| Principal::of(&name, tenant.as_deref(), scopes))
}

proptest! {
    #[test]
    fn a_private_entry_has_one_owner_and_one_meaning(
        (one, other) in (principals(), principals()),
        (asked, also_asked) in (value(), value()),
    ) {
        let world = World::new();
        let key = |principal, arguments: &str, partition| named(&world, principal, arguments, partition).key;
        let (text, also_text) = (asked.to_string(), also_asked.to_string());
        let same_call = arguments::parse(&text).unwrap() == arguments::parse(&also_text).unwrap();
        let private = key(&one, &text, Partition::Private);
        prop_assert_eq!(private, key(&one, &loose(&asked), Partition::Private), "however it is written");
        prop_assert_eq!(private == key(&other, &also_text, Partition::Private), one == other && same_call);
        let public = key(&one, &text, Partition::Public);
        prop_assert_ne!(public, private);
        prop_assert_eq!(public == key(&other, &also_text, Partition::Public), same_call, "whoever asks");
    }
}

#[test]
fn another_store_tool_or_version_has_other_keys() {
    let world = World::new();
    let registry = &world.executor.0.registry;
    let here = bases(registry, "test");
    assert_eq!(here, world.executor.0.bases);
    assert_ne!(here, bases(registry, "other"));
    let distinct: BTreeSet<_> = here.iter().collect();
    assert_eq!(distinct.len(), 3 + crate::methods::NAMES.len(), "one for each tool and method");
}

#[test]
fn people_know_an_entry_by_its_tool_and_arguments() {
    let world = World::new();
    let name = |arguments: &str| named(&world, &Principal::anonymous(), arguments, Partition::Public).name;
    assert_eq!(name(r#"{ "n": 1.0, "any": "é" }"#), r#"probe.kept {"any":"é","n":1}"#);
    let long = name(&json!({ "any": "é".repeat(1_000) }).to_string());
    assert!(long.starts_with("probe.kept {") && (500..=512).contains(&long.len()), "{}", long.len());
}

#[test]
fn the_ledger_tells_principals_tools_and_arguments_apart() {
    let world = World::new();
    let key = IdempotencyKey::parse("k-1").unwrap();
    let (ada, bob) = (Principal::new("ada"), Principal::new("bob"));
    let ada_with_less = Principal::of("ada", None, Scopes::Of(BTreeSet::from(["probe:write".to_owned()])));
    let of = |tool, principal, arguments, key| {
        for_ledger(&world.executor, &admitted(&world, tool, principal, arguments), key)
    };
    let (first, fingerprint) = of("probe.write", &ada, r#"{"n":1,"any":2}"#, &key);
    assert_eq!(of("probe.write", &ada, r#"{"any":2.0, "n":1}"#, &key), (first.clone(), fingerprint));
    assert_eq!(of("probe.write", &ada_with_less, r#"{"n":1,"any":2}"#, &key), (first.clone(), fingerprint));
    let (same, other) = of("probe.write", &ada, r#"{"n":1}"#, &key);
    assert!(same == first && other != fingerprint, "the same key for another call is a conflict");
    assert_ne!(of("probe.write", &bob, "{}", &key).0, first);
    assert_ne!(of("probe.read", &ada, "{}", &key).0, first);
    assert_ne!(of("probe.write", &ada, "{}", &IdempotencyKey::parse("k-2").unwrap()).0, first);
}
