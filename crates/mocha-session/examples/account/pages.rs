//! The pages: templates that escape whatever they are given.

use std::sync::Arc;

use axum::http::StatusCode;
use minijinja::{Environment, Value};

/// The application's templates. Their names end in `.html`, so everything in them is escaped.
#[derive(Clone, Debug)]
pub(crate) struct Pages(Arc<Environment<'static>>);

impl Pages {
    pub(crate) fn new() -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        for (name, text) in [
            ("layout.html", include_str!("templates/layout.html")),
            ("home.html", include_str!("templates/home.html")),
            ("account.html", include_str!("templates/account.html")),
            ("saved.html", include_str!("templates/saved.html")),
            ("devices.html", include_str!("templates/devices.html")),
            ("about.html", include_str!("templates/about.html")),
        ] {
            templates.add_template(name, text)?;
        }
        Ok(Self(Arc::new(templates)))
    }

    pub(crate) fn render(&self, name: &str, with: Value) -> Result<String, StatusCode> {
        let page = self.0.get_template(name).and_then(|template| template.render(with));
        page.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}
