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

    /// Adds a note.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        self.lines.push(format!("note: {note}"));
        if let Value::Array(notes) = self.fields.entry("notes").or_insert_with(|| json!([])) {
            notes.push(note.into());
        }
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
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&out).and_then(|()| stdout.flush()) {
            Ok(()) => ExitCode::from(self.code),
            // A reader that closes the pipe early, as `head` does, is not a failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                ExitCode::from(self.code)
            }
            Err(error) => Failure::output(&error).print(json),
        }
    }
}

/// Ends the process after a panic, with a sentence and the exit code 70. The panic's own message is
/// left out, because it may contain data.
pub(crate) fn end_on_panic(json: bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(String::new, |at| format!(" at {at}"));
        _ = Failure::bug(&place).print(json);
        std::process::exit(BUG.into());
    }));
}

/// The exit code of a bug.
const BUG: u8 = 70;

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

    fn bug(place: &str) -> Self {
        Self::internal(format!("this is a bug of the command{place}; please report it"))
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: "internal", code: BUG }
    }

    fn output(error: &std::io::Error) -> Self {
        let message = format!("the output could not be written: {error}");
        Self { message, kind: "output", code: 74 }
    }

    /// Adds what was done before the failure.
    pub(crate) fn after(mut self, done: &str) -> Self {
        self.message = format!("{}; {done}", self.message);
        self
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
            _ => BUG,
        };
        Self { message: error.to_string(), kind: error.kind().as_str(), code }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::process::Command;

    use super::*;

    /// Set where this test is the process that panics.
    const PANICS: &str = "MOCHA_TEST_PANICS";

    #[test]
    fn a_panic_is_a_sentence_and_exit_code_70_without_its_message_and_a_backtrace() {
        if let Ok(format) = std::env::var(PANICS) {
            end_on_panic(format == "json");
            let session = "payload-4711";
            // The command's own work is on threads of the runtime.
            drop(std::thread::spawn(move || panic!("{session}")).join());
            unreachable!("the process ends in the hook");
        }
        for format in ["text", "json"] {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg(
                    "output::tests::\
                     a_panic_is_a_sentence_and_exit_code_70_without_its_message_and_a_backtrace",
                )
                .env(PANICS, format)
                .env("RUST_BACKTRACE", "1")
                .output()
                .unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(i32::from(BUG)), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            let begins = if format == "json" { "{\"error\":" } else { "error: " };
            assert!(text.starts_with(begins) && text.contains("this is a bug"), "{text}");
            for unwanted in ["payload", "panicked", "backtrace"] {
                assert!(!text.contains(unwanted), "{text}");
            }
        }
    }
}
