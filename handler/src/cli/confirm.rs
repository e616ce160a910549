//! Asks before paid results are discarded.

use super::label::usd;
use super::screen::Screen;
use super::table::counted;
use crate::config::UsageError;
use crate::dataset::metadata::Cost;
use crate::single_process::Replaced;
use crate::steps::billed::Billed;
use anyhow::anyhow;
use std::io::{self, BufRead, IsTerminal};
use tokio::sync::oneshot;

/// Says what a restart discards, and lets a person confirm it: by `yes`, or at the terminal.
///
/// # Errors
/// If nobody confirms it.
pub(super) async fn restart(screen: &Screen, yes: bool, replaced: Replaced) -> anyhow::Result<()> {
    let Some(loss) = loss(replaced) else {
        return Ok(());
    };
    let loss = format!("--restart throws away {loss}");
    if yes {
        screen.line(&loss);
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(UsageError(format!(
            "{loss}; confirm that with --yes, or leave out --restart to continue the run"
        ))
        .into());
    }
    screen.line(&format!("{loss}. Go on? [y/N]"));
    let (answer, answered) = oneshot::channel();
    // A thread outside the runtime: the runtime would wait for the answer before it shuts down.
    std::thread::spawn(move || answer.send(is_yes(io::stdin().lock())));
    match answered.await {
        Ok(true) => Ok(()),
        _ => Err(anyhow!(
            "nothing was thrown away; leave out --restart to continue the run"
        )),
    }
}

/// What is lost; `None` where nothing is.
fn loss(replaced: Replaced) -> Option<String> {
    let Replaced {
        billed: Billed { tokens, turns },
        is_damaged,
    } = replaced;
    if is_damaged {
        return Some("what an earlier run left, not all of which can be read".into());
    }
    let spent = match Cost::of(tokens) {
        Cost::Usd(_) if tokens.calls == 0 => None,
        cost @ Cost::Usd(_) => Some(format!("{} spent", usd(cost))),
        Cost::Unknown(_) => Some("an unknown sum spent".into()),
    };
    match (turns, spent) {
        (0, None) => None,
        (turns, Some(spent)) => Some(format!("{} ({spent})", counted(turns, "labelled turn"))),
        (turns, None) => Some(counted(turns, "labelled turn")),
    }
}

fn is_yes(mut input: impl BufRead) -> bool {
    let mut answer = String::new();
    let read = input.read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::figures::Tokens;

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [
            ("y\n", true),
            ("Yes\r\n", true),
            ("yes", true),
            ("", false),
            ("\n", false),
            ("no\n", false),
            ("yesterday\n", false),
        ] {
            assert_eq!(is_yes(answer.as_bytes()), yes, "{answer:?}");
        }
    }

    #[test]
    fn labels_and_dollars_are_a_loss_and_nothing_is_none() {
        let lost = |calls, turns, unpriced| {
            let tokens = Tokens {
                calls,
                unpriced,
                usd: "1.5".parse().unwrap(),
                ..Tokens::default()
            };
            loss(Replaced {
                billed: Billed { tokens, turns },
                is_damaged: false,
            })
        };
        assert_eq!(lost(0, 0, 0), None);
        let text = lost(1200, 1000, 0).unwrap();
        assert_eq!(text, "1,000 labelled turns (1.5000 USD spent)");
        assert_eq!(
            lost(3, 0, 0).unwrap(),
            "0 labelled turns (1.5000 USD spent)"
        );
        assert_eq!(
            lost(1, 1, 1).unwrap(),
            "1 labelled turn (an unknown sum spent)"
        );
        let damaged = Replaced {
            is_damaged: true,
            ..Replaced::default()
        };
        assert!(loss(damaged).is_some());
    }
}
