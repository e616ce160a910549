//! What goes wrong on purpose.

use std::time::Duration;

/// Rates, from 0 (never, the default) to 1 (always), of things that go wrong, each drawn anew for every
/// message and attempt from the seed: the same seed does the same to the same messages, whatever the
/// order in which they come.
///
/// All of it happens in the real system: queues deliver at least once, Event Grid and networks lose and
/// delay, hosts die between two steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chaos {
    /// What the draws start from.
    pub seed: u64,
    /// A message is delivered twice at the same time.
    pub twice_at_once: f64,
    /// A message is delivered again, after it was worked on.
    pub again_later: f64,
    /// A message is held back before it is delivered, for up to `longest_delay`.
    pub late: f64,
    /// The longest time that a message is held back.
    pub longest_delay: Duration,
    /// A message is acknowledged and never delivered.
    pub lost: f64,
    /// The messages of one batch are worked on, and those of one output sent, in another order.
    pub reordered: f64,
    /// A message that a function sends is not sent.
    pub lost_output: f64,
    /// A function succeeds, and nothing of what it sends is sent.
    pub lost_outputs: f64,
    /// A function succeeds, and the host takes it for a failure: nothing is sent, and its message comes again.
    pub lost_answer: f64,
}
