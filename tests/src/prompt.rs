//! What the app's calls are about, as its prompts tell.

use crate::azure_openai::Record;

/// The probe, which settles the request parameters and belongs to no dataset, is about this.
pub const PROBE: &str = "Thanks, that worked!";

/// The message that a call is about, of which the log kept the body.
pub fn message(call: &Record) -> Option<&str> {
    let (_, rest) = call
        .user_text
        .as_deref()?
        .split_once(" Message to label>>>\n")?;
    let (message, _) = rest.split_once("\n<<<END ")?;
    Some(message.trim())
}

/// Whether a call is about no turn, but settles the request parameters.
pub fn is_probe(call: &Record) -> bool {
    message(call) == Some(PROBE)
}
