//! How many files this process may have open, connections included.

use std::fmt;

/// Files of the runtime, locks and logs, and files that are open for an instant.
const RESERVE: usize = 64;

/// A step has a part or a draft open, and may read another file.
const PER_STEP: usize = 2;

/// The most that softlabel needs, and the most that macOS accepts when it reports no limit.
#[cfg(unix)]
const ENOUGH: u64 = 10_240;

/// The limit, after it was raised as far as it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFiles(usize);

impl OpenFiles {
    /// Raises the soft limit to the hard limit.
    #[cfg(unix)]
    pub(super) fn raise() -> Self {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let before = getrlimit(Resource::Nofile);
        let mut raised = before;
        raised.current = before.maximum;
        // If that is refused, a lower limit may be accepted.
        if setrlimit(Resource::Nofile, raised).is_err()
            && before.current.is_some_and(|current| current < ENOUGH)
        {
            raised.current = Some(ENOUGH);
            if let Err(error) = setrlimit(Resource::Nofile, raised) {
                tracing::debug!(%error, "the limit on open files stays as it is");
            }
        }
        let limit = getrlimit(Resource::Nofile).current;
        Self(limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        }))
    }

    #[cfg(not(unix))]
    pub(super) fn raise() -> Self {
        Self(usize::MAX)
    }

    /// Calls that may be in flight: each has a connection, and may be the only one of a step.
    pub(super) fn calls(self) -> u32 {
        let calls = self.0.saturating_sub(RESERVE) / (1 + PER_STEP);
        u32::try_from(calls).unwrap_or(u32::MAX).max(1)
    }

    /// Steps that may be under way beside `calls`.
    pub(super) fn steps(self, calls: u32) -> usize {
        let calls = usize::try_from(calls).unwrap_or(usize::MAX);
        let left = self.0.saturating_sub(RESERVE).saturating_sub(calls);
        (left / PER_STEP).max(1)
    }
}

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_steps_keep_to_the_limit() {
        for limit in [100, 256, 1024, 4096, 1 << 20] {
            let open = OpenFiles(limit);
            for wanted in [1, 50, 1000, 10_000] {
                let calls = wanted.min(open.calls());
                let files = calls as usize + PER_STEP * open.steps(calls) + RESERVE;
                assert!(files <= limit, "{limit}: {calls} calls");
                assert!(
                    open.steps(calls) >= calls as usize,
                    "{limit}: {calls} calls"
                );
            }
        }
        let least = OpenFiles(3);
        assert_eq!((least.calls(), least.steps(1)), (1, 1));
        let endless = OpenFiles(usize::MAX);
        assert_eq!(endless.calls(), u32::MAX);
    }

    #[cfg(unix)]
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let OpenFiles(raised) = OpenFiles::raise();
        let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let soft = limits.current.map_or(usize::MAX, |limit| limit as usize);
        assert_eq!(soft, raised);
        assert!(limits.current == limits.maximum || raised >= ENOUGH as usize);
    }
}
