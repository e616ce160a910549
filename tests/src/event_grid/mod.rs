//! A double of Event Grid, as far as it says that blobs were written or deleted.
//!
//! **It is a simulation of documents**: nobody compared it with the service itself.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use softlabel_doubles::azurite::Azurite;
//! use softlabel_doubles::event_grid::{EventGrid, Filter, Options};
//!
//! let storage = Azurite::shared().await?.account()?.storage();
//! storage.queue("written").create().await?;
//! let filter: Filter = serde_json::from_str(r#"{ "subjectEndsWith": ".json" }"#)?;
//! let options = Options::new(storage.container("raw"), filter, storage.queue("written"));
//! let _events = EventGrid::start(options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it models
//!
//! A system topic of a storage account with one subscription whose destination is a queue or a webhook: events in
//! the Event Grid schema, one in a message, in base64, or one in a request, after a handshake and again where
//! they are not taken; the subscription's filter, written as in a template; and, where
//! a test wants it, that events come twice, late, in another order or never.
//!
//! It learns of blobs by listing their container again and again. What was there when it started causes no
//! event, and what is written twice between two looks causes one.
//!
//! # What it does not model
//!
//! Other sources, destinations and schemas; dead letters; retries beyond ten minutes; batches; hierarchical namespaces with
//! their `FlushWithClose`; filters by numbers, truths and absence. A blob whose metadata is set within a
//! second after it was written causes a second event.

mod destination;
mod event;
mod filter;
mod watch;

pub use destination::{Destination, Webhook};
pub use filter::{AdvancedFilter, Filter, Operator};
pub use watch::{Delivery, EventGrid, Faults, Options};
