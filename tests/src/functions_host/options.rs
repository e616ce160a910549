//! How a host is started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::chaos::Chaos;

/// What a host is to run, and how fast its clocks go. The defaults are the real host's.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The folder with `host.json` and `<name>/function.json`, as a package has them at its root.
    pub root: PathBuf,
    /// The functions that this host runs, by name; all of them where it is empty. On Flex Consumption an
    /// instance runs those of one group: see [`Groups`](super::Groups).
    pub functions: Vec<String>,
    /// The app's settings. They are the worker's environment, fill in `%NAME%` in bindings, hold the
    /// connections, and override `host.json` where they are called `AzureFunctionsJobHost__part__name`.
    pub settings: BTreeMap<String, String>,
    /// The key that opens functions with the level `function`.
    pub function_key: String,
    /// How long a received message belongs to this host, until it is renewed at half of that time. At
    /// least a second, and whole seconds: queues know no others.
    pub lease: Duration,
    /// How long a timer or a scan of containers belongs to one of several hosts after that host crashed.
    pub singleton_lease: Duration,
    /// Time between two scans of a blob trigger's container.
    pub blob_polling: Duration,
    /// Runs timers so often, by the function's name, whatever their schedule is.
    pub timer_periods: BTreeMap<String, Duration>,
    /// How long a worker has to answer `GET /`.
    pub initialization_timeout: Duration,
    /// An exit of a worker, and a start of one that does not answer in time, counts together with the one before
    /// it if no more than this lies between them; the third stops the host.
    pub exit_window: Duration,
    /// How long [`Host::stop`](super::Host::stop) waits for functions that run.
    pub grace: Duration,
    /// Lines of the worker that are kept, the newest.
    pub lines_kept: usize,
    /// Prints the worker's lines to stderr as they come.
    pub echo: bool,
    /// What goes wrong on purpose.
    pub chaos: Chaos,
}

impl Options {
    /// The real host's times, no settings, nothing going wrong.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            functions: Vec::new(),
            settings: BTreeMap::new(),
            function_key: "the-function-key-of-the-double".to_owned(),
            lease: Duration::from_secs(10 * 60),
            singleton_lease: Duration::from_secs(60),
            blob_polling: Duration::from_secs(10),
            timer_periods: BTreeMap::new(),
            initialization_timeout: Duration::from_secs(30),
            exit_window: Duration::from_secs(30 * 60),
            grace: Duration::from_secs(10),
            lines_kept: 20_000,
            echo: false,
            chaos: Chaos::default(),
        }
    }

    /// Adds a setting, or changes it.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }
}
