//! A test double of Google Cloud Storage: the calls that `mocha-session-gcs` makes, in process,
//! with faults on request.
//!
//! It is **not an emulator**. It supports reading, writing, deleting and listing objects, creating a
//! bucket and asking for its rules, in each dialect that the store uses, all on one port of
//! 127.0.0.1: JSON over REST and gRPC for the official client, and the XML API with
//! `GOOG4-HMAC-SHA256` signatures, which it verifies with its own code. Its responses follow
//! Google's documentation and error messages.
//!
//! It lacks access tokens (the first two dialects allow every request), checksums, quotas, the
//! limit of about one write a second to an object, versions of objects, soft deletion, and time.
//! Only a real bucket proves Google's behaviour. `MOCHA_TEST_GCS_REAL_URL` runs the tests against
//! one.
//!
//! Generations are as Google's: each write sets a greater number than any before, also after a
//! deletion.
//!
//! ```
//! use mocha_session_gcs_double::{Double, Fault, Operation};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let double = Double::start().await;
//! assert!(double.gs_url().starts_with("gs://"));
//! // The next write is done, but its answer is lost.
//! double.inject(Operation::Write, Fault::LostAnswer);
//! # }
//! ```

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test support: what fails here fails a test"
)]

mod fault;
mod grpc;
mod json;
mod server;
mod signature;
mod world;
mod xml;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use fault::{Fault, Operation};
pub use world::Rules;

use server::Command;
use world::World;

/// The bucket that exists from the start.
pub const BUCKET: &str = "sessions-test";
/// The access id of the HMAC key that is accepted.
pub const ACCESS_ID: &str = "GOOG1DOUBLE";
/// Its secret, which contains characters that must be percent-encoded in a URL.
pub const SECRET: &str = "wJalr/XUtn+FEMI=";

/// A running double. Dropping it stops it.
#[derive(Debug)]
pub struct Double {
    world: Arc<World>,
    port: u16,
    commands: mpsc::UnboundedSender<Command>,
}

impl Double {
    /// Starts a double on a free port, in its own thread and runtime. It outlives the caller's
    /// runtime, so that tests can share it.
    pub async fn start() -> Self {
        let world = Arc::new(World::new(BUCKET));
        let (commands, inbox) = mpsc::unbounded_channel();
        let (ready, port) = oneshot::channel();
        let served = Arc::clone(&world);
        std::thread::Builder::new()
            .name("gcs-double".to_owned())
            .spawn(move || server::run(&served, inbox, ready))
            .expect("a thread");
        Self { world, port: port.await.expect("the double listens"), commands }
    }

    /// Returns its address: `http://127.0.0.1:…`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the URL of the bucket for the official client.
    pub fn gs_url(&self) -> String {
        format!("gs://{BUCKET}?endpoint={}&anonymous=true", self.endpoint())
    }

    /// Returns the URL of the bucket with the right HMAC key.
    pub fn hmac_url(&self) -> String {
        let secret =
            percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC);
        format!(
            "google_storage://{ACCESS_ID}:{secret}@cloud.google.com/{BUCKET}?endpoint={}",
            self.endpoint()
        )
    }

    /// Makes the next call of this kind fail in this way. Several faults are used in the order in
    /// which they were injected.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.world.faults().inject(operation, fault);
    }

    /// Returns the number of calls of this kind that have arrived, including failed ones.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.world.faults().calls(operation)
    }

    /// Creates a bucket, or empties an existing one.
    pub fn create_bucket(&self, name: &str) {
        self.world.replace_bucket(name);
    }

    /// Removes a bucket and its objects.
    pub fn remove_bucket(&self, name: &str) {
        self.world.remove_bucket(name);
    }

    /// Sets the rules of a bucket. A new bucket has none.
    pub fn set_rules(&self, bucket: &str, rules: Rules) {
        self.world.set_rules(bucket, rules);
    }

    /// Adds an object that no store has written.
    pub fn put_foreign(&self, bucket: &str, name: &str, value: &[u8]) {
        self.world.put_foreign(bucket, name, value);
    }

    /// Returns the names of the objects in a bucket.
    pub fn names(&self, bucket: &str) -> Vec<String> {
        self.world.names(bucket)
    }

    /// Returns its whole content as one text, so that a test can search for text that must not be
    /// stored.
    pub fn dump(&self) -> Vec<u8> {
        self.world.dump()
    }

    /// Closes the port and every connection, like a kill. The content is kept.
    pub async fn stop(&self) {
        self.command(Command::Stop).await;
    }

    /// Opens the port again.
    pub async fn resume(&self) {
        self.command(Command::Resume).await;
    }

    async fn command(&self, command: fn(oneshot::Sender<()>) -> Command) {
        let (done, when) = oneshot::channel();
        self.commands.send(command(done)).expect("the double runs");
        when.await.expect("the double answers");
    }
}
