//! MQTT over WebSocket, for browsers (MQTT 5, section 6): `GET /mqtt` of the HTTP port.
//!
//! Promise: behind the handshake it is a connection like any other, and counts among them; packets come
//! in binary frames and may be cut anywhere. Whom a browser may speak for is looked at by the HTTP port.

use super::MqttDoor;
use super::stream::Stream;
use crate::doors::ErrorAnswer;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use futures::{SinkExt, StreamExt, future};
use std::io;
use std::sync::Arc;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// The subprotocol of MQTT 3.1.1 and 5.
const SUBPROTOCOL: &str = "mqtt";

/// The way in; to be merged with the other routers of the HTTP port.
pub fn router(door: Arc<MqttDoor>) -> Router {
    Router::new().route("/mqtt", any(upgrade)).with_state(door)
}

async fn upgrade(
    State(door): State<Arc<MqttDoor>>,
    asked: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let asked = match asked {
        Ok(asked) => asked.protocols([SUBPROTOCOL]),
        Err(error) => return refusal(&error.to_string()),
    };
    if asked.selected_protocol().is_none() {
        return refusal("the client does not offer the subprotocol 'mqtt'");
    }
    let packet_bytes_max = door.mqtt.packet_bytes_max as usize;
    asked
        .max_message_size(packet_bytes_max)
        .max_frame_size(packet_bytes_max)
        .write_buffer_size(0)
        .on_upgrade(async move |socket| {
            if door.arrivals.send(stream_over(socket)).await.is_err() {
                tracing::debug!("the MQTT listener has ended");
            }
        })
}

fn refusal(what: &str) -> Response {
    ErrorAnswer::new(StatusCode::BAD_REQUEST, "this path is for MQTT over WebSocket")
        .detail(what)
        .hint(
            "connect an MQTT client to ws://HOST:PORT/mqtt; readings over HTTP go to /v1/readings",
        )
        .into_response()
}

/// The bytes in the binary frames of both sides.
fn stream_over(socket: WebSocket) -> Stream {
    let (sink, stream) = socket.split();
    let bytes = stream.filter_map(|message| future::ready(payload(message)));
    let frames = sink
        .sink_map_err(io::Error::other)
        .with(|bytes: Bytes| future::ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    let (reader, writer) = (StreamReader::new(bytes), SinkWriter::new(CopyToBytes::new(frames)));
    Stream::new(tokio::io::join(reader, writer))
}

/// What a frame brings; pings are answered below.
fn payload(message: Result<Message, axum::Error>) -> Option<io::Result<Bytes>> {
    match message {
        Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => None,
        Ok(Message::Text(_)) => {
            let what = "MQTT is spoken in binary frames";
            Some(Err(io::Error::new(io::ErrorKind::InvalidData, what)))
        }
        Err(error) => Some(Err(io::Error::other(error))),
    }
}
