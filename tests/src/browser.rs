//! A browser as far as sessions go: it keeps the cookie it is given and sends it back.

use crate::frameworks::{Answer, Client, Send};

/// One browser with one cookie jar.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    cookie: Option<String>,
}

impl Browser {
    /// A browser that was never here.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it would send as `Cookie`.
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Sends a request and keeps what the answer says of the cookie.
    pub async fn send(&mut self, client: &dyn Client, request: Send) -> Answer {
        let answer = client.send(request.cookie(self.cookie.clone())).await;
        self.take(&answer);
        answer
    }

    /// GETs a path.
    pub async fn get(&mut self, client: &dyn Client, path: &str) -> Answer {
        self.send(client, Send::new("GET", path)).await
    }

    /// POSTs to a path.
    pub async fn post(&mut self, client: &dyn Client, path: &str) -> Answer {
        self.send(client, Send::new("POST", path)).await
    }

    /// Keeps what an answer says of the cookie.
    pub fn take(&mut self, answer: &Answer) {
        for line in answer.all("set-cookie").filter(|line| line.starts_with("__Host-session=")) {
            let pair = line.split(';').next().unwrap();
            self.cookie = (!line.contains("Max-Age=0")).then(|| pair.to_owned());
        }
    }
}
