//! RTMP's handshake (RTMP 1.0, 5.2): the plain one, which every publisher knows.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The only version without encryption.
const VERSION: u8 = 3;

/// Bytes of each side's second and third piece.
const PIECE: usize = 1536;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// Something else came to this port.
    #[error("not RTMP: it begins with {0}, expected version {VERSION}")]
    Version(u8),
    /// The connection failed, or ended.
    #[error("it left during the RTMP handshake ({0})")]
    Io(#[from] std::io::Error),
}

/// Shakes hands. What follows is the chunk stream.
///
/// # Errors
/// See [`HandshakeError`]. It has no time limit of its own.
pub(super) async fn shake(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), HandshakeError> {
    let version = stream.read_u8().await?;
    if version != VERSION {
        return Err(HandshakeError::Version(version));
    }
    let mut theirs = vec![0; PIECE];
    stream.read_exact(&mut theirs).await?;
    // Version, our piece (a time and a version of zero, then anything), and theirs again.
    let mut answer = vec![0; 1 + PIECE];
    answer[0] = VERSION;
    getrandom::fill(&mut answer[9..]).map_err(std::io::Error::other)?;
    answer.extend_from_slice(&theirs);
    stream.write_all(&answer).await?;
    stream.flush().await?;
    // Not all encoders send back what they were sent, so it is not compared.
    stream.read_exact(&mut theirs).await?;
    Ok(())
}
