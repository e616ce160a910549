//! Settings of the function app.
//!
//! Connections are named as the Functions host names them, so that its triggers and the app read the
//! same settings.

use super::values::{ChunksOut, parse_chunks_out, parse_task_name, parse_time, parse_usd};
use super::{CutArgs, LabelingArgs, LogArgs, RunReportArgs, ServiceArgs};
use crate::money::Usd;
use crate::teacher::credential::Secret;
use clap::Args;
use std::str::FromStr;
use std::time::Duration;

const STORAGE: &str = "Storage";

/// Settings of `softlabel serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The container of the data account, and the path in it that holds the datasets.
    #[arg(long, env = "SOFTLABEL_DATA", value_name = "CONTAINER[/BASE/PATH]")]
    pub data: DataPath,
    /// The connection string of the data account, only for Azurite; in the cloud give the address.
    #[arg(long, help_heading = STORAGE, env = "SoftlabelData", value_name = "TEXT",
          hide_env_values = true)]
    pub data_connection: Option<Secret>,
    /// The address of the data account's blobs.
    #[arg(long, help_heading = STORAGE, env = "SoftlabelData__blobServiceUri",
          value_name = "https://ACCOUNT.blob.core.windows.net")]
    pub data_blobs: Option<String>,
    /// managedidentity: read and write the data as the app's managed identity. By default every available
    /// identity is tried.
    #[arg(long, help_heading = STORAGE, env = "SoftlabelData__credential", value_name = "KIND")]
    pub data_credential: Option<String>,
    /// The client id of a user-assigned managed identity for the data.
    #[arg(long, help_heading = STORAGE, env = "SoftlabelData__clientId", value_name = "ID")]
    pub data_client_id: Option<String>,
    /// The connection string of the app's own storage, only for Azurite.
    #[arg(long, help_heading = STORAGE, env = "AzureWebJobsStorage", value_name = "TEXT",
          hide_env_values = true)]
    pub work_connection: Option<Secret>,
    /// The address of the blobs in the app's own storage.
    #[arg(long, help_heading = STORAGE, env = "AzureWebJobsStorage__blobServiceUri",
          value_name = "https://ACCOUNT.blob.core.windows.net")]
    pub work_blobs: Option<String>,
    /// managedidentity: use the app's own storage as its managed identity.
    #[arg(long, help_heading = STORAGE, env = "AzureWebJobsStorage__credential", value_name = "KIND")]
    pub work_credential: Option<String>,
    /// The client id of a user-assigned managed identity for the app's own storage.
    #[arg(long, help_heading = STORAGE, env = "AzureWebJobsStorage__clientId", value_name = "ID")]
    pub work_client_id: Option<String>,
    /// The container in the app's own storage that keeps its runs.
    #[arg(long, help_heading = STORAGE, env = "SOFTLABEL_WORK_CONTAINER", value_name = "NAME",
          default_value = "softlabel-work")]
    pub work_container: String,
    /// The loopback port on which the Functions host calls the app.
    #[arg(long, env = "FUNCTIONS_CUSTOMHANDLER_PORT", value_name = "PORT")]
    pub port: u16,
    /// After this time an invocation hands its remaining work on to another. The host's functionTimeout,
    /// which kills all invocations of an instance, must be longer by at least --call-timeout, so that
    /// calls in flight can end.
    #[arg(long, env = "SOFTLABEL_INVOCATION_DEADLINE", default_value = "20m", value_name = "TIME",
          value_parser = parse_time)]
    pub invocation_deadline: Duration,
    /// After this time without progress the messages of a run are sent again, then after twice that time,
    /// and so on, up to six times.
    #[arg(long, env = "SOFTLABEL_STALL_AFTER", default_value = "10m", value_name = "TIME",
          value_parser = parse_time)]
    pub stall_after: Duration,
    /// After this many tries without progress a run is ended. It gets four times as many while other runs
    /// make progress, since it may be waiting for them.
    #[arg(long, env = "SOFTLABEL_TRIES", default_value_t = 12, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub tries: u32,
    /// After this time without a sign of life an instance counts as dead, and the messages that it held
    /// are sent again. While it holds a message it gives a sign of life three times as often.
    #[arg(long, env = "SOFTLABEL_DEAD_AFTER", default_value = "45s", value_name = "TIME",
          value_parser = parse_time)]
    pub dead_after: Duration,
    /// Most messages about chunks in the queue or in work, over all runs; each chunk that ends sends the
    /// next. The host starts one instance for every 24 messages. auto: enough to keep the instances busy
    /// that the quota can use.
    #[arg(long, env = "SOFTLABEL_CHUNKS_OUT", default_value = "auto", value_name = "N|auto",
          value_parser = parse_chunks_out)]
    pub chunks_out: ChunksOut,
    /// Days that the work of an ended run is kept: its full records, and the results that --only failed
    /// needs.
    #[arg(long, env = "SOFTLABEL_RETENTION_DAYS", default_value_t = 30, value_name = "DAYS",
          value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub retention_days: u32,
    /// The name of the task to ask, which is the blob tasks/NAME.toml in the work container. By default
    /// the built-in task.
    #[arg(long, env = "SOFTLABEL_TASK_NAME", value_name = "NAME", value_parser = parse_task_name)]
    pub task_name: Option<String>,
    /// Most US dollars that a dataset may cost. A dataset that is estimated to cost more, or whose price
    /// is unknown, waits for approval.
    #[arg(long, env = "SOFTLABEL_MAX_COST", default_value = "100", value_name = "USD",
          value_parser = parse_usd)]
    pub max_cost: Usd,
    /// Most US dollars that all datasets together may cost in a calendar month (UTC), calls in flight
    /// included. At the cap runs wait for the next month or a higher setting; no approval lifts it. By
    /// default there is no cap.
    #[arg(long, env = "SOFTLABEL_MAX_COST_PER_MONTH", value_name = "USD", value_parser = parse_usd)]
    pub max_cost_per_month: Option<Usd>,
    /// How a dataset is cut into chunks of work.
    #[command(flatten)]
    pub cut: CutArgs,
    /// What a label is.
    #[command(flatten)]
    pub labeling: LabelingArgs,
    /// The service, and how patiently it is asked.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// What the report at the end of a run holds.
    #[command(flatten)]
    pub report: RunReportArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where the datasets lie: a container, and a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPath {
    /// The container's name: 3 to 63 lower-case letters, digits and hyphens.
    pub container: String,
    /// The path in it, without slashes around it; empty for the container itself.
    pub base: String,
}

impl FromStr for DataPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (container, base) = text.split_once('/').unwrap_or((text, ""));
        let is_plain = |name: &str| !name.is_empty() && name != "." && name != "..";
        let base_is_plain = base.is_empty() || base.split('/').all(is_plain);
        let container_is_plain = (3..=63).contains(&container.len())
            && container
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !container_is_plain || !base_is_plain {
            return Err(format!(
                "{text:?} is not a container with a path; write it like data/experiments/v4, \
                 without a slash at either end"
            ));
        }
        Ok(Self {
            container: container.to_owned(),
            base: base.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_lies_in_a_container_below_a_path() {
        let path = "data/experiments/v4".parse::<DataPath>().unwrap();
        assert_eq!(
            (path.container.as_str(), path.base.as_str()),
            ("data", "experiments/v4")
        );
        assert_eq!("data".parse::<DataPath>().unwrap().base, "");
        for wrong in [
            "",
            "/data",
            "data//v4",
            "data/v4/",
            "data/../x",
            "Data",
            "ab",
            "a_b_c",
        ] {
            assert!(wrong.parse::<DataPath>().is_err(), "{wrong}");
        }
    }
}
