//! Runs the commands of `docs/tutorial.md` against a double of Azure OpenAI; `--renew`
//! (`cargo xtask renew tutorial`) writes what they print into the page.
//!
//! A block that begins with ```` ```console ```` holds commands, each after `$ `, and what they print. They run in
//! one folder, one after the other, in bash, and each must succeed. A block that begins with
//! ```` ```python NAME ```` is the file of that name there. What is printed is not compared: prompts carry random
//! marks, to which the double answers differently each time.

use anyhow::{Context, Result, bail};
use clap::Parser;
use softlabel_doubles::azure_openai::{Config, Double, Latency};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the reader's endpoint stands on the page, instead of the double's.
const ENDPOINT: &str = "https://NAME.openai.azure.com";

/// Run the commands of docs/tutorial.md, each of which must succeed.
///
/// Takes about half a minute. Commands that need Python take the interpreter in $PYTHON, else `python3`.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// Write what the commands print into the page
    #[arg(long)]
    renew: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the package lies in the repository")?;
    let page = repository.join("docs/tutorial.md");
    let text = std::fs::read_to_string(&page).context("cannot read docs/tutorial.md")?;
    let stage = Stage::set(repository).await?;
    for (name, content) in files(&text) {
        std::fs::write(stage.folder.join(&name), content)
            .with_context(|| format!("cannot write {name}"))?;
    }
    let renewed = rewrite(&text, |command| {
        println!("$ {command}");
        stage.run(command)
    })?;
    stage.double.stop().await;
    if args.renew {
        std::fs::write(&page, renewed).context("cannot write docs/tutorial.md")?;
    }
    println!("every command of docs/tutorial.md does its work");
    Ok(())
}

/// Where the commands run.
struct Stage {
    double: Double,
    folder: PathBuf,
    python: PathBuf,
    path: std::ffi::OsString,
}

impl Stage {
    /// An empty folder with the sample dataset, and the program first on the path.
    async fn set(repository: &Path) -> Result<Self> {
        let programs = std::env::current_exe()?
            .parent()
            .context("this program lies in a folder")?
            .to_owned();
        if !programs.join("softlabel").is_file() {
            bail!("there is no softlabel beside this program: run `cargo build --workspace` first");
        }
        let folder = repository.join("target/tutorial");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("cannot remove the last tutorial")?;
        }
        std::fs::create_dir_all(folder.join("data")).context("cannot make target/tutorial")?;
        let samples = repository.join("samples/devchat_sample_20261101");
        let copied = Command::new("cp")
            .args(["-r", "--"])
            .arg(samples)
            .arg(folder.join("data/devchat"))
            .status()?;
        if !copied.success() {
            bail!("cannot copy the samples");
        }
        let mut path = programs.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let double = Double::start(Config {
            seed: 20_261_101,
            latency: Latency::Fixed { ms: 20.0 },
            ..Config::default()
        });
        Ok(Self {
            double: double.await?,
            folder,
            python: std::env::var_os("PYTHON").map_or_else(|| "python3".into(), PathBuf::from),
            path,
        })
    }

    /// What `command` prints, errors included.
    ///
    /// # Errors
    /// If it fails.
    fn run(&self, command: &str) -> Result<String> {
        let script = format!("python() {{ \"$PYTHON\" \"$@\"; }}\n{command}");
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .env("PYTHON", &self.python)
            .env("AZURE_OPENAI_ENDPOINT", self.double.endpoint())
            .env("AZURE_OPENAI_API_KEY", "a-key-for-the-double")
            .env("SOFTLABEL_PROGRESS", "none")
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .stderr(Stdio::piped())
            .output()
            .context("cannot run bash")?;
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{command} ended with {}:\n{printed}", output.status);
        }
        let folder = format!("{}/", self.folder.display());
        Ok(printed
            .replace(&self.double.endpoint(), ENDPOINT)
            .replace(&folder, ""))
    }
}

/// The files that `page` holds: name and content.
fn files(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("\n```python ").skip(1);
    let blocks = blocks.filter_map(|block| block.split("\n```").next()?.split_once('\n'));
    let files = blocks.map(|(name, content)| (name.trim().to_owned(), format!("{content}\n")));
    files.collect()
}

/// `page` with what `run` says of each command in the place of what stands there.
fn rewrite(page: &str, mut run: impl FnMut(&str) -> Result<String>) -> Result<String> {
    let mut renewed = String::new();
    let mut in_block = false;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if !in_block {
            in_block = line == "```console";
        } else if line == "```" {
            in_block = false;
        } else if let Some(first) = line.strip_prefix("$ ") {
            let (mut command, mut shown) = (first.to_owned(), format!("{line}\n"));
            while command.ends_with('\\') {
                let next = lines.next().context("a command ends with a backslash")?;
                command.pop();
                command.push_str(next.trim_start());
                shown.push_str(&format!("{next}\n"));
            }
            renewed.push_str(&shown);
            let printed = run(&command)?;
            for line in printed.trim_end().lines() {
                renewed.push_str(line.trim_end());
                renewed.push('\n');
            }
            continue;
        } else {
            // What the command before printed when the page was written.
            continue;
        }
        renewed.push_str(line);
        renewed.push('\n');
    }
    Ok(renewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_keep_their_place_and_lose_what_they_printed() {
        let page = "text\n```console\n$ one \\\n    more\nold\nolder\n$ two\n```\nend\n";
        let mut asked = Vec::new();
        let renewed = rewrite(page, |command| {
            asked.push(command.to_owned());
            Ok(format!("new {}\n", asked.len()))
        });
        let expected = "text\n```console\n$ one \\\n    more\nnew 1\n$ two\nnew 2\n```\nend\n";
        assert_eq!(renewed.unwrap(), expected);
        assert_eq!(asked, ["one more", "two"]);
    }

    #[test]
    fn files_have_names() {
        let page = "text\n```python a.py\none\ntwo\n```\n```python\nno file\n```\n";
        assert_eq!(files(page), [("a.py".to_owned(), "one\ntwo\n".to_owned())]);
    }
}
