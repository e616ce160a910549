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
                arg.get_env().is_some() || matches!(id, "help" | "version"),
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

#[test]
fn the_readme_lists_every_setting() {
    let readme = include_str!("../../../README.md");
    let label = settings_table("label");
    let serve = settings_table("serve");
    let serve_alone = serve.into_iter().filter(|row| !label.contains(row));
    for table in [label.clone(), serve_alone.collect()] {
        assert!(
            table.iter().all(|row| readme.contains(row.as_str())),
            "a table of README's settings is to be\n| flag | variable | default | what it is for |\n|---|---|---|---|\n{}",
            table.join("\n")
        );
    }
}

#[test]
fn the_readme_gives_a_reason_for_every_dependency() {
    let readme = include_str!("../../../README.md");
    let manifests = [
        include_str!("../../Cargo.toml"),
        include_str!("../../../tests/Cargo.toml"),
    ];
    let mut listed = false;
    for line in manifests.iter().flat_map(|manifest| manifest.lines()) {
        if line.starts_with('[') {
            listed = line.ends_with("dependencies]");
            continue;
        }
        if let Some((name, _)) = line.split_once('=').filter(|_| listed) {
            let name = name.trim();
            assert!(
                readme.contains(&format!("| `{name}` |")),
                "{name} is not in README"
            );
        }
    }
}
