//! A small engine behind TCP, and a client of it that is right or has one flaw: what `faults!` is
//! proven with.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use mocha_session_core::backend::Dialer;
use mocha_session_core::store::{
    Bytes, Capabilities, Durability, Effect, Expiry, Failure, Revision, ScanCursor, ScanPage,
    SessionStore, StorageKey, Stored, SweepReport, async_trait,
};
use mocha_session_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The flaw of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    OutageIsAbsence,
    LostAnswerIsUnavailable,
    UnsentIsAmbiguous,
    WritesAreSentTwice,
    ReadsAreNotSentTwice,
    DialsWithoutPause,
    FailsForGood,
    ConnectionOutlivesACancelledCall,
}

/// Starts an engine on this runtime; it ends with it. Each line is a command, each answer is a
/// line.
pub(crate) async fn engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let entries = Arc::new(Mutex::new(HashMap::new()));
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let entries = Arc::clone(&entries);
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut line = String::new();
                while let Ok(1..) = client.read_line(&mut line).await {
                    let answer = obey(&mut entries.lock().unwrap(), line.trim_end());
                    if client.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

fn obey(entries: &mut HashMap<String, (String, String)>, line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let answer = match (words[0], entries.get(words[1])) {
        ("load", Some((revision, value))) => format!("{revision} {value}"),
        ("create", Some(_)) | ("load" | "update", None) => "none".to_owned(),
        ("update", Some((revision, _))) if revision != words[4] => "none".to_owned(),
        ("create" | "update", _) => {
            entries.insert(words[1].to_owned(), (words[2].to_owned(), words[3].to_owned()));
            words[2].to_owned()
        }
        (_, found) => {
            let answer = if found.is_some() { "true" } else { "none" };
            entries.remove(words[1]);
            answer.to_owned()
        }
    };
    answer + "\n"
}

/// A store on the engine: one connection, one call at a time.
#[derive(Debug)]
pub(crate) struct Remote {
    address: String,
    flaw: Flaw,
    dialer: Dialer,
    connection: tokio::sync::Mutex<Option<BufReader<TcpStream>>>,
    failed: AtomicBool,
}

impl Remote {
    pub(crate) fn new(address: String, flaw: Flaw) -> Self {
        let (dialer, connection) = (Dialer::new(), tokio::sync::Mutex::new(None));
        Self { address, flaw, dialer, connection, failed: AtomicBool::new(false) }
    }

    /// A connection, and whether it was used before.
    async fn connect(
        &self,
        idle: Option<BufReader<TcpStream>>,
    ) -> Result<(BufReader<TcpStream>, bool)> {
        if let Some(connection) = idle {
            return Ok((connection, true));
        }
        let refused = || Failure::NotSent.error(Effect::Read, "no connection");
        if self.flaw == Flaw::FailsForGood && self.failed.load(Ordering::SeqCst) {
            return Err(refused());
        }
        let attempt =
            (self.flaw != Flaw::DialsWithoutPause).then(|| self.dialer.attempt(Instant::now()));
        let attempt = attempt.transpose()?;
        let greeted = async {
            let mut connection = BufReader::new(TcpStream::connect(&self.address).await.ok()?);
            ask(&mut connection, "load nothing\n").await?;
            Some(connection)
        };
        let Some(connection) = greeted.await else {
            self.failed.store(true, Ordering::SeqCst);
            return Err(
                attempt.map_or_else(refused, |attempt| attempt.failed(Instant::now(), refused()))
            );
        };
        let _ = attempt.map(mocha_session_core::backend::Attempt::succeeded);
        Ok((connection, false))
    }

    async fn call(&self, command: String, effect: Effect) -> Result<Option<String>> {
        let mut slot = self.connection.lock().await;
        loop {
            let connected = self.connect(slot.take()).await;
            let (mut connection, used) = connected.map_err(|error| match self.flaw {
                Flaw::UnsentIsAmbiguous if effect == Effect::Write => {
                    Error::new(ErrorKind::Ambiguous, "?")
                }
                _ => error,
            })?;
            let answer = if self.flaw == Flaw::ConnectionOutlivesACancelledCall {
                let connection = slot.insert(connection);
                let answer = ask(connection, &command).await;
                if answer.is_none() {
                    *slot = None;
                }
                answer
            } else {
                // Out of the slot while it is used: a cancelled call takes it along.
                let answer = ask(&mut connection, &command).await;
                *slot = answer.is_some().then_some(connection);
                answer
            };
            if let Some(answer) = answer {
                return Ok((answer != "none").then_some(answer));
            }
            let again = match effect {
                Effect::Read => {
                    !matches!(self.flaw, Flaw::ReadsAreNotSentTwice | Flaw::OutageIsAbsence)
                }
                Effect::Write => self.flaw == Flaw::WritesAreSentTwice,
            };
            if !(used && again) {
                let failure = match self.flaw {
                    Flaw::LostAnswerIsUnavailable => Failure::NotSent,
                    _ => Failure::Unanswered,
                };
                return Err(failure.error(effect, "the connection broke"));
            }
        }
    }
}

async fn ask(connection: &mut BufReader<TcpStream>, command: &str) -> Option<String> {
    connection.write_all(command.as_bytes()).await.ok()?;
    let mut line = String::new();
    connection.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}

fn hexadecimal(value: &[u8]) -> String {
    value
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn bytes(text: &str) -> Bytes {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

#[async_trait]
impl SessionStore for Remote {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let found = match self.call(format!("load {key}\n"), Effect::Read).await {
            Err(_) if self.flaw == Flaw::OutageIsAbsence => None,
            answer => answer?,
        };
        Ok(found.map(|found| {
            let (revision, value) = found.split_once(' ').unwrap();
            Stored::new(bytes(value), Revision::from(revision.to_owned()))
        }))
    }

    async fn create(&self, key: &StorageKey, value: &[u8], _: Expiry) -> Result<Option<Revision>> {
        let revision = Revision::random();
        let command = format!("create {key} {} {}\n", revision.as_str(), hexadecimal(value));
        Ok(self.call(command, Effect::Write).await?.map(|_| revision))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        _: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let revision = Revision::random();
        let (new, value) = (revision.as_str(), hexadecimal(value));
        let command = format!("update {key} {new} {value} {}\n", expected.as_str());
        Ok(self.call(command, Effect::Write).await?.map(|_| revision))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        Ok(self.call(format!("delete {key}\n"), Effect::Write).await?.is_some())
    }

    async fn sweep(&self, _: SystemTime, _: Option<ScanCursor>, _: usize) -> Result<SweepReport> {
        Ok(SweepReport::native())
    }

    async fn scan(&self, _: Option<ScanCursor>, _: usize) -> Result<ScanPage> {
        Err(Error::new(ErrorKind::Unsupported, "it cannot list"))
    }

    async fn ping(&self) -> Result<()> {
        self.call("load nothing\n".to_owned(), Effect::Read).await.map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("remote").with_native_expiry(true).with_durability(Durability::Server)
    }
}
