//! Carries messages between a WebSocket and a session, in real time.

use super::session::{Reply, Session};
use embassy_futures::select::{Either, select};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message},
};

/// How often time goes by on a board that nobody talks to.
const TICK: Duration = Duration::from_millis(4);

/// Carries until the other side is gone.
pub(super) async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    mut session: Session,
) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let tick = start.elapsed() + TICK;
        let wake = start + session.due().map_or(tick, |due| due.min(tick));
        let message = match select(socket.next(), sleep_until(wake)).await {
            Either::First(None) => return Ok(()),
            Either::First(Some(message)) => Some(message?),
            Either::Second(()) => None,
        };
        session.advance(start.elapsed());
        match message {
            Some(Message::Binary(bytes)) => session.take_bytes(&bytes),
            Some(Message::Text(text)) => session.take_text(&text),
            Some(Message::Close(_)) => return Ok(()),
            _ => {}
        }
        for reply in session.replies() {
            let message = match reply {
                Reply::Bytes(bytes) => Message::Binary(bytes.into()),
                Reply::Text(text) => Message::Text(text.into()),
            };
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
}
