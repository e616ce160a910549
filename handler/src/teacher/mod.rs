//! The model that labels: Azure OpenAI.

pub mod tokens;
