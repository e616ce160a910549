//! A conversation of a RAW bucket file, reduced to what labelling needs.

/// One conversation, its turns in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// `conversationId`; empty where the record has none.
    pub id: String,
    /// `turnsArray`, in the order of the file.
    pub turns: Vec<Turn>,
}

/// One user message and what the assistant answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// `messageId`; empty where the record has none.
    pub message_id: String,
    /// `turnIndex` as recorded; it may have gaps.
    pub index: Option<i64>,
    /// `userMessage`.
    pub user_message: String,
    /// `modelMessage`; absent where the assistant only called tools.
    pub model_message: Option<String>,
}
