//! Answer bodies that arrive whole, by halves or in drops.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::log::Ticket;

/// Pieces that a slow body is cut into.
const SLOW_PIECES: usize = 20;

/// A body that tells its request's ticket when the last byte has been handed over.
pub(super) struct AnswerBody {
    rest: Bytes,
    manner: Manner,
    ticket: Option<Ticket>,
}

enum Manner {
    Whole,
    /// Bytes still to send before the connection ends, and whether they were given time to leave.
    Half {
        left: usize,
        flushed: bool,
    },
    Slow {
        piece: usize,
        pause: Duration,
        sleep: Pin<Box<Sleep>>,
    },
}

impl AnswerBody {
    pub(super) fn whole(bytes: Bytes, ticket: Ticket) -> Self {
        Self {
            rest: bytes,
            manner: Manner::Whole,
            ticket: Some(ticket),
        }
    }

    pub(super) fn half(bytes: Bytes, ticket: Ticket) -> Self {
        let left = bytes.len() / 2;
        Self {
            rest: bytes,
            manner: Manner::Half {
                left,
                flushed: false,
            },
            ticket: Some(ticket),
        }
    }

    /// Spreads the body over a stretch of real time.
    pub(super) fn slow(bytes: Bytes, ticket: Ticket, over: Duration) -> Self {
        let piece = bytes.len().div_ceil(SLOW_PIECES).max(1);
        let pause = over / SLOW_PIECES as u32;
        let sleep = Box::pin(tokio::time::sleep(pause));
        Self {
            rest: bytes,
            manner: Manner::Slow {
                piece,
                pause,
                sleep,
            },
            ticket: Some(ticket),
        }
    }

    fn hand_over(&mut self, len: usize) -> Frame<Bytes> {
        let piece = self.rest.split_to(len.min(self.rest.len()));
        if self.rest.is_empty()
            && let Some(mut ticket) = self.ticket.take()
        {
            ticket.sent();
        }
        Frame::data(piece)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let len = match &mut this.manner {
            Manner::Whole => this.rest.len(),
            Manner::Half { left: 0, flushed } => {
                if *flushed {
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
                }
                // Not ready for one turn, so that the server writes out the half that it has.
                *flushed = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Manner::Half { left, .. } => std::mem::take(left),
            Manner::Slow {
                piece,
                pause,
                sleep,
            } => {
                ready!(sleep.as_mut().poll(cx));
                if this.ticket.as_ref().is_some_and(Ticket::is_stopping) {
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
                }
                sleep.as_mut().reset(Instant::now() + *pause);
                *piece
            }
        };
        Poll::Ready(Some(Ok(this.hand_over(len))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
