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
/// Bytes of a chunk that is written.
const CHUNK: usize = 64 * 1024;

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

fn read_body(reader: impl BufRead, method: &str, reply: &Reply) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    if method == "HEAD" || matches!(reply.status, 204 | 304) {
        return (body, false);
    }
    if is_chunked(&reply.headers) {
        let cut = Chunked::new(reader).take(MAX_BODY).read_to_end(&mut body).is_err();
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

/// Whether the body comes in chunks (RFC 9112, section 7.1), so that its end is told without its
/// length.
#[must_use]
pub fn is_chunked(headers: &[(String, String)]) -> bool {
    header(headers, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
}

/// A body that comes in chunks, without what is around them. One that breaks off is an error.
#[derive(Debug)]
pub struct Chunked<R> {
    reader: R,
    /// Bytes of the chunk that are still to come.
    left: u64,
    is_over: bool,
}

impl<R: BufRead> Chunked<R> {
    /// The body at which `reader` stands.
    pub fn new(reader: R) -> Self {
        Self { reader, left: 0, is_over: false }
    }

    /// The size of the next chunk; 0 is the end.
    fn begin(&mut self) -> io::Result<u64> {
        let line = read_line(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(size, 16).map_err(|_| bad("chunk size"))
    }

    /// The line end after a chunk.
    fn end(&mut self) -> io::Result<()> {
        read_line(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over || buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            self.left = self.begin()?;
            if self.left == 0 {
                self.is_over = true;
                self.end()?;
                return Ok(0);
            }
        }
        let read = self.reader.by_ref().take(self.left).read(buffer)?;
        self.left -= read as u64;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.left == 0 {
            self.end()?;
        }
        Ok(read)
    }
}

/// Writes a body in chunks, and its end only where all of it came.
///
/// # Errors
/// When the body breaks off or the peer is gone.
pub fn write_chunked(writer: &mut impl Write, mut body: impl Read) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = body.read(&mut chunk)?;
        writer.write_all(format!("{length:x}\r\n").as_bytes())?;
        writer.write_all(&chunk[..length])?;
        writer.write_all(b"\r\n")?;
        if length == 0 {
            return writer.flush();
        }
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
