//! The output of a command, as text or as JSON, and its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use mocha_session::{Error, ErrorKind};
use serde_json::{Map, Value, json};

/// The output of a command.
#[derive(Debug, Default)]
pub(crate) struct Report {
    fields: Map<String, Value>,
    lines: Vec<String>,
    raw: Option<Vec<u8>>,
    code: u8,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Creates a report whose output is only this text, for example a script or a man page.
    pub(crate) fn text(raw: Vec<u8>) -> Self {
        Self { raw: Some(raw), ..Self::default() }
    }

    /// Adds a fact: a line of text, and a field of the JSON object.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let shown = match &value {
            Value::String(text) => text.clone(),
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            Value::Null => "unknown".into(),
            other => other.to_string(),
        };
        self.lines.push(format!("{:<24} {shown}", name.replace('_', " ")));
        self.fields.insert(name.into(), value);
    }

    /// Adds a field of the JSON object only.
    pub(crate) fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.into(), value.into());
    }

    /// Adds a line of the text only.
    pub(crate) fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Adds a warning, which names a danger and its remedy.
    pub(crate) fn warning(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        self.lines.push(format!("warning: {warning}"));
        let warnings = self.fields.entry("warnings").or_insert_with(|| json!([]));
        if let Value::Array(warnings) = warnings {
            warnings.push(warning.into());
        }
        self.code = 1;
    }

    /// Sets the exit code 1: nothing matched.
    pub(crate) fn nothing(mut self) -> Self {
        self.code = 1;
        self
    }

    /// Sets the exit code 6: Ctrl-C ended the command between two entries.
    pub(crate) fn interrupted(mut self) -> Self {
        self.line("interrupted; run it again to go on");
        self.field("interrupted", true);
        self.code = 6;
        self
    }

    pub(crate) fn print(self, json: bool) -> ExitCode {
        let mut out = match self.raw {
            Some(raw) => raw,
            None if json => format!("{}\n", Value::Object(self.fields)).into_bytes(),
            None => self.lines.join("\n").into_bytes(),
        };
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        // A reader that closes the pipe early, as `head` does, is not a failure.
        drop(std::io::stdout().write_all(&out));
        ExitCode::from(self.code)
    }
}

/// The reason why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    kind: &'static str,
    code: u8,
}

impl Failure {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: "invalid_config", code: 3 }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: "internal", code: 70 }
    }

    pub(crate) fn print(self, json: bool) -> ExitCode {
        let text = if json {
            format!("{}\n", json!({ "error": self.message, "kind": self.kind }))
        } else {
            format!("error: {}\n", self.message)
        };
        drop(std::io::stderr().write_all(text.as_bytes()));
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::InvalidConfig | ErrorKind::InvalidInput | ErrorKind::Unsupported => 3,
            ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Ambiguous
            | ErrorKind::Conflict
            | ErrorKind::Full => 4,
            ErrorKind::Denied => 5,
            ErrorKind::Corrupt | ErrorKind::Gone | ErrorKind::TooLarge => 1,
            _ => 70,
        };
        Self { message: error.to_string(), kind: error.kind().as_str(), code }
    }
}
