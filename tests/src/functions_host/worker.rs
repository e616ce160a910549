//! The worker: the app's executable as a process, watched and started again.

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::Client;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::app::App;
use super::launch::{Launch, free_port};
use super::lines::Lines;
use super::options::Options;
use super::settings::Settings;

/// Time between two looks whether a worker answers.
const PING: Duration = Duration::from_millis(25);

/// Errors in a row that stop the host.
const MOST_ERRORS: u32 = 3;

/// The code with which a worker asks to be started again.
const RESTART: i32 = 200;

/// The worker of one host.
#[derive(Debug)]
pub(super) struct Worker {
    state: watch::Receiver<State>,
    /// The generation of the process that ended last.
    ended: watch::Receiver<u64>,
    orders: mpsc::UnboundedSender<Order>,
    peak: Arc<AtomicU64>,
    supervisor: AbortHandle,
}

/// Where a worker is to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) port: u16,
    pub(super) pid: u32,
    pub(super) generation: u64,
    /// From the start of the process to its first answer.
    pub(super) after: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Starting {
        generation: u64,
    },
    Ready(Ready),
    /// The host ends, for this reason.
    Stopped(String),
}

#[derive(Debug)]
enum Order {
    /// Kills the worker of that generation.
    Kill(u64),
    /// Asks the worker of that generation to end.
    Terminate(u64),
    /// Replaces the worker of that generation.
    Restart(u64),
    /// Ends it for good, and says when that is done.
    Stop(oneshot::Sender<()>),
}

/// Why a worker is no more.
enum End {
    Exited(ExitStatus),
    Restart,
    NeverReady,
    Stopped(Option<oneshot::Sender<()>>),
}

impl Worker {
    /// Starts the app's executable. It is ready later.
    pub(super) fn start(
        app: &App,
        settings: &Settings,
        options: &Options,
        lines: Arc<Lines>,
    ) -> Self {
        let (state, states) = watch::channel(State::Starting { generation: 1 });
        let (ended, last_ended) = watch::channel(0);
        let (orders, received) = mpsc::unbounded_channel();
        let peak = Arc::new(AtomicU64::new(0));
        let supervisor = Supervisor {
            launch: Launch::new(app, settings),
            patience: options.initialization_timeout,
            exit_window: options.exit_window,
            state,
            ended,
            orders: received,
            lines,
            peak: Arc::clone(&peak),
            http: Client::builder().no_proxy().build().unwrap_or_default(),
        };
        Self {
            state: states,
            ended: last_ended,
            orders,
            peak,
            supervisor: tokio::spawn(supervisor.run()).abort_handle(),
        }
    }

    /// Waits until it answers.
    pub(super) async fn ready(&self) -> Result<Ready> {
        let mut states = self.state.clone();
        let state = states.wait_for(|state| !matches!(state, State::Starting { .. }));
        match &*state.await.context("the host is gone")? {
            State::Ready(ready) => Ok(ready.clone()),
            State::Stopped(reason) => Err(anyhow!(reason.clone())),
            State::Starting { .. } => bail!("the worker is starting"),
        }
    }

    /// Waits until no worker will be started any more, and says why.
    pub(super) async fn stopped(&self) -> String {
        let mut states = self.state.clone();
        let state = states.wait_for(|state| matches!(state, State::Stopped(_)));
        match state.await.as_deref() {
            Ok(State::Stopped(reason)) => reason.clone(),
            _ => "the host is gone".to_owned(),
        }
    }

    /// Why it is not started any more, if so.
    pub(super) fn reason_of_stop(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Stopped(reason) => Some(reason.clone()),
            _ => None,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match &*self.state.borrow() {
            State::Ready(ready) => Some(ready.pid),
            _ => None,
        }
    }

    /// The largest memory of any of the workers, in bytes, as far as it was looked at.
    pub(super) fn peak_memory(&self) -> u64 {
        if let Some(pid) = self.pid() {
            note_peak(&self.peak, pid);
        }
        self.peak.load(Ordering::Relaxed)
    }

    /// Kills it, and waits until it is gone.
    pub(super) async fn kill(&self) {
        self.end_by(Order::Kill).await;
    }

    /// Asks it to end, and waits until it is gone.
    pub(super) async fn terminate(&self) {
        self.end_by(Order::Terminate).await;
    }

    async fn end_by(&self, order: fn(u64) -> Order) {
        let Some(generation) = generation_of(&self.state.borrow()) else {
            return;
        };
        let _ = self.orders.send(order(generation));
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended >= generation).await;
    }

    /// Replaces the worker of that generation, if it still is the current one.
    pub(super) fn restart(&self, generation: u64) {
        let _ = self.orders.send(Order::Restart(generation));
    }

    /// Kills it for good.
    pub(super) async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).is_ok() {
            let _ = ended.await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The process is killed as its supervisor is dropped.
        self.supervisor.abort();
    }
}

fn generation_of(state: &State) -> Option<u64> {
    match state {
        State::Starting { generation } | State::Ready(Ready { generation, .. }) => {
            Some(*generation)
        }
        State::Stopped(_) => None,
    }
}

struct Supervisor {
    launch: Launch,
    patience: Duration,
    exit_window: Duration,
    state: watch::Sender<State>,
    ended: watch::Sender<u64>,
    orders: mpsc::UnboundedReceiver<Order>,
    lines: Arc<Lines>,
    peak: Arc<AtomicU64>,
    http: Client,
}

impl Supervisor {
    async fn run(mut self) {
        let mut errors = 0;
        let mut last_error: Option<Instant> = None;
        for generation in 1.. {
            self.state.send_replace(State::Starting { generation });
            let end = match self.once(generation).await {
                Ok(end) => end,
                Err(reason) => return self.stop(format!("{reason:#}")),
            };
            // `HttpFunctionInvocationDispatcher.AddOrUpdateErrorBucket`: an exit and a start that takes too
            // long count alike, each within the window of the one before.
            let error = match end {
                End::Restart => continue,
                End::Exited(status) if status.code() == Some(RESTART) => continue,
                End::Exited(status) => format!("ended, last with {status}"),
                End::NeverReady => format!("did not answer GET / within {:?}", self.patience),
                End::Stopped(done) => {
                    self.stop("the host was stopped".to_owned());
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                    return;
                }
            };
            let close = last_error.is_some_and(|last| last.elapsed() <= self.exit_window);
            errors = if close { errors + 1 } else { 1 };
            last_error = Some(Instant::now());
            if errors >= MOST_ERRORS {
                let words = self.lines.last_words();
                return self.stop(format!(
                    "the worker failed {errors} times: it {error}; it said:{words}"
                ));
            }
        }
    }

    fn stop(&self, reason: String) {
        self.state.send_replace(State::Stopped(reason));
    }

    /// Runs one process to its end.
    async fn once(&mut self, generation: u64) -> Result<End> {
        let port = free_port()?;
        let start = Instant::now();
        let mut child = self.launch.spawn(port)?;
        let pid = child.id().context("the worker has no process id")?;
        self.listen(&mut child);
        let end = self
            .until_end(&mut child, port, pid, generation, start)
            .await;
        note_peak(&self.peak, pid);
        let _ = child.kill().await;
        self.ended.send_replace(generation);
        Ok(end)
    }

    fn listen(&self, child: &mut Child) {
        if let Some(stdout) = child.stdout.take() {
            let lines = Arc::clone(&self.lines);
            tokio::spawn(async move { lines.read_stdout(stdout).await });
        }
        if let Some(stderr) = child.stderr.take() {
            let lines = Arc::clone(&self.lines);
            tokio::spawn(async move { lines.read_stderr(stderr).await });
        }
    }

    async fn until_end(
        &mut self,
        child: &mut Child,
        port: u16,
        pid: u32,
        generation: u64,
        start: Instant,
    ) -> End {
        let answers = answers(self.http.clone(), port);
        tokio::pin!(answers);
        let deadline = tokio::time::sleep(self.patience);
        tokio::pin!(deadline);
        let (mut ready, mut gone) = (false, false);
        loop {
            tokio::select! {
                status = child.wait(), if !gone => match status {
                    // The host takes this for a normal end and does nothing: whatever is sent to the
                    // worker from now on fails.
                    Ok(status) if status.success() => {
                        gone = true;
                        self.ended.send_replace(generation);
                    }
                    Ok(status) => return End::Exited(status),
                    Err(_) => return End::Restart,
                },
                () = &mut answers, if !ready => {
                    ready = true;
                    let after = start.elapsed();
                    self.state.send_replace(State::Ready(Ready { port, pid, generation, after }));
                }
                () = &mut deadline, if !ready => return End::NeverReady,
                order = self.orders.recv() => match order {
                    Some(Order::Kill(asked)) if asked == generation => {
                        note_peak(&self.peak, pid);
                        let _ = child.start_kill();
                    }
                    Some(Order::Terminate(asked)) if asked == generation => {
                        note_peak(&self.peak, pid);
                        terminate(pid).await;
                    }
                    Some(Order::Restart(asked)) if asked == generation => return End::Restart,
                    // It was meant for one that is gone.
                    Some(Order::Kill(_) | Order::Terminate(_) | Order::Restart(_)) => {}
                    Some(Order::Stop(done)) => return End::Stopped(Some(done)),
                    None => return End::Stopped(None),
                },
            }
        }
    }
}

/// Comes to its end when the worker answers anything.
async fn answers(http: Client, port: u16) {
    let url = format!("http://127.0.0.1:{port}/");
    while http.get(&url).send().await.is_err() {
        tokio::time::sleep(PING).await;
    }
}

async fn terminate(pid: u32) {
    // The process has not been waited for, so the id is still its own.
    let _ = Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status()
        .await;
}

fn note_peak(peak: &AtomicU64, pid: u32) {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    peak.fetch_max(kilobytes.unwrap_or(0) * 1024, Ordering::Relaxed);
}
