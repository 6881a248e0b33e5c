//! A listener beside HTTP's.
//!
//! Promise: it is started and stopped with the server. Elsewhere: what is spoken there is the door's own.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_ingest::doors::{self, ListenError};

/// See the module.
#[derive(Debug)]
pub struct DoorServer {
    name: &'static str,
    address: SocketAddr,
    serving: JoinHandle<()>,
    shutdown: oneshot::Sender<()>,
}

impl DoorServer {
    /// Listens; what `serve` makes of the listener ends when it is told to.
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start<F>(
        name: &'static str,
        address: SocketAddr,
        serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) -> Result<Self>
    where
        F: Future<Output = Result<(), ListenError>> + Send + 'static,
    {
        let listener = doors::listen(address).await?;
        let address =
            listener.local_addr().with_context(|| format!("the {name} listener has no address"))?;
        let (shutdown, told) = oneshot::channel::<()>();
        let served = serve(listener, told);
        let serving = tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, name, "a listener ended");
            }
        });
        Ok(Self { name, address, serving, shutdown })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells its clients and lets what is under way be confirmed.
    /// # Errors
    /// It ended badly.
    pub async fn stop(self) -> Result<()> {
        if self.shutdown.send(()).is_err() {
            tracing::debug!(name = self.name, "a listener ended before");
        }
        self.serving.await.with_context(|| format!("the {} listener ended badly", self.name))
    }
}
