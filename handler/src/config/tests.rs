use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_has_its_variable() {
    for command in Cli::command().get_subcommands() {
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            assert!(
                arg.get_env().is_some() || arg.is_positional() || matches!(id, "help" | "version"),
                "{id}"
            );
        }
    }
}

/// A row a setting of a subcommand: flag, variable, default, what it is for.
fn settings_table(subcommand: &str) -> Vec<String> {
    let command = Cli::command();
    let command = command.find_subcommand(subcommand).unwrap();
    let rows = command.get_arguments().filter_map(|arg| {
        let flag = arg.get_long().filter(|flag| *flag != "help")?;
        let short = arg
            .get_short()
            .map_or(String::new(), |short| format!(", `-{short}`"));
        let defaults = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_str().unwrap());
        let default = match arg.get_action() {
            ArgAction::SetTrue => String::new(),
            _ => defaults.map(|value| format!("`{value}`")).collect(),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace('\n', " ").replace('|', "\\|");
        let variable = arg.get_env().unwrap().to_str().unwrap();
        Some(format!(
            "| `--{flag}`{short} | `{variable}` | {default} | {help} |"
        ))
    });
    rows.collect()
}

/// With `RENEW=1`, as `cargo xtask renew` sets it, this test writes the tables of `docs/settings.md`.
#[test]
fn generated_tables_of_settings_are_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    let document = std::fs::read_to_string(path).unwrap();
    let label = settings_table("label");
    let mut serve = settings_table("serve");
    serve.retain(|row| !label.contains(row));
    let mut current = document.clone();
    let commands = ["export", "show", "report"].map(|name| (name, settings_table(name)));
    for (name, rows) in [("label", label), ("serve", serve)]
        .into_iter()
        .chain(commands)
    {
        let (begin, end) = (
            format!("<!-- begin {name} -->\n"),
            format!("<!-- end {name} -->"),
        );
        let (before, rest) = current.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        let head = "| flag | variable | default | what it is for |\n|---|---|---|---|";
        let rows = rows.join("\n");
        current = format!("{before}{begin}{head}\n{rows}\n{end}{after}");
    }
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    assert!(
        document == current || std::env::var_os("RENEW").is_some(),
        "docs/settings.md is stale: run `cargo xtask renew tables`"
    );
}
