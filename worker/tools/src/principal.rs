//! Who calls, and whose results are whose.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use task_mcp_cache::Key;

/// What a principal may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scopes {
    /// Everything.
    All,
    /// What these admit.
    Of(BTreeSet<String>),
}

/// Who calls. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<Identity>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    name: String,
    tenant: Option<String>,
    scopes: Scopes,
    /// Hashes of the above: computed once, used by every call.
    person: [u8; 32],
    partition: [u8; 32],
}

impl Principal {
    /// The principal of that name, of no tenant, with all scopes: what a plain token makes of its bearer.
    pub fn new(name: &str) -> Self {
        Self::of(name, None, Scopes::All)
    }

    /// The principal of that name and tenant, with these scopes.
    pub fn of(name: &str, tenant: Option<&str>, scopes: Scopes) -> Self {
        let person = *Key::of(&person(name, tenant)).as_bytes();
        let partition = partition(name, tenant, &scopes);
        Self(Arc::new(Identity { name: name.to_owned(), tenant: tenant.map(str::to_owned), scopes, person, partition }))
    }

    /// The one everybody is where no token is asked for.
    pub fn anonymous() -> Self {
        static ANONYMOUS: LazyLock<Principal> = LazyLock::new(|| Principal::new("anonymous"));
        ANONYMOUS.clone()
    }

    /// Its name: stable, and never a secret.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whose it is, where several share an instance.
    pub fn tenant(&self) -> Option<&str> {
        self.0.tenant.as_deref()
    }

    /// What it may do.
    pub fn scopes(&self) -> &Scopes {
        &self.0.scopes
    }

    /// Whether it holds a scope.
    pub fn holds(&self, scope: &str) -> bool {
        match &self.0.scopes {
            Scopes::All => true,
            Scopes::Of(scopes) => scopes.contains(scope),
        }
    }

    /// A hash of tenant, name and scopes: what is private to one is under another hash than what is private to another. A token
    /// that is replaced by another of the same principal changes nothing.
    pub(crate) fn partition(&self) -> &[u8; 32] {
        &self.0.partition
    }

    /// A hash of tenant and name: who it is, whatever it may do today. What is sent again is the same call also when its sender has
    /// got another scope meanwhile.
    pub fn person(&self) -> &[u8; 32] {
        &self.0.person
    }
}

fn person<'a>(name: &'a str, tenant: Option<&'a str>) -> Vec<&'a [u8]> {
    let mut parts: Vec<&[u8]> = vec![name.as_bytes()];
    match tenant {
        Some(tenant) => parts.extend([b"tenant".as_slice(), tenant.as_bytes()]),
        None => parts.push(b"no tenant"),
    }
    parts
}

fn partition(name: &str, tenant: Option<&str>, scopes: &Scopes) -> [u8; 32] {
    let mut parts = person(name, tenant);
    match scopes {
        Scopes::All => parts.push(b"all scopes"),
        Scopes::Of(scopes) => {
            parts.push(b"scopes");
            parts.extend(scopes.iter().map(String::as_bytes));
        }
    }
    *Key::of(&parts).as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few and short names, so that they meet often, with what could be taken for a boundary.
    fn who() -> impl Strategy<Value = (String, Option<String>, Scopes)> {
        let word = "[ab:]{0,2}|tenant|scopes|all scopes|no tenant";
        let scopes = prop_oneof![Just(Scopes::All), proptest::collection::btree_set(word, 0..3).prop_map(Scopes::Of),];
        (word, proptest::option::of(word), scopes)
    }

    proptest! {
        #[test]
        fn two_principals_share_a_partition_only_if_they_are_one(one in who(), other in who()) {
            let of = |(name, tenant, scopes): &(String, Option<String>, Scopes)| {
                Principal::of(name, tenant.as_deref(), scopes.clone())
            };
            prop_assert_eq!(of(&one).partition() == of(&other).partition(), one == other);
            let same_person = (&one.0, &one.1) == (&other.0, &other.1);
            prop_assert_eq!(of(&one).person() == of(&other).person(), same_person);
        }
    }

    #[test]
    fn a_plain_token_holds_all_scopes_and_another_principal_its_own() {
        let reader = Principal::of("ada", Some("acme"), Scopes::Of(BTreeSet::from(["changes:read".to_owned()])));
        assert!(reader.holds("changes:read") && !reader.holds("changes:write"));
        assert_eq!((reader.name(), reader.tenant()), ("ada", Some("acme")));
        assert!(Principal::new("token:1").holds("changes:write"));
    }
}
