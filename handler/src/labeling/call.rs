//! What a labelling call asks of the model, whichever model it is. The teacher decides which of these a
//! deployment takes, and under which parameter names.

/// Sampling temperature of the classification call.
///
/// 1.0 leaves the distribution as the model has it: the token probabilities are the soft label, and
/// the generated label is a draw from exactly that distribution.
pub const CLASSIFICATION_TEMPERATURE: f64 = 1.0;

/// How many of the most probable first tokens the classification call asks for.
///
/// 5 is the most that the gpt-5 family gives, and leaves room for variants of "0" and "1".
pub const TOP_LOGPROBS: u8 = 5;

/// The most that services outside of Azure give. A small model's "0" and "1" are often not among the
/// first five.
pub const MOST_TOP_LOGPROBS: u8 = 20;

/// `logit_bias` on the tokens "0" and "1", in logits (the API takes −100 to 100).
///
/// It only steers sampling towards a label: the logprobs returned do not include it, and a bias
/// that is equal for both would cancel in P("1") / (P("0") + P("1")) anyway.
pub const LABEL_BIAS: i8 = 5;

/// Sampling temperature of the rationale call: prose, with some variety over a large dataset.
pub const RATIONALE_TEMPERATURE: f64 = 0.7;
