//! The content of every session, in every library: a user id, a counter and a cart, about 200 bytes
//! as JSON.

use serde::{Deserialize, Serialize};

pub const USER: &str = "user";
pub const COUNTER: &str = "counter";
pub const CART: &str = "cart";
/// The key under which a library without flash stores its message.
pub const MESSAGE: &str = "message";
pub const SAVED: &str = "Your order is on its way.";

pub const USER_ID: u64 = 4_000_017;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
    pub cents: u64,
}

/// Returns three items.
pub fn cart() -> Vec<Item> {
    let item = |sku: &str, quantity, cents| Item { sku: sku.to_owned(), quantity, cents };
    vec![
        item("mocha-beans-1kg", 2, 2490),
        item("paper-filter-04", 100, 399),
        item("cup-blue", 4, 1250),
    ]
}
