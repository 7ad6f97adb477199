//! The unit is valid, hardened, started and stopped.

use std::{fs, thread, time::Duration};

use serde_json::json;
use task_mcp_bench::fetch;

use crate::{
    machine::{Machine, address},
    support::{eventually, modern_call},
};

/// Slot sockets, admin socket, commons, scoreboard.
const KEPT: &str = "5";

#[test]
fn the_service_starts_as_it_is_installed_hardened_and_stops_clean() {
    let Some(machine) = Machine::boot() else { return };
    let unit = "/usr/lib/systemd/system/task-mcp.service";
    let (stdout, stderr, code) = machine.run(&["systemd-analyze", "verify", unit]);
    assert_eq!((stdout.trim(), stderr.trim(), code), ("", "", 0));
    // In tenths; fails if the exposure is higher.
    machine.ok(&["systemd-analyze", "security", "--no-pager", "--threshold=15", "task-mcp.service"]);
    machine.ok(&["systemctl", "start", "task-mcp"]);
    assert!(machine.call().contains("\"items\""), "the first settings name an empty tree");
    let status = machine.property("StatusText");
    assert!(status.starts_with("Serving: ") && status.ends_with(" workers live"), "{status}");

    let uid = machine.ok(&["id", "-u", "task-mcp"]).trim().to_owned();
    let processes = machine.processes();
    assert!(processes.len() >= 3, "supervisor, admin process, a worker or more");
    for process in processes {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
        let has = |line: &str| assert!(status.lines().any(|one| one == line), "{line} is not in\n{status}");
        has("NoNewPrivs:\t1");
        has("Seccomp:\t2");
        has("CapBnd:\t0000000000000000");
        has(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"));
    }
    for (path, wanted) in [
        ("/run/task-mcp", "700 task-mcp"),
        ("/var/lib/task-mcp", "700 task-mcp"),
        ("/etc/task-mcp/task-mcp.toml", "640 root"),
        ("/etc/task-mcp/task-mcp.env", "600 root"),
        ("/srv/task-mcp/openspec", "2750 task-mcp"),
    ] {
        assert_eq!(machine.ok(&["stat", "-c", "%a %U", path]).trim(), wanted, "{path}");
    }
    // The tree can be written, and what is written has the group of the tree.
    let open = modern_call("change.open", json!({"slug": "first", "template": "feature", "title": "First"}));
    let opened = machine.within(|| fetch(address(), &open, Duration::from_secs(15))).unwrap().text();
    assert!(machine.call().contains("\"first\""), "{opened}");
    let proposal = "/srv/task-mcp/openspec/changes/first/proposal.md";
    assert_eq!(machine.ok(&["stat", "-c", "%a %U %G", proposal]).trim(), "640 task-mcp task-mcp");
    // Root asks through the control socket of another user, and in another user namespace.
    let table = machine.ok(&["task-mcp", "ctl", "--socket", "/run/task-mcp/control.sock", "status"]);
    assert!(table.contains("is serving on 127.0.0.1:8443"), "{table}");

    machine.ok(&["systemctl", "stop", "task-mcp"]);
    assert_eq!((machine.property("Result"), machine.property("ExecMainStatus")), ("success".into(), "0".into()));
    assert_eq!((machine.processes().len(), machine.property("NFileDescriptorStore")), (0, "0".into()));
    let journal = machine.journal();
    for line in ["The instance is ready.", "The instance drains.", "Task MCP"] {
        assert!(journal.contains(line), "{line} is not in\n{journal}");
    }
}

#[test]
fn a_stop_that_is_forced_at_its_deadline_is_a_success_with_75() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("[supervisor]\ndrain_timeout_s = 2\n");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    assert_eq!(machine.property("NFileDescriptorStore"), KEPT);
    let slow = modern_call("test_sleep", json!({"ms": 25_000}));
    thread::scope(|scope| {
        let call = scope.spawn(|| machine.within(|| fetch(address(), &slow, Duration::from_secs(20))));
        let in_flight =
            || machine.ok(&["task-mcp", "ctl", "--socket", "/run/task-mcp/control.sock", "--json", "status"]);
        eventually(Duration::from_secs(10), "a call in flight", || {
            in_flight().contains("\"in_flight\": 1").then_some(())
        });
        machine.ok(&["systemctl", "stop", "task-mcp"]);
        let answer = call.join().unwrap().expect("a call that is cut is told so");
        assert!(answer.text().contains("SERVER_SHUTTING_DOWN"), "{}", answer.text());
    });
    assert_eq!((machine.property("Result"), machine.property("ExecMainStatus")), ("success".into(), "75".into()));
    assert_eq!((machine.property("ActiveState"), machine.processes().len()), ("inactive".into(), 0));
}

#[test]
fn bad_settings_are_not_tried_again() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("nonsense = 1\n");
    assert_ne!(machine.run(&["systemctl", "start", "task-mcp"]).2, 0);
    assert_eq!((machine.property("ActiveState"), machine.property("ExecMainStatus")), ("failed".into(), "78".into()));
    assert_eq!(machine.property("NRestarts"), "0");
    assert!(machine.journal().contains("server.nonsense"), "{}", machine.journal());
}

/// The drop-in of docs/systemd.md with this line.
fn documented(line: &str) -> String {
    let document = fs::read_to_string(format!("{}/docs/systemd.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let blocks = document.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.lines().any(|one| one == line)).collect()
}

#[test]
fn a_tree_in_a_home_directory_and_a_low_port_take_the_documented_drop_ins() {
    let Some(machine) = Machine::boot() else { return };
    let shop = "/home/alice/shop/openspec";
    machine.ok(&["mkdir", "-p", shop]);
    machine.ok(&["chown", "-R", "task-mcp:task-mcp", shop]);
    let settings = "[store]\nroot = \"/home/alice/shop\"\n[server]\nworkers = 2\nlisten = [\"127.0.0.1:80\"]\n";
    machine.write(settings, "/etc/task-mcp/task-mcp.toml");
    assert_ne!(machine.run(&["systemctl", "start", "task-mcp"]).2, 0, "the home directory is not there");
    let paths = documented("ReadWritePaths=/srv/shop/openspec").replace("/srv/shop", "/home/alice/shop");
    machine.drop_in(&format!("{paths}{}", documented("ProtectHome=tmpfs")));
    assert_ne!(machine.run(&["systemctl", "start", "task-mcp"]).2, 0, "the port needs a capability");
    assert!(machine.journal().contains("CAP_NET_BIND_SERVICE"), "{}", machine.journal());
    let port = documented("CapabilityBoundingSet=CAP_NET_BIND_SERVICE");
    machine.drop_in(&format!("{paths}{}{port}", documented("ProtectHome=tmpfs")));
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let open = modern_call("change.open", json!({"slug": "first", "template": "feature", "title": "First"}));
    let opened = machine.within(|| fetch("127.0.0.1:80".parse().unwrap(), &open, Duration::from_secs(15)));
    machine.ok(&["test", "-f", &format!("{shop}/changes/first/proposal.md")]);
    drop(opened.unwrap());
}
