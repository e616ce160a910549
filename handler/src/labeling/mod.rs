//! What a label is: strategies, prompts, from token probabilities to a soft label, rationale. Pure.
