//! What a stream tells of, and what of it has changed.
//!
//! Writes and edits by hand are heard as tags, tools' own words as changes, tasks by their ids. What the bus may have lost is told as
//! if all had changed: a client looks then, and finds what there is.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use actix_web::web::Bytes;
use serde_json::{Value, json};
use task_mcp_mcp::{Filter, SUBSCRIPTION_ID};
use task_mcp_state::{Heard, TASK_TOPIC};
use task_mcp_tools::{Registry, Tag, touched};
use tokio::time::{Instant, sleep_until};

use super::context::{CHANGED, notification};

/// How long news are gathered before they are told: a write has several, and equal ones are told once.
const GATHERED: Duration = Duration::from_millis(50);

/// What a stream tells of.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) filter: Filter,
    /// The URIs of the filter by what their contents depend on.
    uris: HashMap<Tag, Vec<usize>>,
    /// What the list of resources depends on.
    list: Vec<Tag>,
}

/// Something a client is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    Tools,
    Prompts,
    Resources,
    /// The resource of that URI.
    Updated(String),
    /// The task of that id.
    Task(String),
}

/// News that wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    news: BTreeSet<News>,
    due: Option<Instant>,
}

impl Wanted {
    /// What is told for `filter`.
    pub(crate) fn new(filter: Filter, registry: &Registry) -> Self {
        let mut uris: HashMap<Tag, Vec<usize>> = HashMap::new();
        for (index, uri) in filter.subscriptions.iter().enumerate() {
            for tag in registry.tags_of(uri) {
                uris.entry(tag).or_default().push(index);
            }
        }
        let list = if filter.resources { registry.list_tags() } else { Vec::new() };
        Self { filter, uris, list }
    }

    /// Topics of the bus that such news come under.
    pub(crate) const TOPICS: [&str; 2] = [CHANGED, touched::TOPIC];

    /// Adds what follows from something that was heard.
    pub(crate) fn note(&self, heard: &Heard, gathered: &mut Gathered) {
        match heard {
            Heard::Resync => self.all(gathered),
            Heard::Event { topic, payload } => match &**topic {
                CHANGED => self.changed(payload, gathered),
                touched::TOPIC => touched::heard(heard).iter().for_each(|tag| self.touched(tag, gathered)),
                other => {
                    let id = other.strip_prefix(TASK_TOPIC).unwrap_or_default();
                    if self.filter.tasks.iter().any(|known| known == id) {
                        gathered.add(News::Task(id.to_owned()));
                    }
                }
            },
        }
    }

    /// Adds everything: nobody knows what has changed.
    pub(crate) fn all(&self, gathered: &mut Gathered) {
        for payload in ["tools", "prompts", "resources"] {
            self.changed(payload, gathered);
        }
        self.filter.subscriptions.iter().for_each(|uri| gathered.add(News::Updated(uri.clone())));
        self.filter.tasks.iter().for_each(|id| gathered.add(News::Task(id.clone())));
    }

    fn changed(&self, payload: &str, gathered: &mut Gathered) {
        match payload {
            "tools" if self.filter.tools => gathered.add(News::Tools),
            "prompts" if self.filter.prompts => gathered.add(News::Prompts),
            "resources" if self.filter.resources => gathered.add(News::Resources),
            other => {
                if let Some(uri) = other.strip_prefix("resource ")
                    && self.filter.subscriptions.iter().any(|known| known == uri)
                {
                    gathered.add(News::Updated(uri.to_owned()));
                }
            }
        }
    }

    fn touched(&self, tag: &Tag, gathered: &mut Gathered) {
        if self.list.contains(tag) {
            gathered.add(News::Resources);
        }
        for index in self.uris.get(tag).into_iter().flatten() {
            if let Some(uri) = self.filter.subscriptions.get(*index) {
                gathered.add(News::Updated(uri.clone()));
            }
        }
    }
}

impl Gathered {
    fn add(&mut self, news: News) {
        self.news.insert(news);
        self.due.get_or_insert_with(|| Instant::now() + GATHERED);
    }

    /// Returns when the news are to be told; never, while there are none.
    pub(crate) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// The news, to be told now.
    pub(crate) fn take(&mut self) -> BTreeSet<News> {
        self.due = None;
        std::mem::take(&mut self.news)
    }
}

impl News {
    /// The notification; `subscription` is the JSON of its id, where the era has one. Of a task, `task` is what there is to say.
    pub(crate) fn to_message(&self, subscription: Option<&str>, task: Option<Value>) -> Bytes {
        let (method, params) = match self {
            Self::Tools => ("notifications/tools/list_changed", json!({})),
            Self::Prompts => ("notifications/prompts/list_changed", json!({})),
            Self::Resources => ("notifications/resources/list_changed", json!({})),
            Self::Updated(uri) => ("notifications/resources/updated", json!({ "uri": uri })),
            Self::Task(id) => ("notifications/tasks", task.unwrap_or_else(|| json!({ "taskId": id }))),
        };
        match subscription {
            Some(id) => notification(method, &named(&params, id)),
            None => notification(method, &params.to_string()),
        }
    }
}

/// The JSON of `params`, an object, with the stream they are of. Its id stays as it was written, which no parsed value could promise:
/// `-0` is an integer, and half of a surrogate pair is a string.
pub(crate) fn named(params: &Value, id: &str) -> String {
    let fields = params.to_string();
    let fields = fields.strip_prefix('{').unwrap_or_default();
    let comma = if fields == "}" { "" } else { "," };
    format!("{{\"_meta\":{{\"{SUBSCRIPTION_ID}\":{id}}}{comma}{fields}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let subscriptions = vec!["change://a/tasks".to_owned(), "change://b/tasks".to_owned()];
        Wanted {
            filter: Filter {
                tools: true,
                resources: true,
                subscriptions,
                tasks: vec!["t1".into()],
                ..Filter::default()
            },
            uris: HashMap::from([
                (Tag::new("change:a"), vec![0]),
                (Tag::new("change:b"), vec![1]),
                (Tag::new("openspec"), vec![0, 1]),
            ]),
            list: vec![Tag::new("changes"), Tag::new("openspec")],
        }
    }

    fn told(events: &[(&str, &str)]) -> Vec<News> {
        let (wanted, mut gathered) = (wanted(), Gathered::default());
        for (topic, payload) in events {
            wanted.note(&Heard::Event { topic: (*topic).into(), payload: (*payload).into() }, &mut gathered);
        }
        assert_eq!(gathered.due.is_some(), !gathered.news.is_empty());
        gathered.take().into_iter().collect()
    }

    #[test]
    fn only_what_is_wanted_is_told_and_equal_news_once() {
        let updated = |slug: &str| News::Updated(format!("change://{slug}/tasks"));
        assert_eq!(told(&[("touched", "change:a\nchanges"), ("touched", "change:a")]), [News::Resources, updated("a")]);
        assert_eq!(told(&[("touched", "change:c"), ("changed", "prompts"), ("task/t2", ""), ("other", "tools")]), []);
        assert_eq!(
            told(&[("changed", "tools"), ("changed", "resource change://b/tasks")]),
            [News::Tools, updated("b")]
        );
        assert_eq!(told(&[("changed", "resource change://c/tasks")]), []);
        assert_eq!(told(&[("task/t1", "")]), [News::Task("t1".into())]);
        assert_eq!(told(&[("touched", "openspec")]), [News::Resources, updated("a"), updated("b")]);
    }

    #[test]
    fn what_may_have_been_missed_is_told_as_everything() {
        let (wanted, mut gathered) = (wanted(), Gathered::default());
        wanted.note(&Heard::Resync, &mut gathered);
        assert_eq!(gathered.take().len(), 5, "tools, resources, two URIs and a task, but no prompts");
    }

    #[test]
    fn a_message_names_its_stream_where_there_is_one() {
        let with = |id: Option<&str>| {
            serde_json::from_slice::<Value>(&News::Updated("x:y".into()).to_message(id, None)).unwrap()
        };
        let named = with(Some("7"));
        assert_eq!(named["params"], json!({ "uri": "x:y", "_meta": { SUBSCRIPTION_ID: 7 } }));
        assert_eq!(with(None)["params"], json!({ "uri": "x:y" }));
        for id in ["-0", r#""\ud800""#] {
            let message = News::Tools.to_message(Some(id), None);
            let text = String::from_utf8(message.to_vec()).unwrap();
            assert!(text.ends_with(&format!(r#""params":{{"_meta":{{"{SUBSCRIPTION_ID}":{id}}}}}}}"#)), "{text}");
        }
    }
}
