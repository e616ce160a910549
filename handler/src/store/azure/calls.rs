//! Sends a request until it is answered: each try has a time-out, tries are few, with waits between.
//!
//! The SDK's own retries are switched off. They have no time-out a try, and they do not tell that an
//! earlier try may have taken effect. A request that must not take effect twice has to be conditional,
//! and its sender has to recognise its own success in a refusal.

use super::Tuning;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::StatusCode;
use std::time::Duration;
use tokio_retry::strategy::{ExponentialBackoff, jitter};

#[derive(Clone, Debug)]
pub(super) struct Calls(pub(super) Tuning);

impl Calls {
    /// The same with a shorter time-out, where something is due earlier.
    pub(super) fn within(&self, timeout: Duration) -> Self {
        Self(Tuning {
            timeout: timeout.min(self.0.timeout),
            ..self.0.clone()
        })
    }

    /// The waits between tries, with full jitter; one fewer than there are tries.
    pub(super) fn waits(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        // `from_millis(2)` doubles, `factor` scales the first wait of 2.
        let half = self.0.first_wait.as_millis() / 2;
        ExponentialBackoff::from_millis(2)
            .factor(u64::try_from(half).unwrap_or(u64::MAX).max(1))
            .max_delay(self.0.longest_wait)
            .map(jitter)
            .take(self.0.tries.saturating_sub(1))
    }

    /// Sends until there is an answer that another try would not change.
    ///
    /// # Errors
    /// The last answer, or why there was none. After an error an earlier try may have taken effect.
    pub(super) async fn send<T, F>(&self, call: impl Fn() -> F) -> azure_core::Result<T>
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        let mut waits = self.waits();
        loop {
            let error = match tokio::time::timeout(self.0.timeout, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => self.too_late(),
            };
            let Some(wait) = waits.next().filter(|_| may_pass(&error)) else {
                return Err(error);
            };
            tracing::debug!(%error, wait_ms = wait.as_millis() as u64, "storage is asked again");
            tokio::time::sleep(wait).await;
        }
    }

    pub(super) fn too_late(&self) -> Error {
        let text = format!("no answer within {} s", self.0.timeout.as_secs_f64());
        Error::with_message(ErrorKind::Io, text)
    }
}

/// Whether the same request may fare better a little later.
pub(super) fn may_pass(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Connection => true,
        ErrorKind::HttpResponse { status, .. } => matches!(
            status,
            StatusCode::RequestTimeout
                | StatusCode::TooManyRequests
                | StatusCode::InternalServerError
                | StatusCode::BadGateway
                | StatusCode::ServiceUnavailable
                | StatusCode::GatewayTimeout
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::pending;

    fn calls() -> Calls {
        Calls(Tuning {
            timeout: Duration::from_secs(30),
            tries: 3,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(8),
            ..Tuning::default()
        })
    }

    fn status(status: u16) -> Error {
        ErrorKind::HttpResponse {
            status: status.into(),
            error_code: None,
            raw_response: None,
        }
        .into_error()
    }

    async fn send(answers: Vec<azure_core::Result<u8>>) -> (azure_core::Result<u8>, usize) {
        let left = RefCell::new(answers.into_iter());
        let result = calls()
            .send(|| {
                let next = left.borrow_mut().next();
                async { next.unwrap() }
            })
            .await;
        (result, left.into_inner().count())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_sent_again() {
        let broken = Error::with_message(ErrorKind::Io, "broken");
        let (result, left) = send(vec![Err(broken), Err(status(503)), Ok(7)]).await;
        assert_eq!((result.unwrap(), left), (7, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted_and_the_last_answer_is_told() {
        let answers = vec![Err(status(500)), Err(status(500)), Err(status(503)), Ok(7)];
        let (result, left) = send(answers).await;
        let error = result.unwrap_err();
        assert_eq!(error.http_status(), Some(StatusCode::ServiceUnavailable));
        assert_eq!(left, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_told_at_once() {
        for code in [400, 403, 404, 409, 412, 416, 501] {
            let (result, left) = send(vec![Err(status(code)), Ok(7)]).await;
            assert_eq!((result.is_err(), left), (true, 1), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_is_waited_for_for_ever() {
        let started = tokio::time::Instant::now();
        let error = calls()
            .send(pending::<azure_core::Result<()>>)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("no answer within 30 s"),
            "{error}"
        );
        let took = started.elapsed();
        assert!(
            took >= Duration::from_secs(90) && took < Duration::from_secs(94),
            "{took:?}"
        );
    }
}
