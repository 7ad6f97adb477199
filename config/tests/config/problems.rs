use crate::fixture::Fixture;

#[test]
fn everything_wrong_is_said_at_once_with_place_limit_and_remedy() {
    let fixture = Fixture::new()
        .file("[server]\nworkerz = 4\nheartbeat_ms = 10\nworkers = \"2\"\n[telemetry]\nlog_level = \"loud\"\n")
        .env("TASK_MCP_TOOLS__QUEUE", "many")
        .env("TASK_MCP_TOOLS__QUEU", "1")
        .env("HTTP_BODY_TIMEOUT", "0")
        .set("server.listen=localhost:80")
        .set("limits")
        .set("store.root=nowhere")
        .set("supervisor.lame_duck_ms=60000");
    let error = task_mcp_config::load(&fixture.sources).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    let wanted = [
        "11 problems in the settings:",
        "  server.workerz (task-mcp.toml, line 2): unknown key; did you mean server.workers?",
        "  server.workers (task-mcp.toml, line 4): is of type string, not a whole number; write it without quotes, as in 30",
        "  server.heartbeat_ms (task-mcp.toml, line 3): 10 is too small; 50 to 600000 milliseconds are allowed; set a value",
        "  telemetry.log_level (task-mcp.toml, line 6): \"loud\" is not a choice here; the choices are error, warn, info, debug, trace;",
        "  tools.queue (environment variable TASK_MCP_TOOLS__QUEUE): \"many\" is not a whole number",
        "  tools.queu (environment variable TASK_MCP_TOOLS__QUEU): unknown key; did you mean TASK_MCP_TOOLS__QUEUE?",
        "  limits.body_timeout_ms (environment variable HTTP_BODY_TIMEOUT): 0 is too small; 10 to 3600000 milliseconds",
        "  limits (--set): has no `=`; write --set section.key=value",
        "  server.listen (--set): entry 1 \"localhost:80\" is not an IP address and port; write it like 127.0.0.1:8443",
        "  supervisor.lame_duck_ms (--set): a leave of 60000 ms leaves no time to drain within 30 s; lower",
        "  store.root (--set): cannot open ",
    ];
    assert_eq!(lines.len(), wanted.len(), "{error}");
    for (line, start) in lines.iter().zip(wanted) {
        assert!(line.starts_with(start), "{line}\n{start}");
    }
}

#[test]
fn a_syntax_error_does_not_hide_the_environment() {
    let problems = Fixture::new().file("[server\nworkers = 1").env("TASK_MCP_SERVER__WORKERS", "x").problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].to_string().starts_with("task-mcp.toml, line 1: column 8: not valid TOML: "),
        "{}",
        problems[0]
    );
    assert_eq!(problems[1].key, "server.workers");
}

#[test]
fn a_wrong_value_does_not_count_as_a_missing_one() {
    let fixture = Fixture::new().set("server.listen=0.0.0.0:1").set("auth.tokens=[1]");
    assert!(fixture.problem().starts_with("auth.tokens (--set): entry 1 is of type integer, not a string"));
}

#[test]
fn a_file_that_is_no_settings_file_is_refused_shortly() {
    let fixture = Fixture::new();
    std::fs::write(fixture.dir.path().join("task-mcp.toml"), [0xff; 100]).unwrap();
    assert!(fixture.problem().contains("not UTF-8"));
    std::fs::write(fixture.dir.path().join("task-mcp.toml"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(fixture.problem().contains("at most 1048576 bytes"));
}

#[test]
fn numbers_in_a_file_may_use_all_of_toml() {
    let settings = Fixture::new().file("limits.body_bytes = 0x1_0000\nlimits.response_bytes = 1_000").loaded().settings;
    assert_eq!((settings.limits.body_bytes, settings.limits.response_bytes), (65_536, 1000));
    let fixture = Fixture::new().file("server.workers = 99999999999999999999");
    assert!(fixture.problem().contains("is too large"));
}

#[test]
fn a_connection_url_of_another_kind_is_refused_by_scheme_and_shape() {
    for (set, what) in [
        (
            "redis.url=localhost:6379",
            "does not begin with redis://, rediss://, unix:// or redis+unix://; write it like",
        ),
        ("redis.url=redis://h:99999", "has no sound host and port after the scheme; write it like redis://"),
        ("redis.url=redis://h/zero", "names a database that is not a number; write it like redis://"),
        ("redis.url=unix:///", "does not name the absolute path of a socket; write it like"),
        (
            "store.postgres.url=mysql://h/d",
            "does not begin with postgres:// or postgresql://; write it like postgres://",
        ),
        ("store.postgres.url=postgres://", "has no sound host and port after the scheme; write it like postgres://"),
    ] {
        let said = Fixture::new().set(set).problem();
        let (key, _) = set.split_once('=').unwrap();
        assert!(said.starts_with(&format!("{key} (--set): {what}")), "{said}");
    }
    assert!(Fixture::new().env("REDIS_URL", "redis://h\n").problem().contains("holds white space"));
}

#[test]
fn a_file_with_thousands_of_problems_is_told_shortly() {
    let lines: Vec<_> = (0..5000).map(|number| format!("sever.workers{number:04} = 1")).collect();
    let fixture = Fixture::new().file(&lines.join("\n"));
    let said = task_mcp_config::load(&fixture.sources).unwrap_err().to_string();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[51]), (52, "5000 problems in the settings:", "  and 4950 more"));
    assert!(lines[50].starts_with("  sever.workers0049 (task-mcp.toml, line 50): unknown key; did you mean"), "{said}");
}
