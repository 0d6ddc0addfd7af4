//! The example application `account_actix` in a browser.

mocha_session_browser_tests::show!("account_actix");
