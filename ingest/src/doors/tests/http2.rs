//! HTTP/2 by prior knowledge: many requests of one connection under way at once.

use super::{JSON, Server, batches, row};
use crate::decode::testing::{options, sensors};
use crate::log::Partition;
use crate::model::Limits;
use arrow::array::RecordBatch;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

async fn connect(server: &Server) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server.served.address).await.expect("connected");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2 is spoken");
    (sender.ready().await.expect("ready"), tokio::spawn(connection))
}

fn post(sender: &mut SendRequest<Bytes>, host: &str, body: String) -> ResponseFuture {
    let request = axum::http::Request::post(format!("http://{host}/v1/readings"))
        .header("content-type", JSON)
        .body(())
        .expect("a request");
    let (answer, mut stream) = sender.send_request(request, false).expect("sent");
    stream.send_data(body.into(), true).expect("sent");
    answer
}

fn partition(server: &Server) -> Arc<Partition> {
    let stream = server.log.streams().get("sensors").expect("the stream");
    Arc::clone(&stream.partitions()[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_one_connection_share_a_sync() {
    let server = Server::manual(Limits::default());
    let (mut sender, _connection) = connect(&server).await;
    let host = server.served.address.to_string();
    let answers: Vec<_> = (0..40).map(|n| post(&mut sender, &host, row(n))).collect();
    let answered = tokio::spawn(async {
        for answer in answers {
            assert_eq!(answer.await.expect("an answer").status(), 200);
        }
    });
    while !answered.is_finished() {
        settled(&partition(&server)).await;
        server.log.step_committers();
    }
    answered.await.expect("all are confirmed");
    let frames: Vec<_> = batches(&partition(&server)).iter().map(RecordBatch::num_rows).collect();
    assert_eq!(frames.iter().sum::<usize>(), 40);
    assert!(frames[0] >= 20, "{frames:?}");
}

/// Waits until nothing more comes to be committed.
async fn settled(partition: &Partition) {
    let mut before = usize::MAX;
    while before != partition.waiting_bytes() {
        before = partition.waiting_bytes();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machines_name_is_refused_over_http2_too() {
    let server = Server::start();
    let (mut sender, _connection) = connect(&server).await;
    let answer = post(&mut sender, "attacker.example", row(1)).await.expect("an answer");
    assert_eq!(answer.status(), 403);
    let host = server.served.address.to_string();
    let answer = post(&mut sender, &host, row(1)).await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_request_is_ended() {
    let limits = Limits { header_timeout_ms: 200, ..Limits::default() };
    let server = Server::with(limits, sensors(options()));
    let (_sender, connection) = connect(&server).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), connection).await;
    ended.expect("it is ended").expect("no panic").expect("in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_answers_finish_over_http2_too() {
    let mut server = Server::manual(Limits::default());
    let (mut sender, connection) = connect(&server).await;
    let host = server.served.address.to_string();
    let answer = post(&mut sender, &host, row(1));
    while partition(&server).waiting_bytes() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.served.tell_stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.log.step_committers();
    assert_eq!(answer.await.expect("an answer").status(), 200);
    connection.await.expect("no panic").expect("ended in order");
}
