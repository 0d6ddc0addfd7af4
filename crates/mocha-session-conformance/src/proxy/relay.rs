//! How the proxy passes the bytes of a connection, delays them or loses them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Mode, Seen, State};

/// The number of a client's last bytes that are kept.
const LAST_WORDS: usize = 16;

/// Passes the bytes of one connection in both directions, with the faults of the present state.
pub(super) async fn relay(
    client: &TcpStream,
    state: &watch::Sender<State>,
    cuts: usize,
    seen: &Seen,
    last_words: &mut Vec<u8>,
) {
    let server = state.borrow().server.clone();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let asked = AtomicBool::new(false);
    let forth = async {
        let mut piece = vec![0; 65_536];
        while let Some(read) = read(client, &mut piece).await {
            piece[..read][read.saturating_sub(LAST_WORDS)..].clone_into(last_words);
            passing(state).await;
            // After a cut, nothing passes, even if this task was not woken yet.
            if state.borrow().ends(cuts) {
                return;
            }
            let mut instead = None;
            state.send_if_modified(|state| {
                instead = state.instead.take();
                false
            });
            if let Some(answer) = instead {
                drop(write(client, &answer).await);
                return;
            }
            asked.store(true, Ordering::SeqCst);
            if write(&server, &piece[..read]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut piece = vec![0; 65_536];
        while let Some(read) = read(&server, &mut piece).await {
            passing(state).await;
            if asked.swap(false, Ordering::SeqCst) {
                seen.answers.fetch_add(1, Ordering::SeqCst);
                let delay = state.borrow().delay;
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
            }
            if state.borrow().ends(cuts) || is_lost(state) {
                return;
            }
            let trickle = state.borrow().trickle;
            for part in piece[..read].chunks(if trickle { (read / 8).max(7) } else { read }) {
                if trickle {
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(..1_000))).await;
                }
                if write(client, part).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! { () = forth => {} () = back => {} }
}

async fn read(from: &TcpStream, piece: &mut [u8]) -> Option<usize> {
    loop {
        from.readable().await.ok()?;
        match from.try_read(piece) {
            Ok(0) => return None,
            Ok(read) => return Some(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

async fn write(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits while the proxy hangs.
async fn passing(state: &watch::Sender<State>) {
    drop(state.subscribe().wait_for(|state| state.mode != Mode::Hang).await.map(drop));
}

fn is_lost(state: &watch::Sender<State>) -> bool {
    let mut lost = false;
    state.send_if_modified(|state| {
        lost = state.mode == Mode::LoseAnswers || state.lose > 0;
        state.lose = state.lose.saturating_sub(1);
        false
    });
    lost
}
