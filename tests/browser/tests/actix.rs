//! The example application `account_actix` in a browser.

mocha_session_browser::show!("account_actix");
