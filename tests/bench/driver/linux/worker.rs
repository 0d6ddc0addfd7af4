//! A process that holds one subject and measures what it is told to: a line of JSON for a line of
//! JSON.

use super::core;
use super::lab::Lab;
use super::subjects::{Subject, WORKLOADS};
use crate::{Result, command};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) subject: &'static Subject,
    /// What this subject can do: a bare handler has no sessions, most libraries no owners.
    pub(crate) workloads: Vec<&'static str>,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Worker {
    /// Starts it on its own engine and has it prove that it does what is going to be measured.
    pub(crate) fn start(lab: &Lab, subject: &'static Subject, threads: usize) -> Result<Self> {
        Self::spawn(lab, subject, Self::command(lab, subject, threads)?)
    }

    /// The same in one thread, and everything that its libraries start beside it on one core.
    pub(crate) fn start_bound(lab: &Lab, subject: &'static Subject, core: &str) -> Result<Self> {
        Self::spawn(lab, subject, core::bind(&Self::command(lab, subject, 1)?, core)?)
    }

    /// The same on another URL, in one thread.
    pub(crate) fn start_on(lab: &Lab, subject: &'static Subject, url: &str) -> Result<Self> {
        let mut command = lab.program(subject.program)?;
        command.args(["worker", subject.name, "1", url]);
        Self::spawn(lab, subject, command)
    }

    fn command(lab: &Lab, subject: &Subject, threads: usize) -> Result<Command> {
        lab.command(subject, &["worker", subject.name, &threads.to_string()])
    }

    fn spawn(lab: &Lab, subject: &'static Subject, mut command: Command) -> Result<Self> {
        let log = lab.log(subject);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", subject.name))?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take().ok_or("no output")?);
        let answers = BufReader::new(answers);
        let mut worker = Self { subject, workloads: Vec::new(), child, orders, answers, log };
        worker.workloads = workloads(&worker.order(&json!("verify"))?);
        Ok(worker)
    }

    /// Rounds of a workload in one task, for about so long.
    pub(crate) fn single(&mut self, workload: &str, ms: u64) -> Result<Value> {
        self.order(&json!({"single": {"workload": workload, "ms": ms}}))
    }

    /// Rounds of a workload in many tasks.
    pub(crate) fn many(&mut self, workload: &str, tasks: u64, ms: u64) -> Result<Value> {
        self.order(&json!({"many": {"workload": workload, "tasks": tasks, "ms": ms}}))
    }

    /// So many rounds of a workload, for what is counted elsewhere.
    pub(crate) fn run(&mut self, workload: &str, requests: u64) -> Result {
        self.order(&json!({"run": {"workload": workload, "requests": requests}})).map(drop)
    }

    fn order(&mut self, order: &Value) -> Result<Value> {
        let mut answer = String::new();
        // A worker that has ended cannot be written to; what it said last is in its log either way.
        let written = self.orders.as_mut().map(|orders| writeln!(orders, "{order}"));
        if let Some(Ok(())) = written {
            self.answers.read_line(&mut answer)?;
        }
        serde_json::from_str(&answer).map_err(|_| {
            let log = fs::read(&self.log).unwrap_or_default();
            let says = command::tail(&String::from_utf8_lossy(&log), 8);
            format!("{} did not answer to {order}: {says}", self.subject.name).into()
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It ends when nobody can tell it anything any more. One that is stuck is not waited for.
        drop(self.orders.take());
        let begun = std::time::Instant::now();
        while begun.elapsed().as_secs() < 5 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("error: {} (pid {}) does not end", self.subject.name, self.child.id());
        }
    }
}

/// What can be measured, from a worker's answer to `verify`.
fn workloads(abilities: &Value) -> Vec<&'static str> {
    let can = |ability: &str| abilities[ability].as_bool().unwrap_or(false);
    let possible = |workload: &&&str| match **workload {
        "W1" => true,
        "W5L" => can("login"),
        _ => can("sessions"),
    };
    WORKLOADS.iter().filter(possible).copied().collect()
}

/// A figure of an answer.
pub(crate) fn figure(answer: &Value, name: &str) -> Result<f64> {
    answer[name]
        .as_f64()
        .ok_or_else(|| format!("a worker's answer has no figure `{name}`: {answer}").into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_what_a_subject_can_do_is_measured() {
        assert_eq!(workloads(&json!({"login": false, "sessions": false})), ["W1"]);
        assert_eq!(workloads(&json!({"login": true, "sessions": true})), WORKLOADS);
        assert!(!workloads(&json!({"login": false, "sessions": true})).contains(&"W5L"));
    }

    #[test]
    fn a_figure_is_read_or_missed() {
        let answer = json!({"cpu_ns": 12.5, "requests": 7});
        assert!((figure(&answer, "cpu_ns").unwrap() - 12.5).abs() < 1e-9);
        assert!((figure(&answer, "requests").unwrap() - 7.0).abs() < 1e-9);
        assert!(figure(&answer, "wall_ns").unwrap_err().to_string().contains("wall_ns"));
    }
}
