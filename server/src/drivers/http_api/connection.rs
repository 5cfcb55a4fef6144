//! The API's connections: a bounded number, and none that says nothing for long.
//!
//! axum's own `serve` waits for ever for the rest of a request; whoever opens connections and sends
//! a byte a minute could hold them all. Here the seats are counted, in all and for each address; a connection without
//! a request is closed after a while; and a request must come, and its answer be taken, in a given time, however
//! busily single bytes arrive.

use super::Ends;
use crate::drivers::limits::{API_CONNECTIONS, API_CONNECTIONS_PER_ADDRESS, API_IDLE, API_REQUEST};
use crate::shield::Source;
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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
        by_source: BySource::default(),
    };
    axum::serve(listener, router.into_make_service_with_connect_info::<Ends>()).await
}

struct Bounded {
    listener: TcpListener,
    seats: Arc<Semaphore>,
    by_source: BySource,
}

/// Connections of each address.
#[derive(Debug, Clone, Default)]
struct BySource(Arc<Mutex<HashMap<Source, usize>>>);

/// One of them; it is given back when dropped.
#[derive(Debug)]
struct Share {
    source: Source,
    of: BySource,
}

impl BySource {
    fn take(&self, from: IpAddr) -> Option<Share> {
        let source = Source::of(from);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = table.entry(source).or_insert(0);
        if *count >= API_CONNECTIONS_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Share {
            source,
            of: self.clone(),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                table.remove(&self.source);
            }
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let seat = Arc::clone(&self.seats).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    // More than its share: closed at once, which its owner sees.
                    let Some(share) = self.by_source.take(remote.ip()) else {
                        continue;
                    };
                    let connection = Connection {
                        stream,
                        deadline: Box::pin(tokio::time::sleep(API_IDLE)),
                        in_request: false,
                        _seat: seat,
                        _share: share,
                    };
                    return (connection, remote);
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

/// A connection that ends when its peer asks nothing for [`API_IDLE`], or takes longer than [`API_REQUEST`] to ask or
/// to take an answer.
struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    /// Something of a request came and nothing of its answer went.
    in_request: bool,
    _seat: Option<OwnedSemaphorePermit>,
    _share: Share,
}

impl Connection {
    /// What is pending stays so until the deadline.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
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
                if !self.in_request {
                    self.in_request = true;
                    self.deadline.as_mut().reset(Instant::now() + API_REQUEST);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => self.wait(cx),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(outcome) => {
                // The answer is being taken: from its end on the next request has its time.
                self.in_request = false;
                self.deadline.as_mut().reset(Instant::now() + API_IDLE);
                Poll::Ready(outcome)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
