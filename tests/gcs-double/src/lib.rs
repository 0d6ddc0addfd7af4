//! A test double of Google Cloud Storage: the calls that `mocha-session-gcs` makes, in process,
//! with faults on request.
//!
//! It is **not an emulator**. It knows reading, writing, deleting and listing objects and creating
//! a bucket, each in the dialects that the store speaks: JSON over REST and gRPC for the official
//! client, and the XML API with `GOOG4-HMAC-SHA256` signatures, which it verifies with code of its
//! own; all on one port of 127.0.0.1. What it says is what Google's documentation and error
//! messages say. What it does not have: access tokens (anybody may do anything in the first two
//! dialects), checksums, quotas, the limit of about one write a second to an object, versions of
//! objects, soft deletion, time. Only a real bucket proves what Google does;
//! `MOCHA_TEST_GCS_REAL_URL` runs the tests against one.
//!
//! Generations are as Google's: a write gives an object a number that is greater than any before,
//! also after a deletion.
//!
//! ```
//! use mocha_session_gcs_double::{Double, Fault, Operation};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let double = Double::start().await;
//! assert!(double.gs_url().starts_with("gs://"));
//! double.inject(Operation::Write, Fault::LostAnswer); // the next write is done, and its answer is lost
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

use server::Command;
use world::World;

/// The bucket that is there from the beginning.
pub const BUCKET: &str = "sessions-test";
/// The access id of the HMAC key that is accepted.
pub const ACCESS_ID: &str = "GOOG1DOUBLE";
/// Its secret, with characters that must be percent-encoded in a URL.
pub const SECRET: &str = "wJalr/XUtn+FEMI=";

/// A running double. It ends when this is dropped.
#[derive(Debug)]
pub struct Double {
    world: Arc<World>,
    port: u16,
    commands: mpsc::UnboundedSender<Command>,
}

impl Double {
    /// Starts one on a free port, in a thread and runtime of its own: it outlives the caller's
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

    /// Where it listens: `http://127.0.0.1:…`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL of the bucket for the official client.
    pub fn gs_url(&self) -> String {
        format!("gs://{BUCKET}?endpoint={}&anonymous=true", self.endpoint())
    }

    /// The URL of the bucket with the right HMAC key.
    pub fn hmac_url(&self) -> String {
        let secret =
            percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC);
        format!(
            "google_storage://{ACCESS_ID}:{secret}@cloud.google.com/{BUCKET}?endpoint={}",
            self.endpoint()
        )
    }

    /// Lets the next call of this kind fail in this way. Several are used up in the order in which
    /// they were injected.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.world.faults().inject(operation, fault);
    }

    /// How many calls of this kind have arrived, failed ones included.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.world.faults().calls(operation)
    }

    /// Creates a bucket, or empties one that is there.
    pub fn create_bucket(&self, name: &str) {
        self.world.replace_bucket(name);
    }

    /// Removes a bucket and all in it.
    pub fn remove_bucket(&self, name: &str) {
        self.world.remove_bucket(name);
    }

    /// Puts an object there that no store has written.
    pub fn put_foreign(&self, bucket: &str, name: &str, value: &[u8]) {
        self.world.put_foreign(bucket, name, value);
    }

    /// The names of the objects in a bucket.
    pub fn names(&self, bucket: &str) -> Vec<String> {
        self.world.names(bucket)
    }

    /// Everything it holds, as one text: to be searched for what must not be there.
    pub fn dump(&self) -> Vec<u8> {
        self.world.dump()
    }

    /// Closes the port and every connection, as if it were killed. What it holds stays.
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
