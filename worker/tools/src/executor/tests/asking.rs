use std::sync::Mutex;

use task_mcp_mcp::{
    Answers, CallContext, Capability, Change, ClientCapabilities, ContextFuture, LogLevel, NoChunks, Questions,
    Unanswered,
};

use super::*;

/// A client that answers once it is given an answer, and counts what it is told.
#[derive(Default)]
struct Client {
    answer: Option<&'static str>,
    /// It answers "later" when this turns true.
    later: watch::Sender<bool>,
    asked: AtomicUsize,
    undone: AtomicUsize,
    about: Mutex<String>,
}

impl CallContext for Client {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities::NONE.with(Capability::Elicitation)
    }

    fn progress(&self, _: f64, _: Option<f64>, _: Option<&str>) {}

    fn log(&self, _: LogLevel, _: Option<&str>, _: &Value) {}

    fn ask<'a>(&'a self, about: &'a str, questions: &'a Questions) -> ContextFuture<'a, Result<Answers, Unanswered>> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        *self.about.lock().unwrap() = about.to_owned();
        Box::pin(async move {
            match self.answer {
                Some("bad") => Err(Unanswered::Invalid("no answer".to_owned())),
                Some("later") => {
                    self.later.subscribe().wait_for(|now| *now).await.unwrap();
                    Ok(Answers::from([("key".to_owned(), json!("late"))]))
                }
                Some("slow") => {
                    tokio::time::sleep(LIMITS.deadline * 5).await;
                    Ok(Answers::from([("key".to_owned(), json!("slow"))]))
                }
                Some(answer) => Ok(Answers::from([("key".to_owned(), json!(answer))])),
                None => Err(Unanswered::NotYet { about: about.to_owned(), questions: questions.clone() }),
            }
        })
    }

    fn undone(&self) -> ContextFuture<'_, ()> {
        self.undone.fetch_add(1, Ordering::AcqRel);
        Box::pin(std::future::ready(()))
    }

    fn chunk<'a>(&'a self, _: &'a str) -> ContextFuture<'a, Result<(), NoChunks>> {
        Box::pin(async { Err(NoChunks::Unsupported) })
    }

    fn notify(&self, _: &Change) {}

    fn cancelled(&self) -> ContextFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

fn asking(client: &Arc<Client>) -> Call {
    Call::new(Principal::anonymous()).with_context(Arc::clone(client) as _)
}

fn answering(answer: Option<&'static str>) -> Arc<Client> {
    Arc::new(Client { answer, ..Client::default() })
}

const ASK: &str = r#"{"do":"ask"}"#;

#[tokio::test]
async fn a_write_that_only_asks_leaves_no_trace_and_is_no_error() {
    let world = World::new();
    let before = world.commons.epochs().current("probe");
    let client = answering(None);
    let key = crate::IdempotencyKey::parse("one").unwrap();
    let call = asking(&client).with_idempotency(Some(key.clone()));
    let stop = world.executor.execute(&call, "probe.write", ASK).await.outcome.unwrap_err();
    assert!(matches!(&stop, Stop::NeedsInput { about, questions } if about == "probe" && !questions.is_empty()));
    assert_eq!(world.commons.epochs().current("probe"), before, "nothing was bumped");
    assert_eq!(client.undone.load(Ordering::Acquire), 1);
    // Neither is an answer that does not count; the key stays free for the one that does.
    let client = answering(Some("bad"));
    let call = asking(&client).with_idempotency(Some(key.clone()));
    let stop = world.executor.execute(&call, "probe.write", ASK).await.outcome.unwrap_err();
    assert!(matches!(stop, Stop::Protocol(_)), "{stop:?}");
    let client = answering(Some("yes"));
    let call = asking(&client).with_idempotency(Some(key));
    let answer = world.executor.execute(&call, "probe.write", ASK).await;
    assert!(answer.outcome.is_ok() && !answer.replayed, "{answer:?}");
    assert_eq!(client.undone.load(Ordering::Acquire), 0, "it was done");
    assert!(world.commons.epochs().current("probe") > before);
    let again = world.executor.execute(&call, "probe.write", ASK).await;
    assert!(again.replayed && client.asked.load(Ordering::Acquire) == 1, "a repeat asks nobody");
}

#[tokio::test]
async fn a_read_that_is_kept_asks_each_caller_for_itself() {
    let world = World::new();
    let text = |outcome: Result<CallResult, Stop>| outcome.unwrap().structured.unwrap();
    for answer in ["a", "b"] {
        let client = answering(Some(answer));
        let outcome = world.executor.execute(&asking(&client), "probe.kept", ASK).await.outcome;
        assert_eq!(&text(outcome)[..], json!({ "answer": answer }).to_string().as_bytes());
        assert_eq!(client.asked.load(Ordering::Acquire), 1);
    }
    let stop = world.executor.execute(&asking(&answering(None)), "probe.kept", ASK).await.outcome.unwrap_err();
    assert!(matches!(&stop, Stop::NeedsInput { questions, .. } if !questions.is_empty()), "{stop:?}");
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_its_client_is_asked_is_not_the_reads() {
    let world = World::new();
    for tool in ["probe.read", "probe.kept"] {
        let outcome = world.executor.execute(&asking(&answering(Some("slow"))), tool, ASK).await.outcome;
        assert!(outcome.is_ok(), "{tool}: {outcome:?}");
    }
}

/// As many calls as may run at the same time, all of which wait for their client.
async fn all_asking(world: &World, tool: &'static str, client: &Arc<Client>) -> Vec<tokio::task::JoinHandle<Answer>> {
    let calls: Vec<_> = (0..LIMITS.concurrency)
        .map(|_| {
            let (executor, call) = (world.executor.clone(), asking(client));
            tokio::spawn(async move { executor.execute(&call, tool, ASK).await })
        })
        .collect();
    while client.asked.load(Ordering::Acquire) < LIMITS.concurrency {
        tokio::task::yield_now().await;
    }
    calls
}

async fn full(world: &World, tool: &str) -> Vec<Turn> {
    let turns: Vec<Turn> = (0..LIMITS.concurrency).map(|_| world.executor.turn(tool).unwrap()).collect();
    for turn in &turns {
        tokio::time::timeout(LIMITS.deadline * 9, turn.take()).await.expect("there is a place");
    }
    turns
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_client_leaves_its_place_to_others_and_takes_one_again() {
    for tool in ["probe.read", "probe.write"] {
        let (world, client) = (World::new(), answering(Some("later")));
        let calls = all_asking(&world, tool, &client).await;
        let others = full(&world, tool).await;
        client.later.send_replace(true);
        tokio::time::sleep(LIMITS.deadline / 2).await;
        assert!(calls.iter().all(|call| !call.is_finished()), "{tool}: all places are taken");
        drop(others);
        for call in calls {
            let outcome = call.await.unwrap().outcome;
            assert!(outcome.is_ok(), "{tool}: {outcome:?}");
        }
        full(&world, tool).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_no_place_again_ends_in_time_and_has_done_nothing() {
    let (world, client) = (World::new(), answering(Some("later")));
    let calls = all_asking(&world, "probe.write", &client).await;
    let _others = full(&world, "probe.write").await;
    client.later.send_replace(true);
    for call in calls {
        let error = call.await.unwrap().outcome.unwrap_err().into_error();
        assert_eq!(error.code, crate::code::UNANSWERABLE, "{error:?}");
        assert!(error.message.contains("tools.concurrency"), "{error:?}");
    }
    assert_eq!(client.undone.load(Ordering::Acquire), LIMITS.concurrency);
    assert_eq!(world.runs.seen(), (LIMITS.concurrency, 0));
}
