//! What is made durable for those who wait, whatever others do meanwhile.

use super::Server;
use super::client::{connect, publish};
use crate::doors::mqtt::message::Message;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Connect, SubscriptionOptions};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::try_from(qos).unwrap(), ..SubscriptionOptions::default() }
}

fn kept(client: &'static str) -> Connect {
    Connect { clean_start: false, session_expiry_interval_secs: 100, ..connect(client) }
}

#[test]
fn who_subscribes_is_answered_while_another_session_changes_all_the_time() {
    let server = Server::relaying();
    let mut busy = server.client();
    busy.hello(kept("busy"));
    busy.subscribe("chat/#", at(1));
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let message = Message::published(&publish("chat/x", 1, 1, "x"), 0);
            let message = Arc::new(message);
            while !over.load(Ordering::SeqCst) {
                server.door.hub.route(&message, None, &server.door.mqtt);
                std::thread::yield_now();
            }
        });
        let answered = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut other = server.client();
            other.hello(kept("other"));
            other.subscribe("quiet/#", at(1))
        }));
        over.store(true, Ordering::SeqCst);
        assert_eq!(answered.expect("an answer"), 1);
    });
}
