//! A process that holds one subject and measures what it is told to: a line of JSON for a line of
//! JSON.

use super::Result;
use super::lab::Lab;
use super::subjects::Subject;
use mocha_session_bench::visitor::Workload;
use mocha_session_bench::worker::{Answer, Order};
use mocha_session_servers::command::tail;
use procfs::process::Process;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

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
        Self::spawn(lab, subject, lab.program(subject.theirs), threads, lab.url(subject))
    }

    /// The same in one thread, by a program that starts programs.
    pub(crate) fn start_by(mut by: Command, lab: &Lab, subject: &'static Subject) -> Result<Self> {
        by.arg(lab.program(subject.theirs).get_program());
        Self::spawn(lab, subject, by, 1, lab.url(subject))
    }

    /// The same in one thread, on another URL.
    pub(crate) fn start_on(lab: &Lab, subject: &'static Subject, url: String) -> Result<Self> {
        Self::spawn(lab, subject, lab.program(subject.theirs), 1, Some(url))
    }

    fn spawn(
        lab: &Lab,
        subject: &'static Subject,
        mut command: Command,
        threads: usize,
        url: Option<String>,
    ) -> Result<Self> {
        let log = lab.file(&format!("{}.log", subject.name));
        command.args([subject.name, &threads.to_string()]).args(url);
        // A complaint is a sentence: what a worker is stopped by is in its message.
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", subject.name))?;
        let (orders, answers) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes")?;
        let answers = BufReader::new(answers);
        let mut worker = Self { subject, workloads: Vec::new(), child, orders, answers, log };
        worker.workloads = worker.hear(&Order::Verify)?;
        Ok(worker)
    }

    /// How many bytes of memory it holds.
    pub(crate) fn resident(&self) -> Result<u64> {
        Ok(Process::new(self.child.id().try_into()?)?.statm()?.resident * procfs::page_size())
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
