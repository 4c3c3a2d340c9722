//! Listening and serving: threads, connections, and the end of both.
//!
//! Each thread has its own runtime and its own listening sockets on the shared ports; the kernel
//! spreads connections over them. Invariant: after a stop no connection is accepted, and those that
//! are open end after the request that they are in.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::body::Body;
use crate::config::Config;
use crate::exchange::Viewer;
use crate::greeting::Greeting;
use crate::node::{Node, Worker};
use crate::refusals::Refusals;
use crate::tls::Certificate;
use crate::{admin, logs};

/// Longest that requests under way may take after a stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest that a viewer may take to send a request's head, idle time between two requests
/// included.
const HEAD: Duration = Duration::from_secs(60);
/// Longest that a viewer may leave what was sent to it unread, or an idle connection without a sign
/// of life.
const GONE: Duration = Duration::from_secs(60);
/// Longest pause between two signs of life of an HTTP/2 connection, and for the answer to one.
const PING: Duration = Duration::from_secs(20);
const HANDSHAKE: Duration = Duration::from_secs(10);
const H2_STREAMS: u32 = 128;
const BACKLOG: i32 = 4096;
/// Pause when the process is out of sockets.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// A node that serves.
pub struct Running {
    /// Where it listens; a port of 0 in the settings is the kernel's choice here.
    pub listen: SocketAddr,
    /// The same with TLS.
    pub tls_listen: Option<SocketAddr>,
    /// Metrics and health.
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
    let listen = sockets(config.listen, "--listen", config.threads)?;
    let tls_listen = config
        .tls_listen
        .map(|address| sockets(address, "--tls-listen", config.threads))
        .transpose()?;
    let admin_socket = sockets(config.admin, "--admin", 1)?;
    let certificate =
        config.tls_listen.map(|_| Certificate::open(&config.data).map(Arc::new)).transpose()?;
    let node = Arc::new(Node::open(config)?);
    let (stop, stopped) = watch::channel(false);
    let mut running = Running {
        listen: listen.address,
        tls_listen: tls_listen.as_ref().map(|sockets| sockets.address),
        admin: admin_socket.address,
        stop,
        threads: Vec::new(),
    };
    let mut tls_sockets = tls_listen.map(|sockets| sockets.all.into_iter());
    for (index, plain) in listen.all.into_iter().enumerate() {
        let tls = tls_sockets.as_mut().and_then(Iterator::next).zip(certificate.clone());
        let worker = Arc::new(Worker::new(Arc::clone(&node), &config.origin)?);
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
    let admin_work = admin::serve(node, admin_socket.all, stopped);
    running.threads.push(thread("admin".to_owned(), admin_work)?);
    Ok(running)
}

impl Running {
    /// Accepts no more, lets requests under way end within 10 s, and returns when all is over.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
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

/// As many open files as the system lets this process have: every viewer takes one, and so does
/// every request to the origin.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(limit = ?limit.current, "the limit of open files stays as it is");
    }
}

struct Sockets {
    address: SocketAddr,
    all: Vec<std::net::TcpListener>,
}

/// As many listening sockets on one address. A first one without `SO_REUSEPORT` finds out whether
/// another process has the port, which the others would silently share with it.
fn sockets(address: SocketAddr, flag: &str, count: usize) -> io::Result<Sockets> {
    let busy = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "another process has the port: stop it, or choose another",
            io::ErrorKind::PermissionDenied => "the port is reserved: choose one above 1023",
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: choose one that it has"
            }
            _ => "choose another address",
        };
        io::Error::new(error.kind(), format!("{flag} {address}: {error}; {remedy}"))
    };
    let address =
        std::net::TcpListener::bind(address).and_then(|probe| probe.local_addr()).map_err(busy)?;
    let all =
        (0..count.max(1)).map(|_| socket(address).map_err(busy)).collect::<io::Result<_>>()?;
    Ok(Sockets { address, all })
}

fn socket(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Every accepted connection has these from its listener: a viewer that is gone, or reads no
    // more, holds nothing for long.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(GONE))?;
    socket.set_tcp_user_timeout(Some(GONE))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn serve(
    worker: &Arc<Worker>,
    plain: std::net::TcpListener,
    tls: Option<(std::net::TcpListener, Arc<Certificate>)>,
    stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    // Every connection holds a receiver; when all are gone, all connections are.
    let (open, held) = watch::channel(());
    let plain = accept(TcpListener::from_std(plain)?, |stream| {
        let (worker, stopped, held) = (Arc::clone(worker), stopped.clone(), held.clone());
        tokio::spawn(async move {
            connection(worker, stream, stopped).await;
            drop(held);
        });
    });
    let tls = async {
        let Some((listener, certificate)) = tls else {
            return std::future::pending().await;
        };
        let listener = TcpListener::from_std(listener)?;
        accept(listener, |stream| {
            let (worker, stopped, held) = (Arc::clone(worker), stopped.clone(), held.clone());
            let handshake = certificate.acceptor().accept(stream);
            tokio::spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await {
                    connection(worker, stream, stopped).await;
                }
                drop(held);
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
    }
    drop(held);
    if tokio::time::timeout(DRAIN, open.closed()).await.is_err() {
        tracing::warn!("connections were cut because their requests did not end in time");
    }
    Ok(())
}

/// Waits for the stop; the end of the node is one too.
pub(crate) async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Accepts for as long as it is polled: dropped, it closes the socket.
pub(crate) async fn accept(
    listener: TcpListener,
    mut serve: impl FnMut(tokio::net::TcpStream),
) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it a small response may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                serve(stream);
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection accepted; is the limit of open files too low?");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    worker: Arc<Worker>,
    stream: S,
    mut stopped: watch::Receiver<bool>,
) {
    let _counted = worker.node.metrics.connection();
    let service = service_fn(move |request| {
        let worker = Arc::clone(&worker);
        async move { Ok::<_, Infallible>(answer(&worker, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let stream = Greeting::new(stream, HEAD);
    let mut serving =
        std::pin::pin!(builder.serve_connection(Refusals::new(TokioIo::new(stream)), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = told_to_stop(&mut stopped) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn answer(worker: &Arc<Worker>, request: Request<Incoming>) -> Response<Body> {
    // Viewers send no bodies; what one sends all the same is never read.
    let (parts, _) = request.into_parts();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let viewer = Viewer {
        target: target(&parts.uri),
        method: parts.method,
        headers: parts.headers,
        now_ms: now.as_millis() as u64,
        entropy: fastrand::u64(..),
    };
    let (answered, mut response) = worker.exchange(&viewer).await;
    let status = response.status();
    worker.node.metrics.request(answered, status);
    if tracing::enabled!(tracing::Level::DEBUG) {
        tracing::debug!(method = %viewer.method, target = logs::masked(&viewer.target), status = status.as_u16(), ?answered, "answered");
    }
    if viewer.method == Method::HEAD {
        let length = response.body().length();
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        *response.body_mut() = Body::full(bytes::Bytes::new());
    }
    response
}

/// The target in origin form, as it came.
fn target(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.to_string(), |target| target.as_str().to_owned())
}
