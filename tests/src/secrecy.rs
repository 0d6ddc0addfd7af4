//! What a run tells operators (events, spans, metrics), searched for ids, secrets and payloads.
//!
//! Every manager of the tables is watched, and every response is read for the ids and tokens that
//! it gives out. After each case of the HTTP table the whole is searched.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use mocha_session::metrics::Metrics;
use mocha_session::observe::{Event, Observer};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

static TOLD: Mutex<String> = Mutex::new(String::new());
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static PROMETHEUS: OnceLock<PrometheusHandle> = OnceLock::new();

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a text that must not be told. Parts of a few characters are left out: they are in any text.
pub fn learn(secret: &str) {
    let parts = secret.split('.').filter(|part| part.len() > 8).map(ToOwned::to_owned);
    lock(&SECRETS).extend(parts);
}

/// Searches what was told so far.
///
/// # Panics
/// When a secret is in it.
pub fn check() {
    let told = told();
    for secret in lock(&SECRETS).iter() {
        let line = told.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "a secret is in it");
    }
}

/// Everything that was told so far.
pub fn told() -> String {
    let metrics = PROMETHEUS.get().map(PrometheusHandle::render).unwrap_or_default();
    format!("{}{metrics}", lock(&TOLD))
}

/// An observer that writes all events down, and counts them.
#[derive(Debug)]
pub struct Watch(Metrics);

impl Watch {
    /// Starts to record the events and spans of this process as well.
    #[allow(clippy::new_without_default, reason = "it changes the process")]
    pub fn new() -> Self {
        PROMETHEUS.get_or_init(|| {
            // Another subscriber of this process would have been set by a test's own code.
            drop(tracing::subscriber::set_global_default(
                tracing_subscriber::registry().with(Recorder),
            ));
            PrometheusBuilder::new().install_recorder().unwrap()
        });
        Self(Metrics::new())
    }
}

impl Observer for Watch {
    fn observe(&self, event: &Event<'_>) {
        self.0.observe(event);
        let mut told = lock(&TOLD);
        writeln!(told, "{event:?}").unwrap();
        if let Event::Failed { error, .. } | Event::StoreCall { error: Some(error), .. } = event {
            writeln!(told, "{error}").unwrap();
        }
    }
}

/// Writes the library's events and spans down. What clients of engines log is theirs.
struct Recorder;

fn record(name: &str, write: impl FnOnce(&mut Fields)) {
    let mut fields = Fields(String::from(name));
    write(&mut fields);
    writeln!(lock(&TOLD), "{}", fields.0).unwrap();
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("mocha_session")
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        record(attributes.metadata().name(), |fields| attributes.record(fields));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        record("record", |fields| values.record(fields));
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        record("event", |fields| event.record(fields));
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}
