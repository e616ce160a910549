//! A double of the Azure Functions host, for apps with a custom handler.
//!
//! **It is a simulation of the documented contract**, and of what the sources of host 4.1037 and storage
//! extension 5.3 say beyond it. `cargo xtask real-host` runs the real listeners beside it and compares what they send
//! to the worker and do to the queues. Where the two differ, the double is wrong.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use softlabel_doubles::azurite::Azurite;
//! use softlabel_doubles::functions_host::{Chaos, Host, Options};
//! use softlabel_doubles::until;
//!
//! let account = Azurite::shared().await?.account()?;
//! let options = Options {
//!     // A message of a crashed host comes back after 2 s, not 10 minutes; and so on.
//!     lease: Duration::from_secs(2),
//!     singleton_lease: Duration::from_secs(1),
//!     blob_polling: Duration::from_millis(50),
//!     timer_periods: [("reconcile".to_owned(), Duration::from_millis(200))].into(),
//!     chaos: Chaos { seed: 7, twice_at_once: 0.1, ..Chaos::default() },
//!     // A folder with host.json, the executable that it names, and <name>/function.json.
//!     ..Options::new("target/package")
//! }
//! .setting("AzureWebJobsStorage", account.connection_string())
//! // What host.json says is changed by settings, as in Azure.
//! .setting("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:01");
//! let host = Host::start(options.clone()).await?;
//! let other_instance_of_the_app = Host::start(options).await?;
//! // … put blobs and messages into `account.storage()`, call `host.endpoint()` …
//! host.kill_worker().await;
//! let done = async || Ok(host.invocations().iter().any(|it| it.ended.is_some()));
//! until(Duration::from_secs(60), "something was executed", done).await?;
//! other_instance_of_the_app.crash().await;
//! host.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it models
//!
//! * **The worker**: its start with port and settings in its environment, `GET /` every 25 ms, restarts
//!   (after every exit but 0, and after a start that takes too long; the third of these in a row stops the host),
//!   exit 0 that leaves a dead worker, exit 200 that asks for a restart, its end by SIGKILL, the levels of its
//!   lines.
//! * **Invocations**: requests in chunks, values doubly encoded, metadata; answers that count and answers that
//!   do not, the empty one that hangs; the function's time, after which the worker is replaced and all that
//!   it was doing fails. Functions that wake while the worker starts wait.
//! * **Queues**: polling with growing waits (cut short when the same host sends a message there), batches,
//!   concurrency per function, leases and their renewal, retries, poison queues, encodings. A queue whose name ends
//!   in `-poison` has no poison queue: a message that fails there stays invisible for its lease, and is not handed
//!   over again after `maxDequeueCount` deliveries.
//! * **Blobs**: scans by one host at a time, receipts, a queue of what was found, poison. Names in a pattern
//!   match slashes. With Event Grid as the source a webhook takes the place of scans, receipts and the look at the
//!   ETag.
//! * **Timers**: schedules, one host at a time, occurrences that were missed.
//! * **HTTP**: routes, keys, answers from outputs. As in the host, a wrong method is 404, not 405.
//! * **Outputs** to queues and HTTP, all bindings at once, with what happens to strings that look like base64 or JSON, and the limit
//!   of 64 KB.
//! * `host.json` with the settings `AzureFunctionsJobHost__…` that change it; `%NAME%` in bindings;
//!   connections by connection string.
//!
//! # What it does not model
//!
//! * Drain mode, specialization, slots. Scaling only as far as [`Groups`] has it; otherwise tests start as many
//!   hosts as they want, and each runs every function.
//! * Connections by identity, because Azurite is used by key here. Other triggers and outputs, input
//!   bindings, keys of the webhook, retry policies, constraints in routes, `admin` URLs, keys
//!   kept in storage, the front end's limit of 230 s for HTTP.
//! * The random fifth by which the real host varies the waits of its polling; the storage logs that it reads
//!   to find blobs; dynamic concurrency; logs to Application Insights.
//! * Dates inside messages, which .NET rewrites when they replace metadata of the same name.

mod answer;
mod app;
mod blob_path;
mod blob_trigger;
mod chaos;
mod function;
mod groups;
mod host;
mod http_trigger;
mod instance;
mod launch;
mod lines;
mod log;
mod options;
mod outputs;
mod payload;
mod queue_listener;
mod queue_trigger;
mod route;
mod schedule;
mod settings;
mod singleton;
mod time_span;
mod timer_trigger;
mod webhook;
mod worker;

pub use chaos::Chaos;
pub use groups::{Groups, Scaling};
pub use host::Host;
pub use lines::{Level, Line};
pub use log::{Invocation, Outcome};
pub use options::Options;
