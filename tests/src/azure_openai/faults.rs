//! What goes wrong between a caller and the model.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::chance::{Purpose, Source};
use super::config::Faults;

/// One way for a call to fail. Written as its status or name: `"503"`, `"billed_504"`,
/// `"reset"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// An error answer with this status.
    Status(u16),
    /// The model answers, which is billed, and a gateway answers with this status in its stead.
    Billed(u16),
    /// An answer that does not say what it used.
    NoUsage,
    /// The connection is reset before a byte is answered.
    Reset,
    /// The head and half of the announced body, then the connection ends.
    HalfBody,
    /// The body arrives in small pieces over `slow_body_ms`.
    SlowBody,
    /// No answer until the caller gives up.
    Hang,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Billed(status) => write!(f, "billed_{status}"),
            Self::NoUsage => f.write_str("no_usage"),
            Self::Reset => f.write_str("reset"),
            Self::HalfBody => f.write_str("half_body"),
            Self::SlowBody => f.write_str("slow_body"),
            Self::Hang => f.write_str("hang"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "reset" => Self::Reset,
            "half_body" | "half-body" => Self::HalfBody,
            "slow_body" | "slow-body" => Self::SlowBody,
            "hang" => Self::Hang,
            "no_usage" | "no-usage" => Self::NoUsage,
            _ => {
                let billed = text.strip_prefix("billed_");
                let billed = billed.or_else(|| text.strip_prefix("billed-"));
                match (billed, billed.unwrap_or(text).parse()) {
                    (None, Ok(status @ 400..=599)) => Self::Status(status),
                    (Some(_), Ok(status @ 400..=599)) => Self::Billed(status),
                    _ => {
                        return Err(format!(
                            "unknown fault {text:?}: expected a status from 400 to 599, one after \
                             billed_, no_usage, reset, half_body, slow_body or hang"
                        ));
                    }
                }
            }
        })
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

impl Faults {
    /// The fault that hits this attempt, and the error code that the configuration gives it.
    pub(super) fn strike(
        &self,
        user_text: &str,
        source: Source,
        attempt: u32,
    ) -> Option<(Fault, Option<&str>)> {
        if let Some(always) = self
            .always_fail
            .iter()
            .find(|a| user_text.contains(&a.contains))
        {
            return Some((always.fault, always.code.as_deref()));
        }
        if self.rates.is_empty() || attempt >= self.max_faults_per_key {
            return None;
        }
        let mut draw = source.attempt(attempt).rng(Purpose::Fault).random::<f64>();
        for (fault, rate) in &self.rates {
            if draw < *rate {
                return Some((*fault, None));
            }
            draw -= rate;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure_openai::config::AlwaysFail;

    #[test]
    fn rates_hold_and_stop_after_the_first_attempts() {
        let faults = Faults {
            rates: [(Fault::Status(500), 0.2), (Fault::Reset, 0.1)].into(),
            ..Faults::default()
        };
        let count = |attempt, fault| {
            (0..5_000)
                .filter(|&key| {
                    faults.strike("", Source::new(1, key), attempt) == Some((fault, None))
                })
                .count()
        };
        assert!((900..1_100).contains(&count(0, Fault::Status(500))));
        assert!((420..580).contains(&count(1, Fault::Reset)));
        assert_eq!(count(2, Fault::Status(500)) + count(2, Fault::Reset), 0);
    }

    #[test]
    fn a_message_can_be_made_to_fail_always() {
        let faults = Faults {
            always_fail: vec![AlwaysFail {
                contains: "poison".to_owned(),
                fault: Fault::Status(503),
                code: None,
            }],
            ..Faults::default()
        };
        let strike = faults.strike("a poison pill", Source::new(1, 1), 99);
        assert_eq!(strike, Some((Fault::Status(503), None)));
        assert_eq!(faults.strike("a sweet", Source::new(1, 1), 0), None);
    }

    #[test]
    fn faults_are_written_as_statuses_and_names() {
        let rates: std::collections::BTreeMap<Fault, f64> =
            serde_json::from_str(r#"{"408":0.1,"reset":0.2,"half_body":0.1,"billed_504":0.3}"#)
                .unwrap();
        assert_eq!(rates.get(&Fault::Status(408)), Some(&0.1));
        assert_eq!(rates.get(&Fault::Billed(504)), Some(&0.3));
        for fault in [Fault::Billed(504), Fault::NoUsage, Fault::HalfBody] {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert!("billed_200".parse::<Fault>().is_err());
        assert_eq!(rates.get(&Fault::Reset), Some(&0.2));
        assert!("200".parse::<Fault>().is_err());
        assert!("explode".parse::<Fault>().is_err());
    }
}
