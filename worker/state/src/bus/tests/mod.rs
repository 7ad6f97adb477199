//! The bus within one process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod machines;

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;
use crate::testing::metrics;

fn event(topic: &str, payload: &str) -> Heard {
    Heard::Event { topic: topic.into(), payload: payload.into() }
}

#[tokio::test]
async fn who_subscribed_hears_its_topics_in_order_and_no_others() {
    let bus = Bus::new(None, metrics());
    let mut tasks = bus.subscribe(&["task/", "answer/"]);
    let mut all = bus.subscribe(&[""]);
    for (topic, payload) in [("task/1", "a"), ("tas", "b"), ("answer/", "c")] {
        bus.publish(topic, payload).unwrap();
    }
    assert_eq!([tasks.next().await, tasks.next().await], [event("task/1", "a"), event("answer/", "c")]);
    assert_eq!([all.next().await, all.next().await], [event("task/1", "a"), event("tas", "b")]);
    let late = bus.subscribe(&[""]);
    drop((tasks, late));
    bus.publish("task/2", "d").unwrap();
    assert_eq!([all.next().await, all.next().await], [event("answer/", "c"), event("task/2", "d")]);
}

#[tokio::test]
async fn who_is_too_slow_is_told_once_to_look_anew() {
    let bus = Bus::new(None, metrics());
    let mut slow = bus.subscribe(&[""]);
    let mut fast = bus.subscribe(&[""]);
    for number in 0..=subscription::QUEUE {
        bus.publish("t", &number.to_string()).unwrap();
        assert_eq!(fast.next().await, event("t", &number.to_string()));
    }
    bus.publish("t", "after").unwrap();
    assert_eq!([slow.next().await, slow.next().await], [Heard::Resync, event("t", "after")]);
    let large = "x".repeat(PAYLOAD_BYTES_MAX);
    (0..65).for_each(|_| bus.publish("t", &large).unwrap());
    assert_eq!(slow.next().await, Heard::Resync, "also for the memory it would take");
}

#[tokio::test]
async fn what_is_not_taken_out_is_replaced_by_one_call_to_look_anew() {
    let bus = Bus::new(None, metrics());
    let outbox = bus.outbox();
    for number in 0..=outbox::QUEUE {
        bus.publish("t", &number.to_string()).unwrap();
    }
    bus.publish("t", "after").unwrap();
    assert_eq!(outbox.next().await, Outgoing::Resync);
    assert_eq!(outbox.next().await, Outgoing::Event { topic: "t".into(), payload: "after".into() });
    bus.deliver("t", "from elsewhere");
    bus.resync();
    bus.publish("t", "own").unwrap();
    assert_eq!(outbox.next().await, Outgoing::Event { topic: "t".into(), payload: "own".into() }, "others know it");
}

#[test]
fn what_is_too_long_is_refused() {
    let bus = Bus::new(None, metrics());
    assert!(bus.publish(&"t".repeat(TOPIC_BYTES_MAX), &"p".repeat(PAYLOAD_BYTES_MAX)).is_ok());
    assert_eq!(bus.publish(&"t".repeat(TOPIC_BYTES_MAX + 1), "").unwrap_err().what, "topic");
    assert_eq!(bus.publish("t", &"p".repeat(PAYLOAD_BYTES_MAX + 1)).unwrap_err().what, "payload");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Whatever the pace: what was said after the last call to look anew is heard completely, and nothing is lost without such a
    /// call.
    #[test]
    fn nothing_is_lost_without_a_word(bursts in prop::collection::vec((1..400_usize, 0..400_usize), 1..8)) {
        Builder::new_current_thread().build().unwrap().block_on(async {
            let bus = Bus::new(None, metrics());
            let mut subscription = bus.subscribe(&["t"]);
            let (mut said, mut next) = (0, 0);
            for (says, hears) in bursts {
                for _ in 0..says {
                    bus.publish("t", &said.to_string()).unwrap();
                    said += 1;
                }
                for _ in 0..hears {
                    let heard = tokio::select! {
                        biased;
                        heard = subscription.next() => heard,
                        () = std::future::ready(()) => break,
                    };
                    match heard {
                        Heard::Resync => next = usize::MAX,
                        Heard::Event { payload, .. } => {
                            let number: usize = payload.parse().unwrap();
                            prop_assert!(next == usize::MAX || number == next, "{number} after {next}");
                            next = number + 1;
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}
