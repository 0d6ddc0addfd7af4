//! A process that holds one subject and measures what it is told to: a line of JSON for a line of
//! JSON.

use super::Result;
use super::core::Bound;
use super::lab::Lab;
use super::subjects::Subject;
use mocha_session_bench::visitor::Workload;
use mocha_session_bench::worker::{Abilities, Order};
use mocha_session_servers::command::tail;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Figures by their names.
pub(crate) type Answer = BTreeMap<String, f64>;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) subject: &'static Subject,
    /// What this subject can do.
    pub(crate) workloads: Vec<Workload>,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Worker {
    /// Starts it on its own engine and has it prove that it does what is going to be measured.
    pub(crate) fn start(lab: &Lab, subject: &'static Subject, threads: usize) -> Result<Self> {
        let words = ["worker", subject.name, &threads.to_string()];
        Self::spawn(lab, subject, lab.command(subject, false, &words))
    }

    /// The same in one thread, and everything that its libraries start beside it on one core.
    pub(crate) fn start_bound(lab: &Lab, subject: &'static Subject, core: usize) -> Result<Self> {
        let _bound = Bound::thread(core)?;
        Self::start(lab, subject, 1)
    }

    /// The same on another URL, in one thread.
    pub(crate) fn start_on(lab: &Lab, subject: &'static Subject, url: &str) -> Result<Self> {
        let mut command = lab.program(subject.theirs, false);
        command.args(["worker", subject.name, "1", url]);
        Self::spawn(lab, subject, command)
    }

    fn spawn(lab: &Lab, subject: &'static Subject, mut command: Command) -> Result<Self> {
        let log = lab.file(&format!("{}.log", subject.name));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", subject.name))?;
        let (orders, answers) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes")?;
        let answers = BufReader::new(answers);
        let mut worker = Self { subject, workloads: Vec::new(), child, orders, answers, log };
        worker.workloads = worker.hear::<Abilities>(&Order::Verify)?.workloads();
        Ok(worker)
    }

    /// Has it follow an order and reads the figures of its answer.
    pub(crate) fn tell(&mut self, order: &Order) -> Result<Answer> {
        self.hear(order)
    }

    fn hear<T: DeserializeOwned>(&mut self, order: &Order) -> Result<T> {
        let (mut answer, order) = (String::new(), serde_json::to_string(order)?);
        // A worker that has ended cannot be written to; what it said last is in its log either way.
        if writeln!(self.orders, "{order}").is_ok() {
            self.answers.read_line(&mut answer)?;
        }
        serde_json::from_str(&answer).map_err(|_| {
            let log = fs::read(&self.log).unwrap_or_default();
            let says = tail(&String::from_utf8_lossy(&log), 8);
            format!("{} did not answer to {order}: {says}", self.subject.name).into()
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has nothing to save.
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("error: {} (pid {}) does not end", self.subject.name, self.child.id());
        }
    }
}
