use std::fs;
use std::path::Path;

use task_mcp_config::{ConfigError, DEFAULT_TOML, Origin, Settings, Sources, load};

use crate::fixture::Fixture;

#[test]
fn without_anything_the_defaults_hold() {
    let fixture = Fixture::new();
    let loaded = fixture.loaded();
    let mut shipped: Settings = toml::from_str(DEFAULT_TOML).unwrap();
    shipped.store.root = fixture.dir.path().to_owned();
    shipped.supervisor.runtime_dir = "/tmp/task-mcp-7".into();
    shipped.supervisor.state_dir = "/home/somebody/.local/state/task-mcp".into();
    shipped.supervisor.control_socket = "/tmp/task-mcp-7/control.sock".into();
    assert_eq!(loaded.settings, shipped);
    assert_eq!((loaded.warnings, loaded.file), (vec![], None));
    assert!(loaded.origins.values().all(|origin| *origin == Origin::Default));
}

#[test]
fn each_layer_wins_over_the_ones_below() {
    let file = Fixture::new().file("[server]\nworkers = 2\nheartbeat_ms = 1000\n[tools]\nqueue = 3");
    assert_eq!(file.loaded().settings.server.workers, 2);
    let env = file.env("TASK_MCP_SERVER__WORKERS", "4");
    assert_eq!(env.loaded().settings.server.workers, 4);
    let set = env.set("server.workers=5").set("server.workers=6");
    let loaded = set.loaded();
    assert_eq!(loaded.settings.server.workers, 6);
    assert_eq!((loaded.settings.server.heartbeat_ms, loaded.settings.tools.queue), (1000, 3));
    assert_eq!(loaded.settings.tools.deadline_ms, 30_000);
    assert_eq!(loaded.origins["server.workers"], Origin::Set);
    let line = |line| Origin::File { path: "task-mcp.toml".into(), line };
    assert_eq!((&loaded.origins["server.heartbeat_ms"], &loaded.origins["tools.queue"]), (&line(3), &line(5)));
}

#[test]
fn the_file_is_the_first_that_is_named_or_exists() {
    let mut fixture = Fixture::new().file("[server]\nworkers = 4");
    let dir = fixture.dir.path().to_owned();
    let put = |name: &str, workers: u8| fs::write(dir.join(name), format!("server.workers = {workers}")).unwrap();
    put("env.toml", 2);
    put("option.toml", 1);
    assert_eq!(fixture.loaded().settings.server.workers, 4);
    fs::create_dir(dir.join("etc")).unwrap();
    put("etc/task-mcp.toml", 3);
    let loaded = fixture.loaded();
    assert_eq!((loaded.settings.server.workers, loaded.file.as_deref()), (3, Some(Path::new("etc/task-mcp.toml"))));
    fixture = fixture.env("TASK_MCP_CONFIG", "env.toml");
    assert_eq!(fixture.loaded().settings.server.workers, 2);
    fixture.sources.config = Some("option.toml".into());
    assert_eq!(fixture.loaded().settings.server.workers, 1);
}

#[test]
fn a_named_file_must_be_there_and_readable() {
    let fixture = Fixture::new().env("TASK_MCP_CONFIG", "gone.toml");
    let error = load(&fixture.sources).unwrap_err();
    assert!(matches!(&error, ConfigError::Read { .. }));
    assert_eq!(
        with_causes(&error),
        "correct the path or the permissions of the settings file gone.toml (named by TASK_MCP_CONFIG), or name another \
         with --config; it cannot be read: No such file or directory (os error 2)"
    );
    let unset = Fixture::new().env("TASK_MCP_CONFIG", "");
    assert_eq!(unset.loaded().file, None);
}

/// The error and its causes, parted by colons, as the binary prints them.
fn with_causes(error: &ConfigError) -> String {
    let first: &dyn std::error::Error = error;
    let chain = std::iter::successors(Some(first), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn a_settings_file_is_a_regular_file() {
    let fixture = Fixture::new().file("server.workers = 3");
    let at = |name: &str| fixture.dir.path().join(name);
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("task-mcp.toml", at("link")).unwrap();
    let load_from = |config: &str| load(&Sources { config: Some(config.into()), ..fixture.sources.clone() });
    for (config, what) in [("openspec", "a directory"), ("fifo", "a FIFO"), ("/dev/null", "a device")] {
        let error = load_from(config).unwrap_err();
        let said = with_causes(&error);
        assert!(said.contains(&format!("settings file {config} (named by --config)")), "{said}");
        assert!(said.ends_with(&format!("it cannot be read: it is {what}, not a regular file")), "{said}");
    }
    assert_eq!(load_from("link").unwrap().settings.server.workers, 3);
}

#[test]
fn origins_and_hosts_take_the_form_that_clients_send_from_every_source() {
    const ORIGINS: &str = "HTTPS://A.example.com:443";
    let file = format!(
        "[server]\nallowed_origins = [\"{ORIGINS}\"]\npublic_url = \"{ORIGINS}\"\nallowed_hosts = [\"A.example.com:443\"]"
    );
    let sources = [
        Fixture::new().file(&file),
        Fixture::new()
            .env("TASK_MCP_SERVER__ALLOWED_ORIGINS", ORIGINS)
            .env("TASK_MCP_SERVER__PUBLIC_URL", ORIGINS)
            .env("TASK_MCP_SERVER__ALLOWED_HOSTS", "A.example.com:80"),
        Fixture::new()
            .env("ALLOWED_ORIGINS", ORIGINS)
            .set(&format!("server.public_url={ORIGINS}"))
            .set("server.allowed_hosts=A.Example.com"),
        Fixture::new()
            .set(&format!("server.allowed_origins={ORIGINS}"))
            .set("server.public_url=https://A.Example.com")
            .set("server.allowed_hosts=a.example.com:0443"),
    ];
    for source in sources {
        let server = source.loaded().settings.server;
        assert_eq!(server.allowed_origins, ["https://a.example.com"]);
        assert_eq!(
            (server.public_url.as_str(), server.public_authority()),
            ("https://a.example.com", Some("a.example.com"))
        );
        assert_eq!(server.allowed_hosts, ["a.example.com"]);
    }
    let kept = Fixture::new()
        .set("server.allowed_origins=http://a:443,https://a:80,https://a:8443,vscode-webview://A,http://[0::1]:80")
        .set("server.public_url=http://A:8080")
        .set("server.allowed_hosts=a:8443,[0::1]:443");
    let server = kept.loaded().settings.server;
    assert_eq!(
        server.allowed_origins,
        ["http://a:443", "https://a:80", "https://a:8443", "vscode-webview://a", "http://[::1]"]
    );
    assert_eq!(
        (server.public_url.as_str(), server.allowed_hosts),
        ("http://a:8080", vec!["a:8443".into(), "[::1]".into()])
    );
}

#[test]
fn every_alias_sets_its_key() {
    let fixture = Fixture::new()
        .env("HOST", "127.0.0.2")
        .env("PORT", "9000")
        .env("AUTH_TOKENS", "12345,1e5")
        .env("ALLOWED_ORIGINS", "http://localhost:3000, https://A.example.com:443")
        .env("TLS_CERT", "cert.pem")
        .env("TLS_KEY", "/k/key.pem")
        .env("RATE_LIMIT", "60")
        .env("HEARTBEAT_MS", "5000")
        .env("HTTP_KEEP_ALIVE_TIMEOUT", "65001")
        .env("HTTP_HEADERS_TIMEOUT", "66000")
        .env("HTTP_BODY_TIMEOUT", "31000")
        .env("MAX_CONCURRENT_CONNECTIONS", "50")
        .env("MAX_CONNECTIONS_PER_IP", "5")
        .env("REDIS_URL", "redis://r")
        .env("DATABASE_URL", "postgres://p");
    let loaded = fixture.loaded();
    let settings = loaded.settings;
    assert_eq!(settings.server.listen, ["127.0.0.2:9000".parse().unwrap()]);
    assert_eq!(settings.auth.tokens.iter().map(|token| token.expose()).collect::<Vec<_>>(), ["12345", "1e5"]);
    assert_eq!(settings.server.allowed_origins, ["http://localhost:3000", "https://a.example.com"]);
    assert_eq!(settings.tls.cert, fixture.dir.path().join("cert.pem"));
    assert_eq!(settings.tls.key, Path::new("/k/key.pem"));
    assert_eq!((settings.limits.requests_per_minute, settings.server.heartbeat_ms), (60, 5000));
    assert_eq!(settings.limits.keep_alive_s, 66, "rounded up");
    assert_eq!((settings.limits.headers_timeout_ms, settings.limits.body_timeout_ms), (66_000, 31_000));
    assert_eq!((settings.limits.max_connections, settings.limits.max_connections_per_ip), (50, 5));
    assert_eq!((settings.redis.url.expose(), settings.store.postgres.url.expose()), ("redis://r", "postgres://p"));
    assert_eq!(loaded.origins["limits.keep_alive_s"], Origin::Environment("HTTP_KEEP_ALIVE_TIMEOUT".into()));
}

#[test]
fn a_task_mcp_name_wins_over_its_alias_even_over_a_wrong_one() {
    let loaded = Fixture::new()
        .env("TASK_MCP_SERVER__HEARTBEAT_MS", "700")
        .env("HEARTBEAT_MS", "often")
        .env("TASK_MCP_SERVER__LISTEN", "[::1]:1")
        .env("HOST", "x86_64-conda-linux-gnu")
        .loaded();
    assert_eq!(loaded.settings.server.heartbeat_ms, 700);
    assert_eq!(loaded.settings.server.listen, ["[::1]:1".parse().unwrap()]);
}

#[test]
fn host_or_port_alone_keeps_the_other_half_of_the_layer_below() {
    let listen = |fixture: Fixture| fixture.loaded().settings.server.listen[0].to_string();
    assert_eq!(listen(Fixture::new().env("PORT", "1")), "127.0.0.1:1");
    assert_eq!(listen(Fixture::new().env("HOST", "::1")), "[::1]:8443");
    assert_eq!(listen(Fixture::new().env("HOST", "localhost").env("PORT", "0")), "127.0.0.1:0");
    assert_eq!(listen(Fixture::new().file("server.listen = [\"[::1]:7\"]").env("PORT", "9")), "[::1]:9");
    assert!(Fixture::new().env("PORT", "").problem().contains("PORT): \"\" is not a port"));
    assert!(Fixture::new().env("HOST", "example.com").problem().contains("TASK_MCP_SERVER__LISTEN wins over it"));
}

#[test]
fn an_empty_variable_keeps_what_the_file_says_and_an_empty_argument_does_not() {
    let fixture = Fixture::new().file("auth.tokens = [\"0123456789abcdef\"]").env("TASK_MCP_AUTH__TOKENS", "");
    assert!(fixture.loaded().settings.auth.is_configured());
    assert!(!fixture.set("auth.tokens=").loaded().settings.auth.is_configured());
}

#[test]
fn text_that_looks_like_a_number_stays_text_in_every_layer() {
    for text in ["12345", "1e5", "true", "0x1f"] {
        let by_env = Fixture::new().env("TASK_MCP_ADMIN__TOKEN", text).env("TASK_MCP_AUTH__TOKENS", text).loaded();
        let by_set =
            Fixture::new().set(&format!("admin.token={text}")).set(&format!("auth.tokens=[\"{text}\"]")).loaded();
        for settings in [by_env.settings, by_set.settings] {
            assert_eq!((settings.admin.token.expose(), settings.auth.tokens[0].expose()), (text, text));
        }
    }
}

#[test]
fn the_root_option_wins_and_paths_become_absolute() {
    let mut fixture = Fixture::new().env("TASK_MCP_STORE__ROOT", "elsewhere");
    fixture.sources.root = Some("./".into());
    let loaded = fixture.loaded();
    assert_eq!(loaded.settings.store.root, fixture.dir.path());
    assert_eq!(loaded.origins["store.root"], Origin::Root);
}

#[test]
fn a_snapshot_is_the_same_settings() {
    let settings = Fixture::new().env("AUTH_TOKENS", "0123456789abcdef").loaded().settings;
    let bytes = settings.snapshot().unwrap();
    assert_eq!(Settings::from_snapshot(&bytes).unwrap(), settings);
    assert!(Settings::from_snapshot(&bytes[..bytes.len() - 1]).is_err());
}
