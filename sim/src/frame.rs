//! Frames on a byte stream: a length in four bytes, most significant first, then so many bytes.

use std::io::{self, ErrorKind};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest frame in bytes: above what a JSON-RPC server answers at most.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Sends one frame.
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| too_large(body.len()))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

/// Receives one frame; `None` where the stream ends before it.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let first = stream.read(&mut length).await?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[first..]).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(too_large(length));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}

fn too_large(length: usize) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("a frame of {length} bytes; at most {FRAME_BYTES_MAX}"),
    )
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let mut bytes = Vec::new();
        block_on(write(&mut bytes, b"first")).unwrap();
        block_on(write(&mut bytes, b"")).unwrap();
        let mut stream = Cursor::new(bytes);
        assert_eq!(
            block_on(read(&mut stream)).unwrap().as_deref(),
            Some(b"first".as_slice())
        );
        assert_eq!(
            block_on(read(&mut stream)).unwrap().as_deref(),
            Some(b"".as_slice())
        );
        assert_eq!(block_on(read(&mut stream)).unwrap(), None);
    }

    #[test]
    fn a_frame_cut_short_or_too_large_is_an_error() {
        assert!(block_on(read(&mut Cursor::new([0, 0, 0, 2, 1]))).is_err());
        assert!(block_on(read(&mut Cursor::new([0, 0]))).is_err());
        assert!(block_on(read(&mut Cursor::new([255; 8]))).is_err());
    }
}
