//! A proxy that counts round trips: it stands between a subject and its server and hands everything
//! on.

use super::Result;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// A round trip begins when a client speaks after its server did: commands that are sent together
/// count once.
///
/// Its threads end with the connections; the one that accepts them, with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    trips: Arc<AtomicU64>,
}

impl Proxy {
    /// Stands in front of a server of this machine.
    pub(crate) fn before(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { port: listener.local_addr()?.port(), trips: Arc::default() };
        let trips = Arc::clone(&proxy.trips);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client whose server cannot be reached loses its connection, and says so.
                if let Err(error) = connect(client, server, &trips) {
                    eprintln!("error: the proxy before port {server}: {error}");
                }
            }
        });
        Ok(proxy)
    }

    /// Round trips so far.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::SeqCst)
    }
}

fn connect(client: TcpStream, server: u16, trips: &Arc<AtomicU64>) -> std::io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let spoken = Arc::new(AtomicBool::new(true));
    let (trips, server_spoke) = (Arc::clone(trips), Arc::clone(&spoken));
    let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
    // Each notes what it has read before it hands it on, so that the other's turn cannot come
    // first.
    let count = move || {
        if spoken.swap(false, Ordering::SeqCst) {
            trips.fetch_add(1, Ordering::SeqCst);
        }
    };
    thread::spawn(move || pass(from_client, server, count));
    thread::spawn(move || pass(from_server, client, || server_spoke.store(true, Ordering::SeqCst)));
    Ok(())
}

/// Hands everything on until one side ends, and ends the other.
fn pass(mut from: TcpStream, mut to: TcpStream, note: impl Fn()) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        note();
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // Either may have been closed already; then there is nothing left to do.
    _ = to.shutdown(Shutdown::Write);
    _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A server that answers each byte with itself.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || pass(stream.try_clone().unwrap(), stream, || ()));
            }
        });
        port
    }

    #[test]
    fn what_is_sent_together_is_one_trip() {
        let proxy = Proxy::before(echo()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        let mut other = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        let trip = |client: &mut TcpStream, text: &[u8]| {
            let mut answer = vec![0; text.len()];
            client.write_all(text).unwrap();
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, text);
            proxy.trips()
        };
        assert_eq!(trip(&mut client, b"a"), 1);
        assert_eq!(trip(&mut client, b"bcd"), 2);
        assert_eq!(trip(&mut other, b"e"), 3, "each connection has turns of its own");
        assert_eq!(trip(&mut client, b"f"), 4);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the end is handed on");
    }
}
