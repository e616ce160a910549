//! Service time: the time that the simulated service lives in, possibly faster than real time.

use std::time::Duration;

use tokio::time::Instant;

/// Maps real time to service time. Changing the speed keeps the service time continuous.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    since: Instant,
    base: Duration,
    speed: f64,
}

impl Clock {
    pub(super) fn start(speed: f64) -> Self {
        Self {
            since: Instant::now(),
            base: Duration::ZERO,
            speed,
        }
    }

    pub(super) fn with_speed(self, speed: f64) -> Self {
        Self {
            since: Instant::now(),
            base: self.now(),
            speed,
        }
    }

    /// Service time since the start.
    pub(super) fn now(&self) -> Duration {
        self.base + self.since.elapsed().mul_f64(self.speed)
    }

    /// How long a stretch of service time takes for those outside.
    pub(super) fn real(&self, service: Duration) -> Duration {
        Duration::try_from_secs_f64(service.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }

    pub(super) async fn sleep(&self, service: Duration) {
        tokio::time::sleep(self.real(service)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_compressed_and_stays_continuous() {
        let clock = Clock::start(60.0);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), Duration::from_secs(120));
        let clock = clock.with_speed(1.0);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Duration::from_secs(125));
        assert_eq!(
            Clock::start(60.0).real(Duration::from_secs(60)),
            Duration::from_secs(1)
        );
    }
}
