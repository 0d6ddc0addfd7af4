//! Records the trace of a store or of the library, for tests of what it must contain.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};

type Events = Arc<Mutex<Vec<(&'static str, String)>>>;

/// The events that this thread traces, until this is dropped.
///
/// ```
/// let trace = mocha_session_conformance::tools::Trace::start();
/// // Calls of the store.
/// assert!(trace.at("ERROR").is_empty());
/// ```
#[derive(Debug)]
pub struct Trace {
    events: Events,
    _guard: DefaultGuard,
}

impl Trace {
    /// Collects the events of this thread from now on.
    pub fn start() -> Self {
        let events = Events::default();
        Self { _guard: set_default(Collector(Arc::clone(&events))), events }
    }

    /// Returns the events of a level such as `WARN`, each as its fields.
    pub fn at(&self, level: &str) -> Vec<String> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|(at, _)| *at == level).map(|(_, text)| text.clone()).collect()
    }
}

struct Collector(Events);

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push((event.metadata().level().as_str(), text.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
