//! A body that ends too early.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Passes a body on until it breaks off.
pub(super) struct CutBody {
    body: axum::body::Body,
    left: u64,
    flushed: bool,
}

impl CutBody {
    pub(super) fn new(body: axum::body::Body, after: u64) -> Self {
        Self {
            body,
            left: after,
            flushed: false,
        }
    }
}

impl Body for CutBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            if self.flushed {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            // Not ready for one turn, so that the server writes out what it has.
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Some(frame) = frame.transpose().map_err(io::Error::other)? else {
            return Poll::Ready(None);
        };
        let Ok(mut data) = frame.into_data() else {
            return Poll::Ready(None);
        };
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
