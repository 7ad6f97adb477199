use std::fs;
use std::path::Path;

use crate::fixture::Fixture;

const TOKEN: &str = "0123456789abcdef";

#[test]
fn an_address_that_others_reach_needs_a_token() {
    for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
        let open = || Fixture::new().set(&format!("server.listen=127.0.0.1:1,{address}"));
        let said = open().problem();
        assert!(said.contains(address) && said.contains("set auth.tokens, or listen on a loopback address"), "{said}");
        open().env("AUTH_TOKENS", TOKEN).loaded();
        let admin = || Fixture::new().set(&format!("admin.listen={address}"));
        assert!(admin().problem().contains("set admin.token, or"));
        admin().set(&format!("admin.token={TOKEN}")).loaded();
    }
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        Fixture::new().set(&format!("server.listen={address}")).loaded();
    }
}

#[test]
fn addresses_do_not_take_each_other() {
    assert!(Fixture::new().set("server.listen=[]").problem().contains("empty list"));
    assert!(Fixture::new().set("server.listen=127.0.0.1:1,127.0.0.1:1").problem().contains("listed twice"));
    Fixture::new().set("server.listen=127.0.0.1:0,127.0.0.1:0").set("admin.listen=127.0.0.1:0").loaded();
    assert!(Fixture::new().set("admin.listen=127.0.0.1:8443").problem().starts_with("admin.listen (--set): the admin"));
    let covered = Fixture::new().set("server.listen=0.0.0.0:9464").env("AUTH_TOKENS", TOKEN);
    assert!(covered.problem().starts_with("server.listen (--set): the admin address"));
}

#[test]
fn times_fit_each_other() {
    let idle = Fixture::new().set("limits.idle_timeout_s=20");
    assert!(idle.problem().starts_with("limits.idle_timeout_s (--set): heartbeats every 25000 ms"));
    let delay = Fixture::new().set("supervisor.restart_delay_ms=20000");
    assert!(delay.problem().contains("above the longest, 10000 ms"));
    Fixture::new().set("supervisor.lame_duck_ms=0").set("supervisor.drain_timeout_s=1").loaded();
}

#[test]
fn a_worker_is_not_recycled_for_what_it_needs_from_its_start() {
    let said = Fixture::new().set("supervisor.recycle_rss_bytes=67108863").problem();
    assert!(said.contains("67108864") && said.contains("raise supervisor.recycle_rss_bytes"), "{said}");
    Fixture::new().set("supervisor.recycle_rss_bytes=67108864").loaded();
    Fixture::new().set("supervisor.recycle_rss_bytes=0").loaded();
}

#[test]
fn what_uses_redis_names_one() {
    for key in ["cache.backend", "state.backend"] {
        let said = Fixture::new().set(&format!("{key}=redis")).problem();
        assert!(said.starts_with(key) && said.contains("set redis.url"), "{said}");
        Fixture::new().set(&format!("{key}=redis")).env("REDIS_URL", "redis://127.0.0.1:1").loaded();
    }
    let sentinel = || Fixture::new().set("redis.topology=sentinel");
    assert!(sentinel().problem().contains("sentinels may watch many"));
    sentinel().set("redis.sentinel_master=main").loaded();
    assert!(Fixture::new().set("redis.tls_key=k").problem().contains("redis.tls_cert and redis.tls_key together"));
    let retry = Fixture::new().set("redis.retry_ms=500").set("redis.retry_max_ms=499");
    assert!(retry.problem().contains("below redis.retry_ms, 500 ms"));
}

#[test]
fn certificate_and_key_come_together() {
    assert!(Fixture::new().env("TLS_CERT", "c").problem().contains("only one is set"));
    assert!(Fixture::new().set("tls.client_ca=c").problem().contains("set tls.cert and tls.key too"));
    assert!(Fixture::new().env("TLS_KEY", "-----BEGIN PRIVATE KEY-----").problem().contains("give its path"));
}

#[test]
fn the_root_is_a_directory_that_holds_a_tree() {
    let fixture = Fixture::new();
    fs::write(fixture.dir.path().join("file"), "").unwrap();
    assert!(
        fixture.set("store.root=file").problem().contains("not a directory; name the directory that holds openspec/")
    );
    let bare = |content: fn(&Path)| {
        let fixture = Fixture::new();
        fs::create_dir(fixture.dir.path().join("bare")).unwrap();
        content(&fixture.dir.path().join("bare"));
        fixture.set("store.root=bare")
    };
    let remedy =
        "bare holds no openspec/; run `openspec init` there, or name the directory that holds openspec/ with --root";
    let said = bare(|_| ()).problem();
    assert!(said.starts_with("store.root (--set): /") && said.ends_with(remedy), "{said}");
    assert!(bare(|dir| fs::write(dir.join("openspec"), "").unwrap()).problem().ends_with(remedy));
    bare(|dir| fs::create_dir(dir.join("openspec")).unwrap()).loaded();
    let said = bare(|_| ()).set("store.backend=postgres").warning();
    assert!(said.starts_with("store.backend (--set): has no effect"), "{said}");
}

#[test]
fn weak_tokens_warn_and_unusable_ones_are_refused() {
    assert!(
        Fixture::new().env("AUTH_TOKENS", "short").warning().contains("entry 1 is short; 16 bytes or more are advised")
    );
    assert!(Fixture::new().env("AUTH_TOKENS", &format!("{TOKEN},{TOKEN}")).warning().contains("entry 2 repeats"));
    assert!(Fixture::new().set("admin.token=short").warning().starts_with("admin.token (--set): is short"));
    for file in ["auth.tokens = [\"\"]", "auth.tokens = [\"a b\"]", "auth.tokens = [\"ü\"]", "admin.token = \"a\\n\""]
    {
        Fixture::new().file(file).problem();
    }
    assert!(Fixture::new().set("auth.sealing_keys=abc").problem().contains("32 bytes or more are needed"));
}

#[test]
fn machines_that_share_state_without_keys_for_sessions_are_warned_and_a_key_that_repeats_is_told() {
    let key = "k".repeat(32);
    let shares = || Fixture::new().set("state.backend=redis").set("redis.url=redis://127.0.0.1:6379");
    let said = shares().warning();
    assert!(said.starts_with("state.backend (--set): ") || said.starts_with("auth.sealing_keys ("), "{said}");
    assert!(said.contains("each machine has a key of its own") && said.contains("sealing.key"), "{said}");
    assert!(shares().set(&format!("auth.sealing_keys={key}")).loaded().warnings.is_empty());
    let said = Fixture::new().set(&format!("auth.sealing_keys={key},{key}")).warning();
    assert!(said.contains("entry 2 repeats") && !said.contains(&key), "{said}");
}

#[test]
fn a_key_without_effect_warns_only_when_it_differs_from_the_default() {
    for (set, key) in [
        ("store.backend=postgres", "store.backend"),
        ("auth.tokens_file=/somewhere", "auth.tokens_file"),
        ("auth.jwt.issuer=https://issuer", "auth.jwt.issuer"),
    ] {
        let said = Fixture::new().set(set).warning();
        assert!(said.starts_with(&format!("{key} (--set): has no effect in this version")), "{said}");
    }
    assert!(Fixture::new().set("cache.backend=embedded").set("cache.ttl_s=300").loaded().warnings.is_empty());
}

#[test]
fn state_without_a_home_warns() {
    let mut fixture = Fixture::new();
    fixture.sources.env.clear();
    assert!(fixture.warning().starts_with("supervisor.state_dir (default): neither STATE_DIRECTORY"));
}
