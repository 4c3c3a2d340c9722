//! Serving: threads, connections, and the end of both.
//!
//! Each thread has its own runtime. After a stop no connection is accepted, and those that are open
//! end after the request that they are in.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use sightscreen_core::problem::Problem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::access::{Access, Told};
use crate::body::Body;
use crate::config::{Config, Limits};
use crate::exchange::{Viewer, problem};
use crate::greeting::Greeting;
use crate::listen::{accept, raise_open_files, sockets};
use crate::metrics::{Answered, Metrics};
use crate::node::{Node, Worker};
use crate::readers::Connection;
use crate::refusals::Refusals;
use crate::tls::Certificate;
use crate::{admin, logs};

/// Bytes of a body that HTTP/1 writes at once. Such a connection has one response at a time, and is
/// known by its socket where it does not read; to follow each response besides costs a fifth of the
/// requests a second.
const SMALL: u64 = 16 * 1024;
/// Between two looks at what is due beside the viewers' requests.
const LOOK: Duration = Duration::from_secs(1);

/// A node that serves.
pub struct Running {
    /// Where it listens; a port of 0 in the settings is the kernel's choice here.
    pub listen: SocketAddr,
    /// The same with TLS.
    pub tls_listen: Option<SocketAddr>,
    /// Metrics, health and purge.
    pub admin: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a node: when this returns, it accepts connections.
///
/// # Errors
/// One line that says what is in the way and what to do: a busy port, an unusable component, a
/// folder that cannot be written.
pub fn start(config: &Config) -> io::Result<Running> {
    raise_open_files();
    let gone = config.limits.head;
    let listen = sockets(config.listen, "--listen", config.threads, gone)?;
    let tls_listen = config
        .tls_listen
        .map(|address| sockets(address, "--tls-listen", config.threads, gone))
        .transpose()?;
    let admin_socket = sockets(config.admin, "--admin", 1, gone)?;
    let certificate =
        config.tls_listen.map(|_| Certificate::open(&config.data).map(Arc::new)).transpose()?;
    let (stop, stopped) = watch::channel(false);
    let mut running = Running {
        listen: listen.address,
        tls_listen: tls_listen.as_ref().map(|sockets| sockets.address),
        admin: admin_socket.address,
        stop,
        threads: Vec::new(),
    };
    let node = Arc::new(open_node(config, &mut running)?);
    let mut tls_sockets = tls_listen.map(|sockets| sockets.all.into_iter());
    for (index, plain) in listen.all.into_iter().enumerate() {
        let tls = tls_sockets.as_mut().and_then(Iterator::next).zip(certificate.clone());
        let worker = Arc::new(Worker::new(Arc::clone(&node), config)?);
        let (node, stopped) = (Arc::clone(&node), stopped.clone());
        let work = async move {
            let ended = serve(&worker, plain, tls, stopped).await;
            if ended.is_err() {
                node.unwell.store(true, Ordering::Relaxed);
            }
            ended
        };
        running.threads.push(thread(format!("edge-{index}"), work)?);
    }
    let admin_work = admin::serve(Worker::new(node, config)?, admin_socket.all, stopped);
    running.threads.push(thread("admin".to_owned(), admin_work)?);
    Ok(running)
}

/// The node, and the thread of its access log.
fn open_node(config: &Config, running: &mut Running) -> io::Result<Node> {
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    let mut access = None;
    if let Some(log) = &config.access_log {
        let (opened, writer) = Access::open(log, metrics.access_lines_lost.clone())?;
        access = Some(opened);
        running.threads.push(writer);
    }
    Node::open(config, metrics, access)
}

impl Running {
    /// Accepts no more, lets requests under way end within the settings' time, and returns when all
    /// is over.
    pub fn stop(self) {
        self.stop.send_replace(true);
        // The last is the access log, which ends when nobody has anything to say any more.
        for thread in self.threads.into_iter().rev() {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        }
    }
}

/// Runs `work` on a thread and runtime of its own.
fn thread(
    name: String,
    work: impl Future<Output = io::Result<()>> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        if let Err(error) = runtime.block_on(work) {
            tracing::error!(%error, "a thread ended");
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
    })
}

async fn serve(
    worker: &Arc<Worker>,
    plain: std::net::TcpListener,
    tls: Option<(std::net::TcpListener, Arc<Certificate>)>,
    stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    // Every connection holds a receiver; when all are gone, all connections are.
    let (open, held) = watch::channel(());
    let guest = |address: SocketAddr| {
        Some(Guest {
            worker: Arc::clone(worker),
            address: address.ip(),
            stopped: stopped.clone(),
            _place: place(&worker.node)?,
            _held: held.clone(),
        })
    };
    let plain = accept(TcpListener::from_std(plain)?, |stream, address| {
        if let Some(guest) = guest(address) {
            tokio::spawn(guest.connection(stream));
        }
    });
    let tls = async {
        let Some((listener, certificate)) = tls else {
            return std::future::pending().await;
        };
        let listener = TcpListener::from_std(listener)?;
        let within = worker.node.limits.handshake;
        accept(listener, |stream, address| {
            let Some(guest) = guest(address) else { return };
            let handshake = certificate.acceptor().accept(stream);
            tokio::spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(within, handshake).await {
                    guest.connection(stream).await;
                }
            });
        })
        .await
    };
    let mut stop = stopped.clone();
    // Both futures end here and close their sockets, so that a balancer sees at once that this node
    // takes no more.
    tokio::select! {
        ended = plain => ended?,
        ended = tls => ended?,
        () = told_to_stop(&mut stop) => {}
        () = keep_up(worker) => {}
    }
    drop(held);
    if tokio::time::timeout(worker.node.limits.drain, open.closed()).await.is_err() {
        tracing::warn!("connections were cut because their requests did not end in time");
    }
    Ok(())
}

/// Sees from time to time whether snapshots are to be kept fresh. Never ends.
async fn keep_up(worker: &Arc<Worker>) {
    loop {
        tokio::time::sleep(LOOK).await;
        worker.keep_up(now_ms(), fastrand::u64(..)).await;
    }
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// A place among the connections, where there is one.
fn place(node: &Node) -> Option<OwnedSemaphorePermit> {
    let place = Arc::clone(&node.connections).try_acquire_owned().ok();
    if place.is_none() {
        node.metrics.connections_refused.inc();
    }
    place
}

/// Waits for the stop; the end of the node is one too.
pub(crate) async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// A viewer who has connected.
struct Guest {
    worker: Arc<Worker>,
    address: IpAddr,
    stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
    _held: watch::Receiver<()>,
}

impl Guest {
    async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S) {
        let node = &self.worker.node;
        let limits = &node.limits;
        let _counted = node.metrics.connection();
        let connection = node.memory.connection();
        let (worker, viewers, address) =
            (Arc::clone(&self.worker), Arc::clone(&connection), self.address);
        let service = service_fn(move |request| {
            let (worker, connection) = (Arc::clone(&worker), Arc::clone(&viewers));
            async move { Ok::<_, Infallible>(answer(&worker, &connection, address, request).await) }
        });
        let stream = Greeting::new(stream, limits.head);
        let stream = Refusals::new(TokioIo::new(stream), Arc::clone(&connection));
        let builder = builder(limits);
        let mut serving = std::pin::pin!(builder.serve_connection(stream, service));
        let served = async {
            tokio::select! {
                ended = serving.as_mut() => ended,
                () = told_to_stop(&mut self.stopped) => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            }
        };
        tokio::select! {
            ended = served => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
            }
            () = connection.must_close(limits.unread) => {
                tracing::debug!("a connection was closed because its viewer does not read");
            }
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        // What is longer than this the library refuses by itself, without a body. A head up to it
        // comes in, and is refused with a problem where it is longer than the settings allow.
        .max_header_list_size(u32::try_from(2 * limits.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping);
    builder
}

async fn answer(
    worker: &Arc<Worker>,
    connection: &Arc<Connection>,
    address: IpAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    let begun = Instant::now();
    // Viewers send no bodies; what one sends all the same is never read.
    let (parts, _) = request.into_parts();
    let viewer = Viewer {
        target: target(&parts.uri),
        method: parts.method,
        headers: parts.headers,
        now_ms: now_ms(),
        entropy: fastrand::u64(..),
    };
    let head_bytes = worker.node.limits.head_bytes;
    let (answered, mut response) = if !names_host(parts.version, &viewer.headers) {
        (Answered::Respond, problem(Problem::HostInvalid))
    } else if parts.version == Version::HTTP_2 && list_bytes(&viewer) > head_bytes {
        (Answered::Respond, problem(Problem::HeadersTooLarge))
    } else {
        worker.exchange(&viewer).await
    };
    let status = response.status();
    worker.node.metrics.request(answered, status);
    if tracing::enabled!(tracing::Level::DEBUG) {
        tracing::debug!(
            method = %viewer.method, target = logs::masked(&viewer.target),
            status = status.as_u16(), ?answered, "answered"
        );
    }
    if viewer.method == Method::HEAD {
        let length = response.body().length();
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        *response.body_mut() = Body::full(bytes::Bytes::new());
    }
    let told = Told {
        method: &viewer.method,
        target: &viewer.target,
        version: parts.version,
        status,
        answered,
        address: Some(address),
        begun,
    };
    let record = worker.node.access.as_ref().map(|access| access.record(&told));
    let length = response.body().length();
    let is_small = length.is_some_and(|length| length <= SMALL);
    if parts.version == Version::HTTP_2 || !is_small || record.is_some() {
        response.body_mut().told_to(connection.delivery(length, record));
    }
    response
}

/// HTTP/1.1 asks for exactly one host (RFC 9112, section 3.2); HTTP/2 has it in the target.
fn names_host(version: Version, headers: &HeaderMap) -> bool {
    version != Version::HTTP_11 || headers.get_all(HOST).iter().count() == 1
}

/// Bytes of a request's head as HTTP/2 counts them (RFC 9113, section 10.5.1). HTTP/1 has counted
/// them before the request is here.
fn list_bytes(viewer: &Viewer) -> usize {
    let fields = viewer.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    viewer.target.len() + fields.sum::<usize>()
}

/// The target in origin form, as it came.
fn target(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.to_string(), |target| target.as_str().to_owned())
}
