//! Starts the Azurite that tests and demo use, for everything else that wants storage.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use softlabel_doubles::azurite::{Azurite, Persistence};

/// Start blob, queue and table storage on this machine until Ctrl-C, and print its connection string.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// Keep what is stored in this folder. Without one it is gone at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let persistence = match Args::parse().folder {
        Some(folder) => Persistence::Folder(std::path::absolute(folder)?),
        None => Persistence::Memory,
    };
    let azurite = Azurite::start(persistence).await?;
    println!("{}", azurite.well_known_account().connection_string());
    tokio::signal::ctrl_c().await?;
    azurite.stop().await
}
