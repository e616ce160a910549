//! SIGINT and SIGTERM: the first signal lets calls in flight finish, the second ends the process at once.

use super::Exit;
use super::screen::Screen;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use tokio_util::sync::CancellationToken;

/// The number of the first signal, 0 while none came.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopped(Arc<AtomicU8>);

impl Stopped {
    /// How a run that was stopped ends, if one was.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.0.load(Relaxed) {
            0 => None,
            number => Some(Exit::Signal(number)),
        }
    }
}

impl Signals {
    /// Waits for a signal, and gives the exit of a process that has nothing to finish.
    pub(super) async fn first(&mut self) -> Exit {
        match self.next().await {
            Some(number) => Exit::Signal(number),
            // Signals cannot be caught.
            None => std::future::pending().await,
        }
    }

    /// Watches on; the first signal from now cancels `stop`.
    pub(super) fn watch(mut self, screen: &Screen, stop: CancellationToken) -> Stopped {
        let stopped = Stopped::default();
        let (first, screen) = (stopped.clone(), screen.clone());
        tokio::spawn(async move {
            while let Some(number) = self.next().await {
                screen.interrupted();
                if first.0.swap(number, Relaxed) != 0 {
                    screen.clear();
                    std::process::exit(i32::from(Exit::Signal(number).code()));
                }
                stop.cancel();
                screen.line(
                    "stopping once the calls in flight are finished; a second signal stops at once",
                );
            }
        });
        stopped
    }
}

/// Listens once, so that no signal between two of them is lost.
#[cfg(unix)]
pub(super) struct Signals(Option<[tokio::signal::unix::Signal; 2]>);

#[cfg(unix)]
impl Signals {
    /// Catches signals from now on.
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = || {
            Ok([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ])
        };
        Self(
            listen()
                .inspect_err(|error: &std::io::Error| {
                    tracing::warn!(%error, "signals cannot be caught: they stop the run at once");
                })
                .ok(),
        )
    }

    /// SIGINT (2) or SIGTERM (15).
    async fn next(&mut self) -> Option<u8> {
        let [interrupt, terminate] = self.0.as_mut()?;
        tokio::select! {
            _ = interrupt.recv() => Some(2),
            _ = terminate.recv() => Some(15),
        }
    }
}

/// Listens once.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Catches signals from now on.
    pub(super) fn listen() -> Self {
        Self
    }

    async fn next(&mut self) -> Option<u8> {
        tokio::signal::ctrl_c().await.ok().map(|()| 2)
    }
}
