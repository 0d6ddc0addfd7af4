//! Which idle connections to ask whether they still live, instead of asking each of them every time.
//!
//! Asking costs a round trip (119 against 75 µs a load on PostgreSQL); not asking makes a write that meets a connection
//! the server has closed an ambiguous one. So a connection is asked when it was idle for a while, or when it was last
//! used before some connection was found dead: then the server was probably restarted, and all of them are.

use std::sync::{Arc, Mutex, PoisonError};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::time::Duration;
use std::time::Instant;

/// Shared between a store, which raises it, and the pool's hook, which looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicion(Arc<Mutex<Option<Instant>>>);

impl Suspicion {
    /// Idle for longer than this, a connection is asked before it is used.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    const IDLE: Duration = Duration::from_secs(1);

    /// A connection was found dead.
    pub(crate) fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it falls on a connection that was idle for so long.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn falls_on(&self, idle_for: Duration) -> bool {
        let raised = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle_for >= Self::IDLE || raised.is_some_and(|at| at.elapsed() <= idle_for)
    }
}

#[cfg(all(test, any(feature = "postgres", feature = "mysql")))]
mod tests {
    use super::*;

    #[test]
    fn it_falls_on_the_idle_and_on_those_used_before_a_death() {
        let suspicion = Suspicion::default();
        assert!(!suspicion.falls_on(Duration::from_millis(900)));
        assert!(suspicion.falls_on(Suspicion::IDLE));
        suspicion.raise();
        assert!(suspicion.falls_on(Duration::from_millis(900)));
        assert!(!suspicion.falls_on(Duration::ZERO));
    }
}
