//! A process with one subject, which reads measurement orders as lines of JSON and answers each
//! with a line of JSON.
//!
//! Its command line is `SUBJECT THREADS [URL]`; see [`Order`] for what it can be told.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::measure;
use crate::visitor::{Subject, Visitor, Workload};

/// An order for a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Checks that the subject performs the workloads. The answer is those that it knows.
    Verify,
    /// Runs one task for about this many milliseconds: [`measure::single`].
    Single { workload: Workload, ms: u64 },
    /// Runs many tasks for this many milliseconds: [`measure::many`].
    Many { workload: Workload, tasks: usize, ms: u64 },
    /// Runs this many rounds in one task, for figures that another tool collects.
    Run { workload: Workload, requests: u32 },
    /// The same in the section that callgrind counts.
    Count { workload: Workload, requests: u32 },
}

/// Figures by their names.
pub type Answer = BTreeMap<String, f64>;

/// Runs the worker of the subject that the command line names, one of those that `open` knows.
pub fn main<S: Subject>(open: impl AsyncFn(&str, Option<&str>) -> Option<S>) {
    // A thread that panics ends the process: nobody would notice a part of what is measured
    // missing, and the driver hears why from the log.
    let says = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        says(panic);
        std::process::exit(1);
    }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, threads, url @ ..] = args.as_slice() else { panic!("SUBJECT THREADS [URL]") };
    let runtime = runtime(threads.parse().expect("a number of threads"));
    let subject = runtime.block_on(open(name, url.first().map(String::as_str)));
    serve(&runtime, &subject.expect("a subject that is known"));
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build().expect("a runtime")
}

fn serve<S: Subject>(runtime: &Runtime, subject: &S) {
    let mut visitor = Visitor::new(runtime.block_on(subject.client()));
    for line in std::io::stdin().lock().lines() {
        let mut answer = Answer::new();
        match serde_json::from_str(&line.unwrap()).expect("an order") {
            Order::Verify => {
                let known = runtime.block_on(visitor.verify());
                println!("{}", serde_json::to_string(&known).unwrap());
                continue;
            }
            Order::Single { workload, ms } => {
                let duration = Duration::from_millis(ms);
                answer = measure::single(runtime, &mut visitor, workload, duration);
            }
            Order::Many { workload, tasks, ms } => {
                let duration = Duration::from_millis(ms);
                answer = measure::many(runtime, subject, workload, tasks, duration);
            }
            Order::Run { workload, requests } => {
                measure::rounds(runtime, &mut visitor, workload, requests);
            }
            Order::Count { workload, requests } => measure::callgrind_collects_this(&mut || {
                measure::rounds(runtime, &mut visitor, workload, requests);
            }),
        }
        println!("{}", serde_json::to_string(&answer).unwrap());
    }
}
