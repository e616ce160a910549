//! A custom handler that does what it is told, for tests of the double of the Functions host.

#[cfg(unix)]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    softlabel_doubles::scripted_worker::serve().await
}

#[cfg(not(unix))]
fn main() {}
