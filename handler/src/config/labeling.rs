//! Settings of what a label is.

use crate::labeling::label::HardLabel;
use crate::labeling::strategy::{self, Limits, Strategy};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// What a label is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Labels")]
pub struct LabelingArgs {
    /// What of a conversation the model sees; `softlabel info` describes the strategies.
    #[arg(short, long, env = "SOFTLABEL_STRATEGY", default_value = strategy::DEFAULT,
          value_name = "NAME", value_parser = parse_strategy)]
    pub strategy: StrategyName,
    /// Do not ask for rationales.
    #[arg(long, visible_alias = "no-rationale", env = "SOFTLABEL_NO_RATIONALES",
          action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_rationales: bool,
    /// The hard label: the token that was generated, or the more probable one.
    #[arg(
        long,
        env = "SOFTLABEL_HARD_LABEL",
        default_value = "generated",
        value_name = "generated|argmax"
    )]
    pub hard_label: HardLabel,
    /// Tokens of a message that are shown; a longer one is cut in the middle.
    #[arg(long, env = "SOFTLABEL_MESSAGE_TOKENS", default_value_t = 4000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=200_000))]
    pub message_tokens: u32,
    /// Tokens of what is shown beside the message (strategies with_context, with_response).
    #[arg(long, env = "SOFTLABEL_CONTEXT_TOKENS", default_value_t = 4000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=200_000))]
    pub context_tokens: u32,
    /// Ask for identical inputs each time, instead of once.
    #[arg(long, env = "SOFTLABEL_NO_DEDUPE", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub no_dedupe: bool,
}

#[derive(Clone, Copy)]
pub struct StrategyName(pub &'static dyn Strategy);

impl std::fmt::Debug for StrategyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

fn parse_strategy(name: &str) -> Result<StrategyName, strategy::UnknownStrategy> {
    strategy::by_name(name).map(StrategyName)
}

impl LabelingArgs {
    pub fn limits(&self) -> Limits {
        Limits {
            message_tokens: self.message_tokens as usize,
            context_tokens: self.context_tokens as usize,
        }
    }
}
