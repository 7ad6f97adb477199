//! The keys that seal sessions: made once, kept private, changed without new workers.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::{Control, Server, Tree};

#[test]
fn an_instance_makes_one_key_that_only_it_may_read_and_keeps_it() {
    let tree = Tree::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let start = || Server::build(tree.root()).set("server.workers", 4).set("supervisor.state_dir", state.display());
    let path = state.join("sealing.key");
    let server = start().start();
    let (key, mode) = (fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().permissions().mode());
    assert_eq!((key.trim_end().len(), mode & 0o777), (64, 0o600));
    let left: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("sealing.key.")), "{left:?}");
    let victim = server.kill_worker();
    server.wait_workers(4, &[victim]);
    assert!(!server.stderr().contains(key.trim_end()), "no log has it");
    drop(server);
    drop(start().start());
    assert_eq!(fs::read_to_string(&path).unwrap(), key);
}

#[test]
fn a_key_that_others_may_read_is_refused_with_its_path_and_a_remedy() {
    let tree = Tree::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealing.key");
    let start = || Server::build(tree.root()).set("supervisor.state_dir", folder.path().display());
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(&path, "k".repeat(64)).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let (code, stderr) = start().start_refused();
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains(path.to_str().unwrap()) && stderr.contains("mode 0600"), "{stderr}");
    // Whoever brings keys of their own needs no file.
    drop(start().set("auth.sealing_keys", "k".repeat(32)).start());
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    drop(start().start());
}

#[test]
fn other_keys_are_taken_over_in_place_and_a_file_that_cannot_be_trusted_leaves_those_before_in_force() {
    let tree = Tree::new();
    let key = |letter: &str| format!("auth.sealing_keys = [\"{}\"]\n", letter.repeat(32));
    let server = Server::build(tree.root()).settings(&key("a")).start();
    let file = server.folder().join("state/sealing.key");
    assert!(!file.exists(), "it has keys of its own");
    let mut control = Control::new(&server);
    let before = control.status().pids();
    for settings in [key("b"), String::new()] {
        server.write_settings(&settings);
        assert_eq!(control.order("reload"), (true, "The settings are in force; 0 workers were replaced.".to_owned()));
        assert_eq!(control.status().pids(), before);
    }
    assert!(file.exists());
    server.write_settings(&key("c"));
    assert!(control.order("reload").0);
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    server.write_settings("");
    assert!(control.order("reload").0);
    let told =
        server.stderr().matches("The keys for sessions cannot be taken over; those from before stay in force.").count();
    assert_eq!(told, 2, "each worker says so");
    assert_eq!(control.status().pids(), before);
}
