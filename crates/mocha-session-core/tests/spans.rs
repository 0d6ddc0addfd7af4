//! Spans of `tracing`: which there are, in each other, with which fields.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mocha_session_core::{ErrorKind, Session};
use support::{App, Browser, Fault};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// A span that was closed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Span {
    name: &'static str,
    parent: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

impl Span {
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

impl Spans {
    fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let known = context.span(id).unwrap();
        let parent = known.parent().map(|parent| parent.name());
        let mut span = Span { name: known.name(), parent, ..Span::default() };
        assert_eq!((known.metadata().target(), *known.metadata().level()), TARGET);
        attributes.record(&mut span);
        known.extensions_mut().insert(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        values.record(context.span(id).unwrap().extensions_mut().get_mut::<Span>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap().extensions_mut().remove::<Span>().unwrap();
        self.0.lock().unwrap().push(span);
    }
}

const TARGET: (&str, Level) = ("mocha_session", Level::DEBUG);

fn recorded() -> (Spans, tracing::subscriber::DefaultGuard) {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    (spans, tracing::subscriber::set_default(subscriber))
}

/// The session's spans, with their outcomes; and the operations of the store calls in them.
fn outline(spans: &[Span]) -> String {
    let line = |span: &Span| match (span.name, span.parent) {
        ("store call", Some(_)) => format!("({})", span.get("db.operation.name")),
        (name, parent) => {
            assert_eq!(parent, None);
            format!("{name} {}", span.get("outcome"))
        }
    };
    spans.iter().map(line).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_load_and_a_commit_have_their_store_calls_in_them_and_one_name() {
    let (spans, _guard) = recorded();
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    let begun = spans.take();
    assert_eq!(outline(&begun), "(create) commit session committed");
    browser.request(&app.manager, |session| session.insert("n", 2)).await.unwrap();
    let written = spans.take();
    assert_eq!(outline(&written), "(load) load session found (update) commit session committed");
    let name = begun[1].get("session.id");
    assert_eq!(name.len(), 16);
    assert!(name == written[1].get("session.id") && name == written[3].get("session.id"));
    assert_eq!(written[3].get("rounds"), "1");
    let call = &written[2];
    assert_eq!((call.get("outcome"), call.get("otel.kind")), ("ok", "client"));
    assert_eq!(call.get("db.system.name"), written[3].get("db.system.name"));
    let old = browser.clone();
    browser.request(&app.manager, Session::rotate).await.unwrap();
    let rotated = spans.take();
    assert_eq!(
        outline(&rotated),
        "(load) load session found (create) (update) commit session committed"
    );
    let commit = rotated.last().unwrap();
    assert_eq!(commit.get("session.previous_id"), name);
    assert!(commit.get("session.id").len() == 16 && commit.get("session.id") != name);
    old.start(&app.manager).await;
    assert_eq!(outline(&spans.take()), "(load) load session superseded");
    app.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
    browser.request(&app.manager, |_| ()).await;
    let refreshed = spans.take();
    assert_eq!(outline(&refreshed), "(load) load session found (update) commit session refreshed");
}

#[tokio::test]
async fn conflicts_show_as_rounds_and_errors_as_their_kind() {
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    let (spans, _guard) = recorded();
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("m", 1).unwrap();
    browser.clone().request(&app.other_process(), |session| session.insert("n", 2)).await.unwrap();
    spans.take();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    let conflicted = spans.take();
    assert_eq!(outline(&conflicted), "(update) (load) (update) commit session committed");
    assert_eq!(conflicted[3].get("rounds"), "2");

    app.store.on("load", 0, Fault::Fail(ErrorKind::Unavailable));
    browser.open(&app.manager).load().await.unwrap_err();
    let failed = spans.take();
    assert_eq!(outline(&failed), "(load) load session unavailable");
    for span in failed {
        assert_eq!(span.get("error.type"), "unavailable");
    }
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("n", 3).unwrap();
    app.store.on("update", 0, Fault::Fail(ErrorKind::Full));
    spans.take();
    app.manager.finish(&lazy, 200).await.into_result().unwrap_err();
    assert_eq!(outline(&spans.take()), "(update) commit session full");

    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("n", 4).unwrap();
    browser.clone().request(&app.other_process(), Session::destroy).await.unwrap();
    spans.take();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(outline(&spans.take()), "(update) (load) commit session gone");
}

#[tokio::test]
async fn a_subscriber_that_wants_less_gets_no_span() {
    let spans = Spans::default();
    let least = tracing_subscriber::filter::LevelFilter::INFO;
    let subscriber = tracing_subscriber::registry().with(spans.clone().with_filter(least));
    let _guard = tracing::subscriber::set_default(subscriber);
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    browser.request(&app.manager, |session| session.login("alice")).await.unwrap();
    assert_eq!(spans.take(), []);
}
