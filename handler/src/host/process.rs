//! The Functions host's process, which started this one.

use std::time::Duration;
use xxhash_rust::xxh3::Xxh3Default;

/// How often this process looks whether the host that started it is there.
const LOOK: Duration = Duration::from_secs(2);

/// What the platform calls the machine that an instance runs on.
const MACHINE: [&str; 3] = ["WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "CONTAINER_NAME"];

/// What Linux calls it, and when it began.
const MACHINE_FILES: [&str; 2] = [
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/random/boot_id",
];

/// The id of the process that started this one; `None` if it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostProcess(Option<u32>);

impl HostProcess {
    /// The host of this process. Ask early: a host that is already gone cannot be noticed later.
    pub fn of_process() -> Self {
        #[cfg(unix)]
        return Self(Some(std::os::unix::process::parent_id()));
        #[cfg(not(unix))]
        Self(None)
    }

    /// A name that is unique over machines and time, as far as the system allows. All workers that the
    /// host starts get the same name.
    pub fn name(self) -> String {
        let mut hash = Xxh3Default::new();
        let mut add = |part: &str| {
            hash.update(part.as_bytes());
            hash.update(b"\0");
        };
        for name in MACHINE {
            add(&std::env::var(name).unwrap_or_default());
        }
        for file in MACHINE_FILES {
            add(&std::fs::read_to_string(file).unwrap_or_default());
        }
        if let Some(id) = self.0 {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // Ids are used again: the time at which it began is the twentieth field after its name.
            let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
            add(&id.to_string());
            add(fields.split(' ').nth(19).unwrap_or_default());
        }
        format!("{:016x}", hash.digest())
    }

    /// Returns when the host has ended. A killed host sends no signal, and answers that its worker paid
    /// for after that would be lost. The kernel's parent-death signal is no help: it also comes when only
    /// the thread that started this process ends.
    pub async fn gone(self) {
        if self.0.is_none() {
            return std::future::pending().await;
        }
        while Self::of_process() == self {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_name() {
        let host = HostProcess::of_process();
        assert_eq!(host.name(), HostProcess::of_process().name());
        assert_ne!(host.name(), HostProcess(Some(1)).name());
        assert_eq!(host.name().len(), 16);
    }
}
