//! The rights that the documents name are enough for all that state does in Redis.
#![allow(clippy::unwrap_used, clippy::panic)]

mod machine;

use std::time::Duration;

use task_mcp_scoreboard::{Quota, Rated};
use task_mcp_state::{Begun, Heard, NewTask, Payer, State, StateError, TaskStatus};
use task_mcp_test_servers::RedisServer;
use tokio::time::timeout;

use self::machine::{machine, settings};

const DOCUMENT: &str = include_str!("../../../docs/state.md");
const HOUR: Duration = Duration::from_secs(3_600);
/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the document says between code marks from `first` on.
fn named(first: &str) -> &'static str {
    let text = &DOCUMENT[DOCUMENT.find(first).unwrap()..];
    text.split('`').next().unwrap()
}

/// A server whose user has these rights alone, with those of the connection from docs/redis.md.
fn server(rights: &str) -> RedisServer {
    let keys = named("~{task-mcp:state}:*");
    RedisServer::builder().user("app", "secret", &format!("resetchannels {keys} {rights} +ping +info")).start()
}

/// Everything that state does, on two machines.
async fn use_all(server: &RedisServer) -> Result<(), Box<dyn std::error::Error>> {
    let settings = settings(&server.url());
    let [(commons, one), (_commons, two)] = [machine(&settings), machine(&settings)];
    let keeper = two.clone();
    tokio::spawn(async move { keeper.keep_house(async |_| {}).await });
    connected(&one).await;
    let mut heard = two.bus().subscribe(&["t"]);
    timeout(PATIENCE, async {
        loop {
            one.bus().publish("t", "x").unwrap();
            if let Ok(Heard::Event { .. }) = timeout(Duration::from_millis(50), heard.next()).await {
                return;
            }
        }
    })
    .await?;
    one.sessions().change("s", HOUR, |session| session.log_level = Some("debug".into())).await?;
    one.sessions().change("s", HOUR, |session| session.log_level = None).await?;
    two.sessions().forget("s").await?;
    one.revocations().revoke("r", HOUR).await?;
    two.revocations().is_revoked("r").await?;
    one.nonces().use_once("n", HOUR).await?;
    let data = serde_json::json!({});
    one.tasks().create("o", NewTask { status: TaskStatus::Working, ttl: HOUR, data }, 9).await?;
    assert_eq!(two.tasks().list("o", "", 9).await?.len(), 1);
    one.events().append("e", "x".into(), HOUR).await?;
    two.events().after("e", 0, 9).await?;
    one.answers().put("a", "x".into(), HOUR).await?;
    assert_eq!(two.answers().wait("a", PATIENCE).await?.unwrap(), "x");
    let Begun::First(ticket) = one.ledger().begin("k", [1; 32]).await? else { panic!("the first") };
    one.ledger().finish(ticket, Some("x".into())).await?;
    assert!(matches!(two.ledger().begin("k", [1; 32]).await?, Begun::Replay(_)));
    // Its budget may be over once; a right that is missing is always.
    let (limits, quota) = (one.rate_limits(&commons), Quota { period_us: 1_000_000, burst: 9 });
    timeout(PATIENCE, async { while limits.check(Payer::Principal(b"p"), quota).await.is_local {} }).await?;
    assert!(matches!(limits.check(Payer::Principal(b"p"), quota).await.rated, Rated::Allowed { .. }));
    Ok(())
}

/// Waits until Redis answers, if only that something is not allowed.
async fn connected(state: &State) {
    let answers = async {
        while let Err(error) = state.sessions().get("s").await {
            if matches!(&error, StateError::Redis(error) if error.code().is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, answers).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_the_document_names_are_enough() {
    let rights = named("+get +getex");
    use_all(&server(rights)).await.unwrap();
}
