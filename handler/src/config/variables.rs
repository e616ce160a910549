//! The variables that settings are read from.

#[cfg(debug_assertions)]
use crate::{run::format_number, teacher::credential};
use clap::Command;
use clap::builder::Resettable;
use std::ffi::{OsStr, OsString};

fn variables(command: &Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter_map(|arg| arg.get_env()?.to_str());
    let below = command.get_subcommands().flat_map(variables);
    own.map(str::to_owned).chain(below).collect()
}

/// The command without the variables that are set to nothing: they count as not set.
pub fn without_empty_variables(
    command: Command,
    value: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Command {
    let command = command.mut_args(|arg| {
        let empty = arg
            .get_env()
            .and_then(value)
            .is_some_and(|value| value.is_empty());
        if empty {
            arg.env(Resettable::Reset)
        } else {
            arg
        }
    });
    command.mut_subcommands(|command| without_empty_variables(command, value))
}

/// The names among `set` that begin with `SOFTLABEL_` and are not settings.
pub fn unknown_variables(command: &Command, set: impl IntoIterator<Item = String>) -> Vec<String> {
    let known = variables(command);
    #[cfg(debug_assertions)]
    let for_tests = [credential::VAULT_LOOPBACK, format_number::OTHER_FORMAT].map(str::to_owned);
    #[cfg(debug_assertions)]
    let known = [known, for_tests.to_vec()].concat();
    let ours = set
        .into_iter()
        .filter(|name| name.starts_with("SOFTLABEL_"));
    ours.filter(|name| !known.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::CommandFactory;

    #[test]
    fn a_variable_set_to_nothing_is_not_set() {
        let empty = |name: &OsStr| (name == "SOFTLABEL_MODEL").then(OsString::new);
        let command = without_empty_variables(Cli::command(), &empty);
        let info = command.find_subcommand("info").unwrap();
        let sees = |id: &str| {
            let mut args = info.get_arguments();
            args.find(|arg| arg.get_id() == id)
                .unwrap()
                .get_env()
                .is_some()
        };
        assert!(!sees("model") && sees("deployment"));
    }

    #[test]
    fn a_misspelt_variable_is_found() {
        let set = ["SOFTLABEL_MODLE", "SOFTLABEL_MODEL", "HOME"].map(str::to_owned);
        assert_eq!(unknown_variables(&Cli::command(), set), ["SOFTLABEL_MODLE"]);
    }

    /// The variables that tests set, spelt out here, as a release build does not know them.
    #[test]
    fn what_tests_set_is_known_in_debug_builds_only() {
        let set = ["SOFTLABEL_TEST_VAULT_LOOPBACK", "SOFTLABEL_TEST_FORMAT"].map(str::to_owned);
        let unknown = unknown_variables(&Cli::command(), set.clone());
        assert_eq!(
            unknown,
            if cfg!(debug_assertions) {
                vec![]
            } else {
                set.to_vec()
            }
        );
    }
}
