//! Just enough of Redis's, memcached's and HTTP's protocol to ask a server whether it is there and
//! to set it up.

use crate::Result;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// Sends one line and answers the reply: Redis's inline commands, memcached's text.
pub(crate) fn ask(port: u16, line: &str) -> Result<String> {
    let mut stream = connect(port)?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    reply(&mut BufReader::new(stream)).map_err(|error| format!("`{line}`: {error}").into())
}

/// Sends a request and answers the body; anything but 200 is an error.
pub(crate) fn http(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<String> {
    let mut stream = connect(port)?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split_whitespace().nth(1) == Some("200") => Ok(body.to_owned()),
        _ => {
            Err(format!("{method} {path} answered {}", answer.lines().next().unwrap_or("nothing"))
                .into())
        }
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A line, or the text whose length a line announces.
fn reply(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end().to_owned();
    if let Some(length) = line.strip_prefix('$') {
        let mut text = vec![0; length.parse()?];
        stream.read_exact(&mut text)?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    if line.is_empty() || line.starts_with('-') {
        return Err(if line.is_empty() { "no answer".into() } else { line.into() });
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn replies_are_read() {
        let read = |text: &str| reply(&mut text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read("+PONG\r\n").unwrap(), "+PONG");
        assert_eq!(read("VERSION 1.6.18\r\n").unwrap(), "VERSION 1.6.18");
        assert_eq!(read("$5\r\na\r\nb!\r\n").unwrap(), "a\r\nb!".to_owned()[..5].to_owned());
        assert_eq!(read("-LOADING wait\r\n").unwrap_err(), "-LOADING wait");
        assert_eq!(read("").unwrap_err(), "no answer");
        assert!(read("$9\r\nshort").is_err());
    }

    #[test]
    fn only_200_is_an_answer() {
        let once = |answer: &'static str| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&request[..read]).into_owned()
            });
            let result =
                http(port, "POST", "/x", "A: b\r\n", "body").map_err(|error| error.to_string());
            (result, server.join().unwrap())
        };
        let (result, request) = once("HTTP/1.1 200 OK\r\nA: b\r\n\r\nfine");
        assert_eq!(result.unwrap(), "fine");
        assert!(
            request.starts_with("POST /x HTTP/1.1\r\n") && request.ends_with("A: b\r\n\r\nbody"),
            "{request}"
        );
        let (result, _) = once("HTTP/1.1 403 Forbidden\r\n\r\nno");
        assert_eq!(result.unwrap_err(), "POST /x answered HTTP/1.1 403 Forbidden");
    }
}
