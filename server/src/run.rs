//! Puts the server together and takes it down: addresses, folder, threads, tasks, signals.
//!
//! Order: data folder and its lock, database, capture, sockets, media threads, tasks, API, and
//! only then the `ready` line. Everything that can fail does so before that line. Deliberately
//! absent: becoming a daemon; systemd and containers do that better.

use crate::config::Config;
use crate::drivers::capture::{Capture, SharedTap, Tap};
use crate::drivers::http_api::{self, Access, ApiState};
use crate::drivers::limits::{CALL_QUEUE, INTERNAL_QUEUE, SHUTDOWN, STREAM_QUEUE, WIRE_QUEUE};
use crate::drivers::listen::{self, SipListener};
use crate::drivers::media_shard::ShardPool;
use crate::drivers::shared_shield::SharedShield;
use crate::drivers::signalling::{Books, Internal, Signalling};
use crate::drivers::stream::{StreamLimits, Streams};
use crate::drivers::transport::PlainTcp;
use crate::drivers::udp::{DatagramQueues, UdpSockets};
use crate::error::StartError;
use crate::focus::Focus;
use crate::settings;
use crate::store::Store;
use crate::telemetry::Metrics;
use nix::fcntl::{Flock, FlockArg};
use sip_proto::endpoint::Endpoint;
use sip_proto::sdp::offer_answer::SrtpPolicy;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Serves until a signal ends it.
pub fn serve(config: &Config) -> Result<(), StartError> {
    raise_descriptor_limit();
    let _lock = lock_data_dir(&config.data_dir)?;
    let metrics = Arc::new(Metrics::new());
    let path = Store::file(&config.data_dir);
    let store = Store::start(&path, Arc::clone(&metrics)).map_err(|source| StartError::Store {
        path: path.clone(),
        source,
    })?;
    let (capture, taps, signalling_tap) = start_capture(config, &metrics)?;
    let sip = config
        .listen
        .iter()
        .map(|address| {
            SipListener::bind(*address).map_err(|source| StartError::Listen {
                what: "SIP",
                address: *address,
                source,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let http = match config.http_address() {
        Some(address) => Some(listen::tcp(address).map_err(|source| StartError::Listen {
            what: "HTTP",
            address,
            source,
        })?),
        None => None,
    };
    let shards = Arc::new(ShardPool::start(taps, &metrics, config.lan)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let parts = Parts {
        config,
        metrics,
        store: store.clone(),
        shards: Arc::clone(&shards),
        tap: signalling_tap,
    };
    let outcome = runtime.block_on(parts.run(sip, http));
    // Room tasks hold rings to the shards: they go first.
    runtime.shutdown_timeout(Duration::from_millis(200));
    shards.stop();
    store.stop();
    drop(capture);
    outcome
}

struct Parts<'a> {
    config: &'a Config,
    metrics: Arc<Metrics>,
    store: Store,
    shards: Arc<ShardPool>,
    tap: Option<SharedTap>,
}

impl Parts<'_> {
    async fn run(self, sip: Vec<SipListener>, http: Option<std::net::TcpListener>) -> Result<(), StartError> {
        let mut signals = Signals::new()?;
        let sip_address = sip.first().map(|s| s.address);
        let http_listener = http.map(TcpListener::from_std).transpose()?;
        let http_address = http_listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let (internal_sender, internal) = mpsc::channel(INTERNAL_QUEUE);
        let signalling = self.signalling(sip, sip_address, http_address, &internal_sender, internal)?;
        if let Some(listener) = http_listener {
            let access = Access {
                lan: self.config.lan,
                tokens: self.config.api.tokens.clone(),
                hosts: self.config.api.hosts.clone(),
            };
            let state = ApiState::new(
                internal_sender.clone(),
                self.store.clone(),
                Arc::clone(&self.metrics),
                access,
            );
            tokio::spawn(http_api::serve(listener, state));
        }
        self.warn().await;
        let mut task = tokio::spawn(Box::pin(signalling.run()));
        announce(sip_address, http_address);
        let mut housekeeping = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = &mut task => {
                    // It ends by itself only after a shutdown.
                    return Err(StartError::System(std::io::Error::other("the signalling task failed")));
                }
                _ = housekeeping.tick() => self.shards.reap(),
                name = signals.next() => {
                    tracing::info!(signal = name, "shutting down; a second signal ends at once");
                    break;
                }
            }
        }
        exit_in_time();
        drop(internal_sender.send(Internal::Shutdown).await);
        tokio::select! {
            _ = &mut task => {}
            name = signals.next() => {
                tracing::warn!(signal = name, "ended at once");
                std::process::exit(1);
            }
        }
        Ok(())
    }

    fn signalling(
        &self,
        sip: Vec<SipListener>,
        sip_address: Option<SocketAddr>,
        http_address: Option<SocketAddr>,
        internal_sender: &mpsc::Sender<Internal>,
        internal: mpsc::Receiver<Internal>,
    ) -> Result<Signalling, StartError> {
        let shield = SharedShield::new(self.config.protection.settings(), Instant::now());
        let (new, wire) = mpsc::channel(WIRE_QUEUE);
        let (of_calls_sender, of_calls) = mpsc::channel(CALL_QUEUE);
        let (stream_sender, from_streams) = mpsc::channel(STREAM_QUEUE);
        let queues = DatagramQueues {
            shield: shield.clone(),
            of_calls: of_calls_sender,
            new,
        };
        let (mut datagrams, mut listeners) = (Vec::new(), Vec::new());
        for listener in sip {
            datagrams.push(listener.udp);
            listeners.push(TcpListener::from_std(listener.tcp)?);
        }
        let udp = UdpSockets::start(datagrams, &queues, self.tap.clone(), &self.metrics)?;
        let limits = StreamLimits {
            connections: self.config.sip.tcp_connections,
            per_address: self.config.sip.tcp_connections_per_address,
            idle: self.config.tcp_idle(),
            private_only: self.config.lan,
        };
        let metrics = Arc::clone(&self.metrics);
        let streams = Streams::start(
            listeners,
            Arc::new(PlainTcp),
            stream_sender,
            limits,
            shield.clone(),
            self.tap.clone(),
            metrics,
        )?;
        let focus = settings::focus(self.config, sip_address, http_address);
        Ok(Signalling {
            endpoint: Endpoint::new(settings::endpoint(self.config), settings::seed()?),
            focus: Focus::new(focus, settings::seed()?, Instant::now()),
            udp,
            streams,
            shards: Arc::clone(&self.shards),
            store: self.store.clone(),
            metrics: Arc::clone(&self.metrics),
            mixing: settings::mixing(self.config),
            shield,
            of_calls,
            wire,
            from_streams,
            internal,
            internal_sender: internal_sender.clone(),
            books: Books::default(),
        })
    }

    async fn warn(&self) {
        if self.config.lan {
            tracing::warn!("--lan: everybody on the local network may call, list and create meetings");
            return;
        }
        let exposed = match self.config.srtp_policy() {
            SrtpPolicy::Off => "media is sent in clear (media.srtp = \"off\")",
            SrtpPolicy::Optional => "phones without SRTP are taken in clear (media.srtp = \"optional\")",
            SrtpPolicy::Required => "signalling is in clear (no TLS yet), and with it the keys of SRTP",
        };
        tracing::warn!("{exposed}: use this only on networks that you trust");
        match self.store.count_accounts(self.config.sip.realm.clone()).await {
            Ok(0) => tracing::warn!(
                "there are no accounts, so nobody can call: add one by `meet-server user add NAME`, or use --lan"
            ),
            Ok(count) => tracing::info!(count, "accounts"),
            Err(error) => tracing::error!(%error, "accounts cannot be read"),
        }
    }
}

type Capturing = (Option<Capture>, Vec<Option<Tap>>, Option<SharedTap>);

fn start_capture(config: &Config, metrics: &Arc<Metrics>) -> Result<Capturing, StartError> {
    let count = config.shard_count();
    let Some(path) = config.capture_file() else {
        return Ok((None, (0..count).map(|_| None).collect(), None));
    };
    let (capture, taps, shared) =
        Capture::start(path, count, metrics).map_err(|source| StartError::Capture {
            path: path.to_owned(),
            source,
        })?;
    Ok((Some(capture), taps.into_iter().map(Some).collect(), Some(shared)))
}

/// A call costs two descriptors and most systems grant 1,024 until asked: take what is allowed.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "the limit of open files stays low; each call costs two");
    }
}

fn lock_data_dir(dir: &Path) -> Result<Flock<File>, StartError> {
    let refused = |source| StartError::DataDir {
        path: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(refused)?;
    let file = File::create(dir.join("meet-server.lock")).map_err(refused)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, _)| StartError::DataDirLocked { path: dir.to_owned() })
}

/// The one line for scripts.
fn announce(sip: Option<SocketAddr>, http: Option<SocketAddr>) {
    let show = |address: Option<SocketAddr>| address.map_or_else(|| "off".to_owned(), |a| a.to_string());
    let mut stdout = std::io::stdout().lock();
    // Whoever closed our standard output does not want the line.
    drop(writeln!(stdout, "ready sip={} http={}", show(sip), show(http)));
    drop(stdout.flush());
    tracing::info!(sip = show(sip), http = show(http), "serving");
}

/// Whatever hangs: the process is gone after the promised time.
fn exit_in_time() {
    let late = SHUTDOWN.saturating_sub(Duration::from_millis(300));
    std::thread::spawn(move || {
        std::thread::sleep(late);
        tracing::warn!("not everything ended in time");
        std::process::exit(0);
    });
}

/// A closed terminal ends no meeting, and there is nothing to read again: the configuration is read at the start.
async fn ignore(hangup: &mut Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP is ignored; SIGTERM ends the server");
    }
    std::future::pending().await
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Only held, so that a limit of file sizes fails a write and does not end the process.
    _file_size: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = ignore(&mut self.hangup) => "SIGHUP",
        }
    }
}
