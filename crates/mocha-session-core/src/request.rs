//! A request's session from start to end: from its cookies to a session, and from its changes to
//! the commit and the response's headers.

mod answer;
mod finish;
pub(crate) mod load;
mod refresh;
mod settle;

pub use finish::{Finish, Finished};
pub(crate) use finish::{commit_now, finish, touch};
