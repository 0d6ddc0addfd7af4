//! A process with one subject, which reads measurement orders as lines of JSON and answers each
//! with a line of JSON.
//!
//! ```text
//! worker SUBJECT THREADS [URL]         then lines: {"single": "W3", "ms": 100} …
//! once SUBJECT WORKLOAD REQUESTS [URL] for callgrind
//! ```

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::axum_client::AxumClient;
use crate::measure::{self, Many};
use crate::visitor::{Client, Visitor, Workload};

/// An application over one library and one engine.
pub trait Subject {
    type Client: Client;

    fn client(&self) -> Self::Client;

    /// Returns whether it can list and end the sessions of a user, which W5L needs.
    fn has_login(&self) -> bool {
        false
    }

    /// Returns whether it has sessions.
    fn has_sessions(&self) -> bool {
        true
    }

    /// Runs many tasks that send requests for this duration.
    fn many(&self, runtime: &Runtime, workload: Workload, tasks: usize, duration: Duration)
    -> Many;
}

/// A subject on axum: its router and its abilities.
pub struct AxumSubject {
    pub client: AxumClient,
    pub login: bool,
    pub sessions: bool,
}

impl Subject for AxumSubject {
    type Client = AxumClient;

    fn client(&self) -> AxumClient {
        self.client.clone()
    }

    fn has_login(&self) -> bool {
        self.login
    }

    fn has_sessions(&self) -> bool {
        self.sessions
    }

    fn many(
        &self,
        runtime: &Runtime,
        workload: Workload,
        tasks: usize,
        duration: Duration,
    ) -> Many {
        let client = self.client.clone();
        let open = async move || {
            let client = client.clone();
            let clients: Box<dyn Fn() -> AxumClient> = Box::new(move || client.clone());
            clients
        };
        measure::on_two_threads(runtime, &open, workload, tasks, duration)
    }
}

/// An order for a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Checks that the subject performs the workloads. The answer is its [`Abilities`].
    Verify,
    /// Runs one task for about this many milliseconds: [`measure::Single`].
    Single { workload: Workload, ms: u64 },
    /// Runs many tasks: [`Many`].
    Many { workload: Workload, tasks: usize, ms: u64 },
    /// Runs this many rounds in one task, for figures that another tool collects.
    Run { workload: Workload, requests: u64 },
}

/// The abilities of a subject: a bare handler has no sessions, and most libraries have no owners.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Abilities {
    pub login: bool,
    pub sessions: bool,
}

impl Abilities {
    /// Returns the workloads that can be measured.
    pub fn workloads(self) -> Vec<Workload> {
        let possible = |workload: &Workload| match workload {
            Workload::W1 => true,
            Workload::W5L => self.login,
            _ => self.sessions,
        };
        Workload::ALL.into_iter().filter(possible).collect()
    }
}

/// Runs the command line, with the subjects that `open` knows.
///
/// `enter` wraps the whole run in the context that the subject's framework needs. It is called on
/// the runtime's thread.
pub fn main<S: Subject>(open: impl AsyncFn(&str, Option<&str>) -> Option<S>) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["worker", subject, threads, ref url @ ..] => {
            let runtime = runtime(threads.parse().expect("a number of threads"));
            let subject = runtime
                .block_on(open(subject, url.first().copied()))
                .expect("a subject that is known");
            serve(&runtime, &subject);
        }
        ["once", subject, workload, requests, ref url @ ..] => {
            let runtime = runtime(1);
            let subject = runtime
                .block_on(open(subject, url.first().copied()))
                .expect("a subject that is known");
            let (workload, requests) = (workload.parse().unwrap(), requests.parse().unwrap());
            measure::collect(&runtime, &mut Visitor::new(subject.client()), workload, requests);
        }
        _ => panic!("worker SUBJECT THREADS [URL] | once SUBJECT WORKLOAD REQUESTS [URL]"),
    }
}

pub(crate) fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build().expect("a runtime")
}

fn serve<S: Subject>(runtime: &Runtime, subject: &S) {
    let mut visitor = Visitor::new(subject.client());
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line.unwrap()).expect("an order");
        let answer = match order {
            Order::Verify => {
                let can =
                    Abilities { login: subject.has_login(), sessions: subject.has_sessions() };
                if can.sessions {
                    runtime.block_on(visitor.verify(can.login));
                }
                serde_json::to_string(&can)
            }
            Order::Single { workload, ms } => {
                let duration = Duration::from_millis(ms);
                let single = measure::single(runtime, &mut visitor, workload, duration);
                serde_json::to_string(&single)
            }
            Order::Many { workload, tasks, ms } => {
                let duration = Duration::from_millis(ms);
                serde_json::to_string(&subject.many(runtime, workload, tasks, duration))
            }
            Order::Run { workload, requests } => {
                runtime.block_on(async {
                    visitor.prepare(workload).await;
                    for _ in 0..requests {
                        visitor.step(workload).await;
                    }
                });
                Ok("{}".to_owned())
            }
        };
        println!("{}", answer.unwrap());
        std::io::stdout().flush().unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_subject_can_do_is_measured() {
        let workloads = |login, sessions| Abilities { login, sessions }.workloads();
        assert_eq!(workloads(false, false), [Workload::W1]);
        assert_eq!(workloads(true, true), Workload::ALL);
        assert!(!workloads(false, true).contains(&Workload::W5L));
    }
}
