//! A sequence of session operations against a model: what a session holds, what its flash shows,
//! whose it is, whether it lives and what its browser is told must be what the model says.
//!
//! Two browsers, each against a process of its own on one store, with one request at a time; two
//! detached handles; owners' calls; a clock. The first byte chooses the rules, each further
//! operation takes a byte and its arguments.

mod content;
mod play;
mod request;
mod world;

use crate::block_on;
use play::Play;

/// More operations than a finding needs.
const MOST: usize = 300;

pub(crate) fn run(bytes: &[u8]) {
    let Some((rules, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.iter().copied();
    block_on(async {
        let mut play = Play::new(*rules);
        for _ in 0..MOST {
            let Some(operation) = bytes.next() else { break };
            play.step(operation, &mut bytes).await;
        }
        play.end().await;
    });
}
