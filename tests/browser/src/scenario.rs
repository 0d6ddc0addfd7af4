//! A whole visit: eight pages, from the first one to the return.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::front::PHONE;
use crate::stage::Stage;

/// Visit, form, flash, login with "keep me logged in", devices, revoke, logout, return.
pub async fn the_eight_pages(stage: &Stage) {
    // Other tests may use the same engine.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let user = format!("ada-{now}");
    let laptop = stage.browser("laptop").await;
    laptop.login_at(PHONE, &user, false).await;

    laptop.visit("/").await;
    laptop.visit("/").await;
    assert_eq!(laptop.texts("dd").await[0], "2");

    laptop.visit("/account").await;
    assert_eq!(laptop.messages().await, ["Info: You need to provide your account info"]);
    laptop.fill("name", "Ada").await;
    laptop.fill("email", "none").await;
    laptop.click("form[action='/account'] button").await;
    assert!(laptop.messages().await[0].starts_with("Error: An error occurred while saving"));
    laptop.fill("email", "ada@shop.example").await;
    laptop.click("form[action='/account'] button").await;

    assert_eq!(laptop.messages().await, ["Success: Account info saved successfully!"]);
    assert_eq!(laptop.texts("main h1, main dd").await[1..], ["Ada", "ada@shop.example"]);

    let before = laptop.cookie().await.unwrap();
    laptop.login(&user, true).await;
    let welcome = format!("Success: Welcome, {user}. Your session has a new id.");
    assert_eq!(laptop.messages().await, [welcome]);
    let after = laptop.cookie().await.unwrap();
    assert!(
        before.value() != after.value() && after.expires_datetime() > before.expires_datetime()
    );
    laptop.visit("/account/saved").await;
    assert_eq!(laptop.texts("main dd").await, ["Ada", "ada@shop.example"], "the login kept it");

    laptop.click("nav a[href='/devices']").await;
    let devices = laptop.texts("tbody tr").await;
    let own = devices.iter().filter(|device| device.contains("this one")).count();
    assert_eq!((devices.len(), own), (2, 1), "{devices:?}");

    laptop.click("form[action='/devices/end'] button").await;
    assert_eq!(laptop.messages().await, ["Info: That device is logged out."]);
    assert_eq!(laptop.texts("tbody tr").await.len(), 1);
    laptop.visit_site(PHONE, "/").await;
    assert_eq!(laptop.user().await, None);
    laptop.visit("/").await;

    laptop.logout().await;
    assert_eq!(laptop.messages().await, ["Info: You are logged out."]);
    laptop.visit("/account/saved").await;
    assert_eq!(laptop.texts("main dd").await, [""; 0], "nothing of it is left");

    laptop.login(&user, true).await;
    stage.close(laptop).await;
    let laptop = stage.browser("laptop").await;
    laptop.visit("/devices").await;
    assert_eq!(laptop.user().await, Some(user));
    assert_eq!(laptop.texts("tbody tr").await.len(), 1);
}
