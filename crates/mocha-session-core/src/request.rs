//! A request's way in and out: from its cookies to a session, and when its response commits and
//! what it tells the client.

mod answer;
mod finish;
pub(crate) mod load;
mod refresh;
mod settle;

pub use finish::{Finish, Finished};
pub(crate) use finish::{commit_now, finish, touch};
