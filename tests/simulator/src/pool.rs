//! Runtimes on paused time, used again by run after run.

use tokio::runtime::Runtime;

/// Runtimes that are used again, one for each process and one for who looks from outside.
#[derive(Debug, Default)]
pub struct Pool {
    pub(crate) runtimes: Vec<Runtime>,
}

impl Pool {
    pub(crate) fn take(&mut self) -> Runtime {
        self.runtimes.pop().unwrap_or_else(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap_or_else(|error| {
                    unreachable!("a runtime without I/O needs nothing: {error}")
                })
        })
    }
}
