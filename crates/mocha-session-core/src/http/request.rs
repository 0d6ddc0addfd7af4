//! The framework's input to the core: the headers that may carry a session, and whether a user sees
//! the response.

use std::fmt;

/// The header lines of a request that may carry a session, shared and not copied. A framework
/// implements it for its own type.
///
/// For text, the text is the value of a `Cookie` header.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::RequestHeaders;
///
/// let mut seen = Vec::new();
/// "a=1; b=2".each_cookie(&mut |line| seen.push(line.to_vec()));
/// assert_eq!(seen, [b"a=1; b=2"]);
/// ```
pub trait RequestHeaders: Send + Sync + 'static {
    /// Calls `f` with the value of every `Cookie` header, in order.
    fn each_cookie(&self, f: &mut dyn FnMut(&[u8]));

    /// Calls `f` with the value of every header that the manager's transport names
    /// ([`SessionManager::token_header`](crate::SessionManager::token_header)), in order.
    fn each_token(&self, f: &mut dyn FnMut(&[u8])) {
        let _ = f;
    }
}

impl RequestHeaders for () {
    fn each_cookie(&self, _f: &mut dyn FnMut(&[u8])) {}
}

impl RequestHeaders for &'static str {
    fn each_cookie(&self, f: &mut dyn FnMut(&[u8])) {
        f(self.as_bytes());
    }
}

impl RequestHeaders for String {
    fn each_cookie(&self, f: &mut dyn FnMut(&[u8])) {
        f(self.as_bytes());
    }
}

impl<T: AsRef<[u8]> + Send + Sync + 'static> RequestHeaders for Vec<T> {
    fn each_cookie(&self, f: &mut dyn FnMut(&[u8])) {
        self.iter().for_each(|line| f(line.as_ref()));
    }
}

/// The header lines of a request, in the type in which the framework shares them. It is collected
/// from the `Cookie` headers: HTTP/1 has one, HTTP/2 may have several. A single line needs no
/// allocation.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{HeaderLines, RequestInfo};
///
/// let lines: HeaderLines<&str> = ["a=1", "b=2"].into_iter().collect();
/// let info = RequestInfo::new(lines);
///
/// // Where the manager's transport has a header, its values as well.
/// let info = RequestInfo::new(HeaderLines::default().tokens(["Bearer …"]));
/// # let _ = info;
/// ```
pub struct HeaderLines<T> {
    /// The first cookie line.
    first: Option<T>,
    more: Vec<(Line, T)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Cookie,
    Token,
}

impl<T> HeaderLines<T> {
    /// Adds the values of the header that the manager's transport names.
    #[must_use]
    pub fn tokens(mut self, lines: impl IntoIterator<Item = T>) -> Self {
        self.more.extend(lines.into_iter().map(|line| (Line::Token, line)));
        self
    }

    fn more(&self, of: Line) -> impl Iterator<Item = &T> {
        self.more.iter().filter(move |(kind, _)| *kind == of).map(|(_, line)| line)
    }
}

impl<T> Default for HeaderLines<T> {
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<T> FromIterator<T> for HeaderLines<T> {
    fn from_iter<I: IntoIterator<Item = T>>(cookies: I) -> Self {
        let mut cookies = cookies.into_iter();
        let first = cookies.next();
        Self { first, more: cookies.map(|line| (Line::Cookie, line)).collect() }
    }
}

impl<T: AsRef<[u8]> + Send + Sync + 'static> RequestHeaders for HeaderLines<T> {
    fn each_cookie(&self, f: &mut dyn FnMut(&[u8])) {
        self.first.iter().chain(self.more(Line::Cookie)).for_each(|line| f(line.as_ref()));
    }

    fn each_token(&self, f: &mut dyn FnMut(&[u8])) {
        self.more(Line::Token).for_each(|line| f(line.as_ref()));
    }
}

impl<T> fmt::Debug for HeaderLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderLines").finish_non_exhaustive()
    }
}

/// The parts of a request that a session needs.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::RequestInfo;
///
/// let info = RequestInfo::new("__Host-session=…").head(true).purpose(b"prefetch;prerender");
/// assert!(info.is_speculative());
/// ```
#[derive(Clone, Copy)]
pub struct RequestInfo<H = ()> {
    pub(crate) headers: H,
    pub(crate) head: bool,
    pub(crate) prefetch: bool,
}

impl RequestInfo {
    /// The headers in which browsers mark a prefetch: the standard one, and those of older
    /// browsers. Pass their values to [`purpose`](RequestInfo::purpose).
    pub const PURPOSE_HEADERS: [&'static str; 3] = ["sec-purpose", "purpose", "x-moz"];
}

impl<H: RequestHeaders> RequestInfo<H> {
    /// Creates a request with these header lines. Text is the value of a `Cookie` header.
    pub fn new(headers: H) -> Self {
        Self { headers, head: false, prefetch: false }
    }

    /// Sets whether the request's method is HEAD. The response to a HEAD request has no body, so
    /// the user sees no messages.
    #[must_use]
    pub fn head(mut self, yes: bool) -> Self {
        self.head = yes;
        self
    }

    /// Adds the value of one of the [`PURPOSE_HEADERS`](RequestInfo::PURPOSE_HEADERS). The response
    /// to a prefetch may never be shown.
    #[must_use]
    pub fn purpose(mut self, header: &[u8]) -> Self {
        self.prefetch |=
            header.split(|c| b";, ".contains(c)).any(|word| word.eq_ignore_ascii_case(b"prefetch"));
        self
    }

    /// Returns whether the response's body may never be shown. If so, flash messages are kept.
    pub fn is_speculative(&self) -> bool {
        self.head || self.prefetch
    }
}

impl<H> fmt::Debug for RequestInfo<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestInfo")
            .field("head", &self.head)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_keep_their_order_and_cookies_are_no_tokens() {
        for cookies in [vec![], vec!["a=1"], vec!["a=1", "b=2", "c=3"]] {
            for tokens in [vec![], vec!["Bearer x", "y"]] {
                let lines: HeaderLines<&str> = cookies.iter().copied().collect();
                let lines = lines.tokens(tokens.iter().copied());
                let (mut seen, mut heard) = (Vec::new(), Vec::new());
                lines.each_cookie(&mut |line| seen.push(line.to_vec()));
                lines.each_token(&mut |line| heard.push(line.to_vec()));
                assert_eq!(seen, cookies.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
                assert_eq!(heard, tokens.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn prefetches_are_recognised() {
        for (header, is) in
            [("prefetch", true), ("Prefetch;prerender", true), ("navigate", false), ("", false)]
        {
            assert_eq!(
                RequestInfo::new(()).purpose(header.as_bytes()).is_speculative(),
                is,
                "{header}"
            );
        }
    }
}
