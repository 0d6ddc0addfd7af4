//! The example application `account` in a browser.

mocha_session_browser::show!("account");
