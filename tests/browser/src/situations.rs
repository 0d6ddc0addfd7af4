//! What sessions must do in a browser. One function, one situation.

use serde_json::json;

use crate::browser::{Browser, COOKIE};
use crate::front::OTHER;
use crate::stage::Stage;

const SAVED: &str = "Success: Account info saved successfully!";

/// Sends the form of the account page.
async fn save(browser: &Browser) {
    browser.visit("/account").await;
    browser.fill("name", "Ada").await;
    browser.fill("email", "ada@shop.example").await;
    browser.click("form[action='/account'] button").await;
}

/// Sends the same form in the background and stays on the page: its message is still to be shown.
async fn save_in_the_background(browser: &Browser) {
    let post = "await fetch('/account', { method: 'POST', redirect: 'manual', \
                body: new URLSearchParams({ name: 'Ada', email: 'ada@shop.example' }) }); \
                return true";
    assert_eq!(browser.run_async(post, Vec::new()).await, json!(true));
}

/// The first page sets `__Host-session`, and every later request carries it.
pub async fn the_host_cookie_is_kept_and_sent(stage: &Stage) {
    let browser = stage.browser("one").await;
    browser.visit("/").await;
    let kept = browser.cookie().await.unwrap();
    browser.visit("/").await;
    assert_eq!(browser.texts("dd").await[0], "2");
    let visits = stage.front.seen("GET /");
    assert_eq!(visits[0].header("cookie"), "");
    assert_eq!(visits[1].header("cookie"), format!("{COOKIE}={}", kept.value()));
    assert!(!visits[1].answer.contains_key("set-cookie"), "nothing new to tell");
}

/// The browser keeps the attributes that the library sets, and scripts do not see the cookie.
pub async fn the_cookie_has_its_attributes(stage: &Stage) {
    let browser = stage.browser("one").await;
    browser.visit("/").await;
    let cookie = browser.cookie().await.unwrap();
    assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)));
    assert_eq!(cookie.same_site().unwrap().to_string(), "Lax");
    assert_eq!(cookie.path(), Some("/"));
    assert_eq!(browser.run("return document.cookie", Vec::new()).await, json!(""));
    let hours = (cookie.expires_datetime().unwrap().unix_timestamp() - now()) / 3600;
    assert!((335..=336).contains(&hours), "{hours}");
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

/// A form is answered with a redirect, and the page after it shows the message.
pub async fn a_form_redirects_to_a_page_that_shows_the_message(stage: &Stage) {
    let browser = stage.browser("one").await;
    save(&browser).await;
    assert_eq!(browser.path().await, "/account/saved");
    assert_eq!(browser.messages().await, [SAVED]);
    assert!(browser.text().await.contains("Your account was just saved"));
    assert_eq!(stage.front.seen("POST /account")[0].status, 303);
}

/// Reloading the page after a form neither sends the form again nor shows the message again.
pub async fn a_reload_shows_the_message_no_second_time(stage: &Stage) {
    let browser = stage.browser("one").await;
    save(&browser).await;
    assert_eq!(browser.messages().await, [SAVED]);
    browser.reload().await;
    assert_eq!(browser.messages().await, [""; 0]);
    assert!(browser.text().await.contains("Ada"), "what was saved is still there");
    assert_eq!(stage.front.seen("POST /account").len(), 1);
}

/// Pages that a browser loads in advance show no message to anybody. The next page does, once.
pub async fn prefetch_and_prerender_eat_nothing(stage: &Stage) {
    let browser = stage.browser("one").await;
    browser.visit("/").await;
    save_in_the_background(&browser).await;
    let speculate = "const rules = document.createElement('script'); \
                     const rule = { urls: ['/'], eagerness: 'immediate' }; \
                     rules.type = 'speculationrules'; \
                     rules.textContent = JSON.stringify({ [arguments[0]]: [rule] }); \
                     document.head.append(rules)";
    for (rule, purpose) in [("prefetch", "prefetch"), ("prerender", "prefetch;prerender")] {
        // From another address: a page is not prerendered from itself.
        browser.visit("/about").await;
        browser.run(speculate, vec![json!(rule)]).await;
        stage.front.wait_for("GET /", "sec-purpose", purpose).await;
    }
    // The prerendered page, shown: what it loaded has the message.
    browser.click("nav a[href='/']").await;
    let activated = "return performance.getEntriesByType('navigation')[0].activationStart > 0";
    assert_eq!(browser.run(activated, Vec::new()).await, json!(true));
    assert_eq!(browser.messages().await, [SAVED]);
    // It was loaded before anybody saw it, so the message is still there for the next page.
    browser.reload().await;
    assert_eq!(browser.messages().await, [SAVED]);
    browser.reload().await;
    assert_eq!(browser.messages().await, [""; 0]);
}

/// Two tabs are one session: a message is shown in one of them, a login counts in both, and a page
/// that was open before a logout does nothing after it.
pub async fn two_tabs_are_one_session(stage: &Stage) {
    let browser = stage.browser("one").await;
    browser.visit("/about").await;
    let first = browser.new_tab().await;
    browser.login("ada", false).await;
    let second = browser.new_tab().await;
    browser.switch_to(first.clone()).await;
    save_in_the_background(&browser).await;
    browser.visit("/").await;
    assert_eq!(
        (browser.user().await, browser.messages().await),
        (Some("ada".into()), vec![SAVED.into()])
    );
    browser.switch_to(second.clone()).await;
    browser.visit("/").await;
    assert_eq!(browser.messages().await, [""; 0], "the other tab has shown it");
    browser.visit("/devices").await;
    browser.switch_to(first).await;
    browser.logout().await;
    browser.switch_to(second).await;
    browser.click("form[action='/devices/end-all'] button").await;
    assert_eq!((browser.path().await, browser.user().await), ("/".into(), None));
}

/// "Back" after a logout asks the server again, and shows nothing of the user.
pub async fn back_after_a_logout_shows_no_private_page(stage: &Stage) {
    let browser = stage.browser("one").await;
    // This browser does restore pages without asking: one that no session has touched.
    let mark =
        "window.addEventListener('pageshow', event => { window.restored = event.persisted })";
    browser.visit("/about").await;
    browser.run(mark, Vec::new()).await;
    browser.visit("/").await;
    browser.back().await;
    browser.wait_until("return window.restored === true").await;

    browser.login("ada", true).await;
    save(&browser).await;
    browser.visit("/account").await;
    assert!(
        browser.run("return document.forms[1].email.value", Vec::new()).await == "ada@shop.example"
    );
    let asked = stage.front.seen("GET /account").len();
    assert_eq!(stage.front.seen("GET /account")[asked - 1].answer["cache-control"], "no-store");
    browser.logout().await;
    assert_eq!(browser.user().await, None);
    browser.back().await;
    assert_eq!((browser.path().await, browser.user().await), ("/account".into(), None));
    let source = browser.run("return document.documentElement.outerHTML", Vec::new()).await;
    assert!(!source.to_string().contains("ada"), "{source}");
    assert_eq!(stage.front.seen("GET /account").len(), asked + 1);
}

/// A form on another site is refused, and so is its script. A link from there is an ordinary visit.
pub async fn the_form_of_another_site_is_refused(stage: &Stage) {
    let browser = stage.browser("one").await;
    browser.login("ada", true).await;
    stage.front.other_site(
        "<form method=post action='https://shop.example/account'>\
         <input name=name value=Eve><input name=email value=eve@other.example>\
         <button>Win</button></form><a href='https://shop.example/account'>Visit</a>",
    );
    browser.visit_site(OTHER, "/").await;
    browser.click("button").await;
    let forged = &stage.front.seen("POST /account")[0];
    assert_eq!((forged.status, forged.header("sec-fetch-site")), (403, "cross-site"));
    assert_eq!(forged.header("cookie"), "", "SameSite=Lax keeps it at home");

    browser.visit_site(OTHER, "/").await;
    let forged = "await fetch('https://shop.example/logout', { method: 'POST', mode: 'no-cors', \
                  credentials: 'include' }); return true";
    assert_eq!(browser.run_async(forged, Vec::new()).await, json!(true));
    assert_eq!(stage.front.seen("POST /logout")[0].status, 403);

    browser.click("a").await;
    assert_eq!(
        (browser.path().await, browser.user().await),
        ("/account".into(), Some("ada".into()))
    );
    assert!(!browser.text().await.contains("Eve"));
}

/// "Keep me logged in" outlives the browser where the box was ticked, and ends with it where not.
pub async fn the_remember_me_box_decides_whether_a_login_outlives_the_browser(stage: &Stage) {
    for (user, remember) in [("ada", true), ("eve", false)] {
        let browser = stage.browser(user).await;
        browser.login(user, remember).await;
        let expires = browser.cookie().await.unwrap().expires_datetime();
        let hours = expires.map(|at| (at.unix_timestamp() - now()) / 3600);
        assert!(hours.is_none_or(|hours| (719..=720).contains(&hours)), "{hours:?}");
        assert_eq!(hours.is_some(), remember, "{user}");
        stage.close(browser).await;
        let browser = stage.browser(user).await;
        browser.visit("/").await;
        assert_eq!(browser.user().await, remember.then(|| user.to_owned()));
    }
}

/// The browser takes no cookie of our name with another path from a script, because of `__Host-`.
pub async fn a_cookie_with_another_path_is_not_taken(stage: &Stage) {
    let browser = stage.browser("one").await;
    browser.login("ada", true).await;
    let planted = format!("document.cookie = '{COOKIE}=planted; Secure; Path=/account'");
    browser.run(&planted, Vec::new()).await;
    browser.visit("/account").await;
    let sent = stage.front.seen("GET /account").pop().unwrap();
    assert!(!sent.header("cookie").contains("planted"), "{}", sent.header("cookie"));
    assert_eq!(browser.user().await.as_deref(), Some("ada"));
}

/// Without `__Host-` the browser takes it and sends it before ours. It locks nobody out.
pub async fn a_cookie_with_another_path_does_not_lock_the_user_out(stage: &Stage) {
    let browser = stage.browser("one").await;
    browser.login("ada", true).await;
    browser.run("document.cookie = 'session=planted; Path=/account'", Vec::new()).await;
    save(&browser).await;
    let sent = stage.front.seen("POST /account").pop().unwrap();
    assert!(sent.header("cookie").starts_with("session=planted; session="), "{sent:?}");
    assert_eq!(browser.user().await.as_deref(), Some("ada"));
    assert_eq!(browser.messages().await, [SAVED]);
    browser.logout().await;
    browser.visit("/account").await;
    assert_eq!(browser.user().await, None);
}
