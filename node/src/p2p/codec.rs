//! Frames of direct requests and responses: four bytes of length (big endian), then CBOR.
//!
//! The length comes first, so that a frame that is too large is refused before any of it is read, and one that was cut off
//! by a lost connection is told from one that is malformed. Memory grows with what has arrived, never with what was
//! announced, and only so many large frames are read at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::score::Offence;
use super::wire::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Request, Response};
use crate::signed::{DecodeError, decode, encode};

/// Least number of bytes in a second that the rest of a frame must come at.
const BYTES_PER_SECOND_MIN: u64 = 32 * 1024;
/// Frames up to this size are read without waiting for others.
const SMALL_FRAME_BYTES: usize = 16 * 1024;
/// Larger frames that are read at once on one connection, so that no peer can take the places of all others.
const LARGE_PER_CONNECTION_MAX: usize = 4;
/// Larger requests that are read at once on all connections: 128 MiB.
const LARGE_REQUESTS_MAX: usize = 256;
/// Larger responses that are read at once: 128 MiB. Only peers that were asked send any.
const LARGE_RESPONSES_MAX: usize = 32;

/// What is wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// It announces more than allowed.
    #[error("the frame announces {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes announced.
        bytes: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// It is whole, and no message.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// It comes too slowly.
    #[error("the frame did not arrive within {0:?}")]
    Slow(Duration),
}

impl FrameError {
    /// What a peer that sends such a frame has done.
    pub(super) fn offence(&self) -> Offence {
        match self {
            Self::TooLarge { .. } => Offence::OversizedFrame,
            Self::Malformed(_) => Offence::MalformedFrame,
            Self::Slow(_) => Offence::SlowFrame,
        }
    }

    /// The frame error behind an I/O error, if there is one: all others are the connection's.
    pub(super) fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        let kind = match error {
            FrameError::Slow(_) => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// A message, and how many bytes it came in.
#[derive(Debug)]
pub(super) struct Framed<T> {
    pub(super) message: T,
    /// Zero for a message that is to be sent.
    pub(super) bytes: usize,
}

/// A request, or what came in place of one. The behaviour keeps it to itself when a request cannot be read, and a bad frame
/// is to be held against its sender.
#[derive(Debug)]
pub(super) enum Direct {
    /// A request.
    Whole(Framed<Request>),
    /// No request.
    Bad(FrameError),
}

/// The codec of direct requests. The behaviour clones its own for each connection, which clones that for each stream.
pub(super) struct DirectCodec {
    /// Time for the first bytes of a request, once its stream is open, and for a small frame.
    patience: Duration,
    large_requests: Arc<Semaphore>,
    large_responses: Arc<Semaphore>,
    /// The connection's places for large frames; none in the behaviour's own codec.
    on_connection: Option<Arc<Semaphore>>,
}

impl Clone for DirectCodec {
    fn clone(&self) -> Self {
        let own = || Arc::new(Semaphore::new(LARGE_PER_CONNECTION_MAX));
        Self {
            patience: self.patience,
            large_requests: self.large_requests.clone(),
            large_responses: self.large_responses.clone(),
            on_connection: Some(self.on_connection.clone().unwrap_or_else(own)),
        }
    }
}

impl DirectCodec {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            large_requests: Arc::new(Semaphore::new(LARGE_REQUESTS_MAX)),
            large_responses: Arc::new(Semaphore::new(LARGE_RESPONSES_MAX)),
            on_connection: None,
        }
    }
}

impl DirectCodec {
    async fn read_framed(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Framed<Request>> {
        let length = timeout(self.patience, read_length(stream, REQUEST_BYTES_MAX))
            .await
            .map_err(|_| FrameError::Slow(self.patience))??;
        let body = self.read_body(stream, length, &self.large_requests).await?;
        let message = decode_body(&body)?;
        let bytes = body.len();
        Ok(Framed { message, bytes })
    }

    async fn read_body(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        length: usize,
        large: &Semaphore,
    ) -> io::Result<Vec<u8>> {
        // The time that others take does not count: a place is had within the time of the slowest of them.
        let mut places = Vec::new();
        if length > SMALL_FRAME_BYTES {
            for bound in self.on_connection.iter().map(Arc::as_ref).chain([large]) {
                places.push(bound.acquire().await.map_err(io::Error::other)?);
            }
        }
        let limit = self.patience + Duration::from_secs(length as u64 / BYTES_PER_SECOND_MIN);
        timeout(limit, read_exactly(stream, length))
            .await
            .map_err(|_| FrameError::Slow(limit))?
    }
}

impl Codec for DirectCodec {
    type Protocol = StreamProtocol;
    type Request = Direct;
    type Response = Response;

    async fn read_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        match self.read_framed(stream).await {
            Ok(framed) => Ok(Direct::Whole(framed)),
            Err(error) => error.downcast().map(Direct::Bad),
        }
    }

    async fn read_response<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        // The answer may take as long as the request may: the work is done in between.
        let length = read_length(stream, RESPONSE_BYTES_MAX).await?;
        let body = self
            .read_body(stream, length, &self.large_responses)
            .await?;
        Ok(decode_body(&body)?)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match request {
            Direct::Whole(framed) => write(stream, &framed.message, REQUEST_BYTES_MAX).await,
            // Only received, never sent.
            Direct::Bad(frame) => Err(frame.into()),
        }
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        response: Self::Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(stream, &response, RESPONSE_BYTES_MAX).await
    }
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin), max: u64) -> io::Result<usize> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let bytes = u64::from(u32::from_be_bytes(head));
    if bytes > max {
        return Err(FrameError::TooLarge { bytes, max }.into());
    }
    // At most some megabytes.
    Ok(bytes as usize)
}

/// Reads so many bytes. The buffer grows as they come.
async fn read_exactly(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < length {
        let begin = body.len();
        let end = length.min((2 * begin).max(SMALL_FRAME_BYTES));
        body.resize(end, 0);
        let mut filled = begin;
        while filled < end {
            match stream.read(&mut body[filled..end]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
    }
    Ok(body)
}

fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    Ok(decode(body)?)
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
    max: u64,
) -> io::Result<()> {
    let body = encode(message);
    let bytes = body.len() as u64;
    let head = match u32::try_from(bytes) {
        Ok(head) if bytes <= max => head,
        // No frame error: those are held against the other side.
        _ => {
            let reason = format!("the message has {bytes} bytes, at most {max} can be sent");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
    };
    stream.write_all(&head.to_be_bytes()).await?;
    stream.write_all(&body).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;
    use futures::FutureExt;
    use futures::io::Cursor;
    use proptest::prelude::*;

    fn protocol() -> StreamProtocol {
        StreamProtocol::new("/test")
    }

    fn codec() -> DirectCodec {
        DirectCodec::new(Duration::from_millis(20))
    }

    /// For what is there at once.
    fn run<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("nothing to wait for")
    }

    fn read(bytes: &[u8]) -> io::Result<Framed<Request>> {
        let mut stream = Cursor::new(bytes);
        run(codec().read_framed(&mut stream))
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), body].concat()
    }

    fn offence(error: &io::Error) -> Option<Offence> {
        FrameError::within(error).map(FrameError::offence)
    }

    #[tokio::test]
    async fn a_request_comes_back_with_its_size() {
        let message = Request::Role {
            nonce: B256::repeat_byte(7),
        };
        let mut wire = Cursor::new(Vec::new());
        let sent = Framed { message, bytes: 0 };
        let sent = Direct::Whole(sent);
        run(codec().write_request(&protocol(), &mut wire, sent)).expect("written");
        let wire = wire.into_inner();
        let found = read(&wire).expect("read");
        assert!(matches!(found.message, Request::Role { nonce } if nonce == B256::repeat_byte(7)));
        assert_eq!(found.bytes + 4, wire.len());
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_frame_is_told_apart() {
        let garbage = read(&frame(b"no request")).expect_err("refused");
        assert_eq!(offence(&garbage), Some(Offence::MalformedFrame));
        let mut stream = Cursor::new(frame(b"no request"));
        let told = run(codec().read_request(&protocol(), &mut stream));
        assert!(
            matches!(told, Ok(Direct::Bad(FrameError::Malformed(_)))),
            "an error would not reach whoever holds it against the peer: {told:?}"
        );
        let huge = read(&u32::MAX.to_be_bytes()).expect_err("refused");
        assert_eq!(offence(&huge), Some(Offence::OversizedFrame));
        // What a lost connection does is nobody's offence.
        let whole = frame(&encode(&Request::ReceiptIds { after: B256::ZERO }));
        for cut in 0..whole.len() {
            let error = read(&whole[..cut]).expect_err("refused");
            assert_eq!(offence(&error), None, "{error}");
        }
        let mut trailing = encode(&Request::ReceiptIds { after: B256::ZERO });
        trailing.push(0);
        let trailing = read(&frame(&trailing)).expect_err("refused");
        assert_eq!(offence(&trailing), Some(Offence::MalformedFrame));
    }

    /// A stream on which nothing more comes.
    struct Stalled(Cursor<Vec<u8>>);

    impl AsyncRead for Stalled {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            match std::pin::Pin::new(&mut self.0).poll_read(context, buffer) {
                std::task::Poll::Ready(Ok(0)) => std::task::Poll::Pending,
                other => other,
            }
        }
    }

    #[tokio::test]
    async fn a_frame_that_does_not_come_is_given_up() {
        for head in [vec![], vec![0, 0], frame(&[0; 100])[..20].to_vec()] {
            let mut stream = Stalled(Cursor::new(head));
            let error = codec()
                .read_framed(&mut stream)
                .await
                .expect_err("given up");
            assert_eq!(offence(&error), Some(Offence::SlowFrame));
        }
    }

    #[test]
    fn a_connection_has_places_of_its_own_for_large_frames() {
        let own = codec();
        let (connection, other) = (own.clone(), own.clone());
        let stream = connection.clone();
        let places = |codec: &DirectCodec| {
            let places = codec.on_connection.as_ref().expect("a connection's");
            places.available_permits()
        };
        let held = stream.on_connection.as_ref().expect("a connection's");
        let _held = held.try_acquire_many(4).expect("all of them");
        assert_eq!((places(&connection), places(&other)), (0, 4));
    }

    #[tokio::test]
    async fn arbitrary_bytes_are_an_error_or_a_message() {
        proptest!(ProptestConfig::with_cases(256), |(bytes in proptest::collection::vec(any::<u8>(), 0..2_000))| {
            let _ = read(&bytes);
            let _ = read(&frame(&bytes));
            let mut stream = Cursor::new(frame(&bytes));
            let _ = run(codec().read_response(&protocol(), &mut stream));
        });
    }

    #[tokio::test]
    async fn a_changed_frame_is_an_error_or_a_message() {
        let whole = frame(&encode(&Request::Role {
            nonce: B256::repeat_byte(3),
        }));
        proptest!(ProptestConfig::with_cases(256), |(at: prop::sample::Index, to: u8)| {
            let mut bytes = whole.clone();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = read(&bytes);
        });
    }
}
