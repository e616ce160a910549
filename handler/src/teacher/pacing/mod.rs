//! Pacing: when a call may go, so that a deployment's quota is used and not overrun. Pure: time is
//! passed in, nothing here waits, sends or stores.
//!
//! # What the service counts
//!
//! A request is charged **when it arrives**: its prompt and its longest answer, whatever is billed
//! later, and whether it succeeds or not. Requests are checked over windows of one and of ten seconds,
//! tokens by the minute. So a call takes the same from the allowance before it goes, and calls go as an
//! even stream from the first second on: [`Pacer`] holds the next call back until the one before it
//! is paid for. There is no saved-up burst at the start, nor after a pause, nor from a process that
//! takes a dead one's place. Calls ask in the order in which they came, so a large one waits for its
//! turn and no longer, and those behind it wait with it.
//!
//! The allowance follows what the service says: a limit in its headers, down and up again, never
//! above what is configured; what remains of its minute, which also shows what others take and
//! where our counts differ from its; and 429s, which lower allowance and calls in flight by a quarter,
//! a burst of them once, whereupon both grow back, carefully near where the trouble came.
//!
//! # Several processes
//!
//! Whatever their number, together they keep within the quota, and one alone uses all of it. They
//! come and go without notice, and share nothing but blobs. Two ways were weighed:
//!
//! * **Time slots claimed by compare-and-swap in one blob.** The record is one number, the time up to
//!   which the quota is taken, and who needs some moves it on. Nothing is lost with a dead process
//!   but its slot. But within a slot one process must use all of the quota, which its cap of calls in
//!   flight may not allow; a process with little to send waits for its slot, or wastes most of it; slots
//!   of a second need clocks that agree to milliseconds, and some 3,600 swaps an hour however idle
//!   all are.
//! * **Leases on shares, in one blob changed by compare-and-swap** ([`shares`]). Each process holds a
//!   share of the quota until a moment not far off and renews it before. All send all the time, so
//!   all see the service's headers; clocks may differ by two seconds. A dead one's share is idle
//!   until its lease is over, and streams of several are a little less even than one: where requests
//!   are short, 16 processes meet 429 once in 2,000 calls.
//!
//! The second it is. It costs each process that sends some **760 reads and 760 swaps an hour**, 910
//! where sixteen meet at the record and one swap in seven is lost to another, and none while it is
//! idle (`cargo xtask pacing` counts them). A dead process's share is free **14 seconds** after its last
//! renewal (12 of lease, 2 for clocks that differ), 11.5 after its death on average; one that leaves
//! gives it back at once. A new one has its fair share when the others have renewed theirs: within six
//! seconds. A pause that the service asks for holds for all callers of a process; another process meets a
//! 429 of its own.

mod adaptive;
mod demand;
mod lane;
mod minute;
mod pacer;
#[cfg(test)]
mod properties;
mod quota;
pub mod shares;

pub use pacer::{Concurrency, Pacer, Ready, Sent};
pub use quota::{Quota, RateLimitHeaders};
