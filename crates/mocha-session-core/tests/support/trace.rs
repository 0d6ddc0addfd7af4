//! What the library says in the trace, for tests of what it must say.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The events of this thread since [`traced`] was called.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<(Level, String)>>>);

impl Trace {
    /// The events of this level, each with its fields.
    pub fn at(&self, level: Level) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events.iter().filter(|(at, _)| *at == level).map(|(_, text)| text.clone()).collect()
    }
}

/// Collects the events of this thread until the guard is dropped.
pub fn traced() -> (Trace, tracing::subscriber::DefaultGuard) {
    let trace = Trace::default();
    let guard = tracing::subscriber::set_default(Collector(trace.clone()));
    (trace, guard)
}

struct Collector(Trace);

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
        self.0.0.lock().unwrap().push((*event.metadata().level(), text.0));
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
