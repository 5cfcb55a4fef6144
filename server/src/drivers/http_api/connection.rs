//! The API's connections: a bounded number, and none that says nothing for long.
//!
//! axum's own `serve` waits for ever for the rest of a request; whoever opens connections and sends
//! a byte a minute could hold them all. Here reading has a limit and the seats are counted.

use super::Ends;
use crate::drivers::limits::{API_CONNECTIONS, API_IDLE};
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Serves a router until the process ends.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = Bounded {
        listener,
        seats: Arc::new(Semaphore::new(API_CONNECTIONS)),
    };
    axum::serve(listener, router.into_make_service_with_connect_info::<Ends>()).await
}

struct Bounded {
    listener: TcpListener,
    seats: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let seat = Arc::clone(&self.seats).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    let idle = Box::pin(tokio::time::sleep(API_IDLE));
                    return (
                        Connection {
                            stream,
                            idle,
                            _seat: seat,
                        },
                        remote,
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an API connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when its peer is silent for [`API_IDLE`].
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _seat: Option<OwnedSemaphorePermit>,
}

impl Connected<IncomingStream<'_, Bounded>> for Ends {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let local = stream.io().stream.local_addr().unwrap_or(unknown);
        Self {
            local,
            remote: *stream.remote_addr(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(outcome) => {
                self.idle.as_mut().reset(Instant::now() + API_IDLE);
                Poll::Ready(outcome)
            }
            Poll::Pending => match self.idle.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
