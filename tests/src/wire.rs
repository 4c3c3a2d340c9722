//! HTTP/1.1 over a socket, as thin as can be.
//!
//! Owns how messages are read and written, byte for byte: a request target goes out as the case
//! wrote it, which no HTTP library promises. Owns no meaning of any header but the framing ones.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// More than this is no head that a test sends or waits for.
const MAX_HEAD: u64 = 256 * 1024;
/// More than this is no body that a test waits for.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// Header names (lower case) and values, in order.
pub type Headers = Vec<(String, String)>;

/// The value of the first header of that name.
#[must_use]
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// A request to send or one that was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Method as sent.
    pub method: String,
    /// Target as sent.
    pub target: String,
    /// Headers as sent, names in lower case.
    pub headers: Headers,
}

/// An answer as received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Headers,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether the connection ended before the body was whole.
    pub cut: bool,
}

/// Sends one request on a connection of its own and reads the answer.
///
/// # Errors
/// When there is no connection or no whole head within `timeout`.
pub fn send(addr: SocketAddr, request: &Request, timeout: Duration) -> io::Result<Reply> {
    let (reader, mut reply) = open(addr, request, timeout)?;
    (reply.body, reply.cut) = read_body(reader, &request.method, &reply);
    Ok(reply)
}

/// Sends one request and reads the head of the answer only; the reader stands at the body.
///
/// # Errors
/// As [`send`].
pub fn open(
    addr: SocketAddr,
    request: &Request,
    timeout: Duration,
) -> io::Result<(BufReader<TcpStream>, Reply)> {
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_nodelay(true)?;
    stream.write_all(&request_bytes(addr, request))?;
    let mut reader = BufReader::new(stream);
    loop {
        let (start, headers) = read_head(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status =
            start.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no status"))?;
        if status >= 200 {
            return Ok((reader, Reply { status, headers, ..Reply::default() }));
        }
    }
}

/// Sends one request, and gives the connection before anything is read from it.
///
/// # Errors
/// When there is no connection.
pub fn send_only(addr: SocketAddr, request: &Request) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.write_all(&request_bytes(addr, request))?;
    Ok(stream)
}

fn request_bytes(addr: SocketAddr, request: &Request) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    if header(&request.headers, "host").is_none() {
        out.push_str(&format!("host: {addr}\r\n"));
    }
    for (name, value) in &request.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("connection: close\r\n\r\n");
    out.into_bytes()
}

/// Reads a request; `None` where the peer closed instead.
///
/// # Errors
/// When what came is not a request head.
pub fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some((start, headers)) = read_head(reader)? else {
        return Ok(None);
    };
    let (method, rest) = start.split_once(' ').ok_or_else(|| bad("no method"))?;
    let (target, _version) = rest.rsplit_once(' ').ok_or_else(|| bad("no version"))?;
    Ok(Some(Request { method: method.into(), target: target.into(), headers }))
}

/// Writes a whole answer that ends with the connection.
///
/// # Errors
/// When the peer is gone.
pub fn write_reply(
    stream: &mut impl Write,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    stream.write_all(&reply_head(status, headers))?;
    stream.write_all(body)?;
    stream.flush()
}

/// The head of an answer after which the connection is closed.
#[must_use]
pub fn reply_head(status: u16, headers: &[(String, String)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} -\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("connection: close\r\n\r\n");
    head.into_bytes()
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let mut limited = reader.take(MAX_HEAD);
    let Some(start) = read_line(&mut limited)? else {
        return Ok(None);
    };
    let mut headers = Headers::new();
    loop {
        let line = read_line(&mut limited)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(Some((start, headers)));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

fn read_body(mut reader: impl BufRead, method: &str, reply: &Reply) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    if method == "HEAD" || matches!(reply.status, 204 | 304) {
        return (body, false);
    }
    if header(&reply.headers, "transfer-encoding")
        .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    {
        let cut = read_chunks(&mut reader, &mut body).is_err();
        return (body, cut);
    }
    let Some(length) = header(&reply.headers, "content-length").and_then(|v| v.parse::<u64>().ok())
    else {
        let cut = reader.take(MAX_BODY).read_to_end(&mut body).is_err();
        return (body, cut);
    };
    let read = reader.take(length.min(MAX_BODY)).read_to_end(&mut body);
    let cut = read.is_err() || body.len() as u64 != length;
    (body, cut)
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| bad("chunk size"))?;
        let before = body.len() as u64;
        if before + size > MAX_BODY {
            return Err(bad("body too large"));
        }
        reader.by_ref().take(size).read_to_end(body)?;
        if body.len() as u64 != before + size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
