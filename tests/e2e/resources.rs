//! Resources, prompts and completions over a tree, in both eras, whichever worker is asked.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, time::Duration};

use serde_json::{Value, json};

use crate::support::{Answer, Cluster, Server, Session, Stream, Tree, eventually, modern};

/// A request of one era; each goes over a connection of its own, to whichever worker takes it.
enum Client<'a> {
    Modern(&'a Server),
    Legacy(Session<'a>),
}

impl<'a> Client<'a> {
    fn both(server: &'a Server) -> [Self; 2] {
        [Self::Modern(server), Self::Legacy(Session::open(server, None))]
    }

    fn ask(&self, method: &str, params: Value) -> Answer {
        match self {
            Self::Modern(server) => Answer::new(server.send(&modern(method, params))),
            Self::Legacy(session) => session.call(method, params),
        }
    }

    fn is_modern(&self) -> bool {
        matches!(self, Self::Modern(_))
    }

    /// What is read under a URI: the one text there is.
    fn read(&self, uri: &str) -> String {
        let answer = self.ask("resources/read", json!({"uri": uri}));
        let contents = answer.result()["contents"].as_array().expect("contents");
        assert_eq!((contents.len(), &contents[0]["uri"]), (1, &json!(uri)));
        contents[0]["text"].as_str().unwrap_or_else(|| panic!("no text: {contents:?}")).to_owned()
    }

    /// Whether there is nothing under a URI, told as its era tells it.
    fn lacks(&self, uri: &str) -> bool {
        let answer = self.ask("resources/read", json!({"uri": uri}));
        let Some(code) = answer.error_code() else { return false };
        let (expected, status) = if self.is_modern() { (-32602, 400) } else { (-32002, 200) };
        assert_eq!((code, answer.status), (expected, status), "{uri}: {}", answer.message);
        assert_eq!(answer.message["error"]["data"]["uri"], uri, "{}", answer.message);
        assert!(answer.message["error"]["message"].as_str().is_some_and(|text| text.starts_with("Resource not found")));
        true
    }

    fn call(&self, tool: &str, arguments: Value) {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}));
        assert_eq!(answer.result()["isError"], false, "{tool}: {}", answer.message);
    }
}

/// Every resource in the order in which they are listed, and how many pages it took.
fn listed(client: &Client<'_>) -> (Vec<Value>, usize) {
    let (mut all, mut cursor, mut pages) = (Vec::new(), None::<Value>, 0);
    loop {
        let params = cursor.take().map_or(json!({}), |cursor| json!({"cursor": cursor}));
        let answer = client.ask("resources/list", params);
        let page = answer.result();
        if client.is_modern() {
            assert!(page["ttlMs"].is_u64() && page["cacheScope"].is_string(), "{page}");
        }
        pages += 1;
        all.extend(page["resources"].as_array().expect("a list").iter().cloned());
        match page.get("nextCursor") {
            Some(next) => cursor = Some(next.clone()),
            None => return (all, pages),
        }
    }
}

fn uris(resources: &[Value]) -> Vec<&str> {
    resources.iter().map(|resource| resource["uri"].as_str().expect("a URI")).collect()
}

#[test]
fn everything_is_listed_in_pages_and_can_be_read_over_any_worker() {
    let tree = Tree::new();
    for slug in ["zip-it", "add-login"] {
        tree.add_ready_change(slug);
    }
    tree.write("openspec/changes/add-login/design.md", "# Design\n");
    tree.write("openspec/changes/add-login/specs/area/b c/spec.md", "## ADDED Requirements\n");
    for number in 0..150 {
        tree.write(&format!("openspec/specs/s{number:03}/spec.md"), "# Spec\n");
    }
    let server = Server::build(tree.root()).set("server.workers", 3).start();
    for client in Client::both(&server) {
        let (all, pages) = listed(&client);
        let uris = uris(&all);
        assert_eq!((uris.len(), pages), (1 + 3 + 5 + 151, 2));
        assert_eq!(
            uris[..7],
            [
                "changes://active",
                "change://add-login/proposal",
                "change://add-login/tasks",
                "change://add-login/design",
                "change://add-login/delta/accounts",
                "change://add-login/delta/area/b%20c",
                "change://zip-it/proposal",
            ]
        );
        assert_eq!(uris.iter().collect::<BTreeSet<_>>().len(), uris.len(), "each once");
        assert_eq!(listed(&client).0, all, "in the same order by every worker");
        for resource in all.iter().take(12) {
            let uri = resource["uri"].as_str().unwrap();
            let text = client.read(uri);
            assert!(resource["size"].is_null() || resource["size"] == text.len(), "{resource}");
            assert!(resource["name"].is_string() && resource["title"].is_string(), "{resource}");
        }
        assert_eq!(client.read("change://add-login/design"), "# Design\n");
        let page: Value = serde_json::from_str(&client.read("changes://active?pageSize=1")).expect("JSON");
        assert_eq!((&page["total"], page["items"].as_array().map(Vec::len)), (&json!(2), Some(1)));
        for cursor in ["x", "0.x", "9.", "-1."] {
            let refused = client.ask("resources/list", json!({"cursor": cursor}));
            assert_eq!(refused.error_code(), Some(-32602), "{cursor}");
        }
        let templates = client.ask("resources/templates/list", json!({}));
        let templates = templates.result()["resourceTemplates"].as_array().expect("a list").clone();
        let forms: Vec<&str> = templates.iter().filter_map(|template| template["uriTemplate"].as_str()).collect();
        assert_eq!(
            forms,
            [
                "changes://active{?page,pageSize}",
                "change://{slug}/proposal",
                "change://{slug}/tasks",
                "change://{slug}/design",
                "change://{slug}/delta/{capability}",
                "spec://{capability}",
            ]
        );
    }
}

#[test]
fn what_is_no_resource_is_told_so_and_nothing_outside_is_read() {
    let tree = Tree::new();
    tree.add_ready_change("add-login");
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("tasks.md"), "SECRET").expect("writable");
    fs::write(outside.path().join("spec.md"), "SECRET").expect("writable");
    symlink(outside.path(), tree.path("openspec/changes/linked-dir")).expect("a link");
    symlink(outside.path(), tree.path("openspec/specs/linked")).expect("a link");
    tree.write("secret/spec.md", "SECRET");
    let server = Server::build(tree.root()).start();
    for client in Client::both(&server) {
        for uri in [
            "change://nothing-here/tasks",
            "change://add-login/design",
            "change://add-login/delta/other",
            "change://add-login/notes",
            "change://add-login/tasks?x=1",
            "change://add-login/delta/../../../secret",
            "change://add-login/delta/..%2f..%2f..%2f..%2fsecret",
            "change://add-login/delta/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret",
            "change://..%2f..%2fsecret/tasks",
            "change://add-login/delta/accounts%00",
            "change://add-login/delta/%ff",
            "change://add-login/delta/%c0%ae%c0%ae",
            "change://add-login/delta/a%",
            "spec://../../secret",
            "spec://%2Fetc",
            "spec://.",
            "changes://active?page=0",
            "changes://active?page=x",
            "changes://archived",
            "file:///etc/passwd",
            "http://127.0.0.1/",
            "nonsense",
            "",
        ] {
            assert!(client.lacks(uri), "{uri}");
        }
        for uri in ["change://linked-dir/tasks", "spec://linked"] {
            let answer = client.ask("resources/read", json!({"uri": uri}));
            assert!(client.lacks(uri), "{uri}: {}", answer.message);
            assert_eq!(answer.message["error"]["data"]["reason"]["code"], "EPATH_ESCAPE", "{uri}");
            assert!(!answer.response.text().contains("SECRET"), "{uri}");
        }
    }
}

#[test]
fn an_edit_by_hand_is_read_within_the_stated_bound() {
    let tree = Tree::new();
    tree.add_ready_change("add-login");
    let server = Server::build(tree.root()).set("server.workers", 3).start();
    let [client, _] = Client::both(&server);
    for round in 0..5 {
        assert!(!client.read("change://add-login/tasks").contains(&format!("round {round}")));
        tree.write("openspec/changes/add-login/tasks.md", &format!("# Tasks\n\n- [x] 1.1 round {round}\n"));
        eventually(Duration::from_secs(1), "the edit is read", || {
            client.read("change://add-login/tasks").contains(&format!("round {round}")).then_some(())
        });
        assert!(client.lacks("change://add-login/design"));
        tree.write("openspec/changes/add-login/design.md", "# Design\n");
        eventually(Duration::from_secs(1), "the new document is read", || {
            (!client.lacks("change://add-login/design")).then_some(())
        });
        fs::rename(tree.path("openspec/changes/add-login/design.md"), tree.path("design.md")).expect("ours");
        eventually(Duration::from_secs(1), "it is gone", || client.lacks("change://add-login/design").then_some(()));
    }
    // A folder that is moved away takes its documents along, and the system tells of the folder alone.
    fs::rename(tree.path("openspec/changes/add-login"), tree.path("away")).expect("ours");
    eventually(Duration::from_secs(1), "the change is gone", || client.lacks("change://add-login/tasks").then_some(()));
}

#[test]
fn what_a_tool_wrote_is_read_at_once_by_every_worker() {
    let tree = Tree::new();
    // The watcher sees it too, some 20 ms later: the reads come sooner.
    let server = Server::build(tree.root()).set("server.workers", 3).start();
    let [client, _] = Client::both(&server);
    for round in 0..12 {
        let slug = format!("round-{round}");
        let (tasks, spec) = (format!("change://{slug}/tasks"), "spec://accounts");
        assert!(client.lacks(&tasks) && client.lacks(&tasks));
        client.call("change.open", json!({"slug": slug, "title": "A title"}));
        assert!(client.read(&tasks).contains("A title"), "opened");
        fs::remove_dir_all(tree.path(&format!("openspec/changes/{slug}/specs"))).expect("ours");
        tree.make_ready(&slug);
        for _ in 0..4 {
            assert!(!client.read(spec).contains(&slug), "not merged yet");
        }
        client.call("change.archive", json!({"slug": slug}));
        assert!(client.read(spec).contains(&slug), "merged");
        assert!(client.lacks(&tasks), "archived");
    }
}

#[test]
fn prompts_bring_the_documents_of_a_change_along() {
    let tree = Tree::new();
    tree.add_ready_change("add-login");
    let server = Server::build(tree.root()).start();
    for client in Client::both(&server) {
        let names = client.ask("prompts/list", json!({}));
        let prompts = names.result()["prompts"].as_array().expect("a list").clone();
        let names: Vec<&str> = prompts.iter().filter_map(|prompt| prompt["name"].as_str()).collect();
        assert_eq!(names, ["propose-change", "implement-change", "review-change"]);
        assert!(prompts.iter().all(|prompt| prompt["description"].is_string()));
        let propose = json!({"name": "propose-change", "arguments": {"title": "Add a thing", "context": "CONTEXT"}});
        let proposed = client.ask("prompts/get", propose);
        let text = proposed.result()["messages"][0]["content"]["text"].as_str().expect("a text").to_owned();
        for said in ["Add a thing", "CONTEXT", "`add-login`", "spec://accounts", "change.open"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        for (name, last) in
            [("implement-change", "change://add-login/delta/accounts"), ("review-change", "spec://accounts")]
        {
            let got = client.ask("prompts/get", json!({"name": name, "arguments": {"slug": "add-login"}}));
            let messages = got.result()["messages"].as_array().expect("messages").clone();
            assert!(messages[0]["content"]["text"].as_str().is_some_and(|text| text.contains("`add-login`")));
            let resource = &messages.last().expect("messages")["content"];
            assert_eq!((&resource["type"], &resource["resource"]["uri"]), (&json!("resource"), &json!(last)));
        }
        for (params, said) in [
            (json!({"name": "no-such-prompt"}), "prompts/list"),
            (json!({"name": "implement-change"}), "`slug`"),
            (json!({"name": "implement-change", "arguments": {"slug": "add-logn"}}), "Did you mean: add-login?"),
            (json!({"name": "review-change", "arguments": {"slug": "../x"}}), "`slug`"),
            (json!({"name": "review-change", "arguments": {"slug": "add-login", "other": "x"}}), "`other`"),
            (json!({"name": "propose-change", "arguments": {"title": ""}}), "`title`"),
        ] {
            let refused = client.ask("prompts/get", params.clone());
            assert_eq!(refused.error_code(), Some(-32602), "{params}");
            let message = refused.message["error"]["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains(said), "{params}: {message}");
        }
    }
}

#[test]
fn slugs_and_capabilities_are_completed() {
    let tree = Tree::new();
    for slug in ["add-login", "re-login", "login-twice"] {
        tree.add_ready_change(slug);
    }
    tree.write("openspec/changes/re-login/specs/area/sessions/spec.md", "## ADDED Requirements\n");
    for number in 0..120 {
        tree.write(&format!("openspec/specs/many/s{number:03}/spec.md"), "# Spec\n");
    }
    let server = Server::build(tree.root()).start();
    for client in Client::both(&server) {
        let complete = |reference: Value, name: &str, value: &str, context: Value| {
            let argument = json!({"name": name, "value": value});
            client.ask("completion/complete", json!({"ref": reference, "argument": argument, "context": context}))
        };
        let values = |reference: Value, name: &str, value: &str, context: Value| {
            let answer = complete(reference, name, value, context);
            let found = answer.result()["completion"].clone();
            let values = found["values"].as_array().expect("values").clone();
            let values: Vec<String> = values.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
            (values, found["total"].as_u64().expect("a total"), found["hasMore"] == true)
        };
        let prompt = |name: &str| json!({"type": "ref/prompt", "name": name});
        let template = |uri: &str| json!({"type": "ref/resource", "uri": uri});
        let (slugs, total, more) = values(prompt("implement-change"), "slug", "login", json!({}));
        assert_eq!((slugs[0].as_str(), total, more), ("login-twice", 3, false), "what begins like it comes first");
        assert_eq!(values(template("change://{slug}/tasks"), "slug", "add", json!({})).0, ["add-login"]);
        let delta = "change://{slug}/delta/{capability}";
        let with = |slug: &str| json!({"arguments": {"slug": slug}});
        assert_eq!(values(template(delta), "capability", "", with("re-login")).0, ["accounts", "area/sessions"]);
        assert_eq!(values(template(delta), "capability", "", with("add-login")).0, ["accounts"]);
        assert!(values(template(delta), "capability", "", with("nothing-here")).0.is_empty());
        let (specs, total, more) = values(template("spec://{capability}"), "capability", "many", json!({}));
        assert_eq!((specs.len(), total, more), (100, 120, true));
        assert!(values(prompt("propose-change"), "title", "x", json!({})).0.is_empty());
        for (reference, name, context) in [
            (prompt("no-such-prompt"), "slug", json!({})),
            (prompt("implement-change"), "other", json!({})),
            (template("file:///{path}"), "path", json!({})),
            (template(delta), "other", json!({})),
            (json!({"type": "ref/tool", "name": "x"}), "slug", json!({})),
            (json!("x"), "slug", json!({})),
            (prompt("implement-change"), "slug", json!("x")),
            (prompt("implement-change"), "slug", json!({"arguments": {"a": 1}})),
        ] {
            let refused = complete(reference.clone(), name, "", context);
            assert_eq!(refused.error_code(), Some(-32602), "{reference} {name}");
        }
    }
}

#[test]
fn clients_hear_of_documents_that_came_or_changed_and_of_no_others() {
    let tree = Tree::new();
    for slug in ["add-login", "other-change"] {
        tree.add_ready_change(slug);
    }
    let server = Server::build(tree.root()).start();
    let watched = ["change://add-login/tasks", "change://other-change/proposal", "spec://accounts"];
    let filter = json!({"resourcesListChanged": true, "resourceSubscriptions": watched});
    let mut stream = Stream::open(server.address(), &modern("subscriptions/listen", json!({"notifications": filter})));
    stream.messages(1);
    let list = "notifications/resources/list_changed";
    // Saved as editors do it: by a file that takes the place of the one before.
    let save = |path: &str, text: &str| {
        tree.write("saved", text);
        fs::rename(tree.path("saved"), tree.path(path)).expect("ours");
    };
    save("openspec/changes/other-change/tasks.md", "- [ ] 1.1 ticked elsewhere\n");
    save("openspec/changes/add-login/tasks.md", "- [x] 1.1 ticked\n");
    stream.read_until(watched[0], 2); // the second is of the acknowledgement
    for silent in [list, "\"uri\":\"change://other-change", "\"uri\":\"spec:"] {
        assert!(!stream.text().contains(silent), "{silent}: {}", stream.text());
    }
    tree.write("openspec/changes/add-login/design.md", "# Design\n");
    stream.read_until(list, 1);
    assert!(!stream.text().contains("\"uri\":\"spec:"), "{}", stream.text());
    Client::Modern(&server).call("change.archive", json!({"slug": "add-login"}));
    stream.read_until("\"uri\":\"spec://accounts\"", 1);
    stream.read_until(list, 2);
    assert!(!stream.text().contains("\"uri\":\"change://other-change"), "{}", stream.text());
}

#[test]
fn what_another_instance_wrote_is_read_as_soon_as_it_is_told() {
    const ROUNDS: usize = 20;
    let cluster = Cluster::start(5);
    let [here, there] = cluster.servers() else { panic!("two instances") };
    let slugs: Vec<String> = (0..ROUNDS).map(|round| format!("add-thing-{round:02}")).collect();
    let uris: Vec<String> = slugs.iter().map(|slug| format!("change://{slug}/proposal")).collect();
    let filter = json!({"notifications": {"resourceSubscriptions": uris}});
    let mut stream = Stream::open(here.address(), &modern("subscriptions/listen", filter));
    stream.messages(1);
    let [here, there] = [here, there].map(Client::Modern);
    for (slug, uri) in slugs.iter().zip(&uris) {
        let active = || here.read("changes://active?pageSize=200");
        assert!(!active().contains(slug.as_str()) && here.lacks(uri), "{slug}: nobody has written it");
        there.call("change.open", json!({"slug": slug, "title": "T", "rationale": "because", "template": "chore"}));
        // The first is of the acknowledgement.
        stream.read_until(uri, 2);
        assert!(active().contains(slug.as_str()), "{slug} is in the list");
        assert!(here.read(uri).contains("because"), "{slug} is read");
        let argument = json!({"name": "slug", "value": slug});
        let reference = json!({"type": "ref/resource", "uri": "change://{slug}/proposal"});
        let completed = here.ask("completion/complete", json!({"ref": reference, "argument": argument}));
        assert_eq!(completed.result()["completion"]["values"], json!([slug]), "{slug} is completed");
    }
}
