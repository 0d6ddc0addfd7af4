//! Counts of the allocator: allocations per request, and heap per session in memory.
//!
//! The counting allocator is linked only into separate binaries, which pass their `measure` here.
//! The times and instructions of the other binaries are those of the ordinary allocator.
//!
//! ```text
//! allocations SUBJECT WORKLOAD REQUESTS [URL]
//! heap SUBJECT SESSIONS
//! ```

use crate::visitor::{Visitor, Workload};
use crate::worker::{Subject, runtime};

/// The counts of one run.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub allocations: u64,
    /// The number of bytes that were allocated and not freed.
    pub kept: i64,
}

/// Runs the command line.
pub fn main<S: Subject>(
    open: impl AsyncFn(&str, Option<&str>) -> Option<S>,
    measure: impl Fn(&mut dyn FnMut()) -> Counted,
) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = runtime(1);
    let open = |name: &str, url: Option<&str>| {
        runtime.block_on(open(name, url)).expect("a subject that is known")
    };
    let (what, times) = match *words.as_slice() {
        ["allocations", subject, workload, requests, ref url @ ..] => {
            let subject = open(subject, url.first().copied());
            let (workload, requests): (Workload, u32) =
                (workload.parse().unwrap(), requests.parse().unwrap());
            let mut visitor = Visitor::new(subject.client());
            runtime.block_on(visitor.prepare(workload));
            let mut rounds = || {
                runtime.block_on(async {
                    for _ in 0..requests {
                        visitor.step(workload).await;
                    }
                });
            };
            rounds();
            (
                "allocations",
                f64::from(u32::try_from(measure(&mut rounds).allocations).unwrap())
                    / f64::from(requests),
            )
        }
        ["heap", subject, sessions] => {
            let subject = open(subject, None);
            let sessions: u32 = sessions.parse().unwrap();
            let mut visitor = Visitor::new(subject.client());
            let mut fill = || {
                runtime.block_on(async {
                    for _ in 0..sessions {
                        visitor.step(Workload::W5).await;
                    }
                });
            };
            ("bytes_per_session", measure(&mut fill).kept as f64 / f64::from(sessions))
        }
        _ => panic!("allocations SUBJECT WORKLOAD REQUESTS [URL] | heap SUBJECT SESSIONS"),
    };
    println!("{}", serde_json::json!({ what: times }));
}
