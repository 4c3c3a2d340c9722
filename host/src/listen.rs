//! Listening sockets, and the acceptance of connections.
//!
//! Each thread has its own sockets on the shared ports; the kernel spreads connections over them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

const BACKLOG: i32 = 4096;
/// Pause when the process is out of sockets.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// As many open files as the system lets this process have: every viewer takes one, and so does
/// every request to the origin.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(limit = ?limit.current, "the limit of open files stays as it is");
    }
}

/// Listening sockets on one address.
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    pub(crate) all: Vec<std::net::TcpListener>,
}

/// As many listening sockets on one address; `gone` is the longest that a viewer may give no sign
/// of life. A first one without `SO_REUSEPORT` finds out whether
/// another process has the port, which the others would silently share with it.
pub(crate) fn sockets(
    address: SocketAddr,
    flag: &str,
    count: usize,
    gone: Duration,
) -> io::Result<Sockets> {
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
    let all = (0..count.max(1))
        .map(|_| socket(address, gone).map_err(busy))
        .collect::<io::Result<_>>()?;
    Ok(Sockets { address, all })
}

fn socket(address: SocketAddr, gone: Duration) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Every accepted connection has these from its listener: a viewer that is gone, or reads no
    // more, holds nothing for long.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(gone))?;
    socket.set_tcp_user_timeout(Some(gone))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts for as long as it is polled: dropped, it closes the socket.
pub(crate) async fn accept(
    listener: TcpListener,
    mut serve: impl FnMut(tokio::net::TcpStream, SocketAddr),
) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Without it a small response may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                serve(stream, address);
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(
                    %error, "no connection accepted; is the limit of open files too low?"
                );
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
