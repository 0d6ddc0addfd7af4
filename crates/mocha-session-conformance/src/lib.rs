#![doc = include_str!("../README.md")]

mod cases;
mod env;
mod report;
mod run;
mod subject;

pub use env::engine_url;
pub use report::{Finding, Outcome, Report};
pub use run::{case_names, run};

#[doc(hidden)]
pub mod __private {
    //! What [`suite!`](crate::suite) expands to; no part of the public interface.
    pub use crate::run::{outcome, prove};
}

/// Makes a module with one `#[test]` for each case of the contract.
///
/// `suite!(module, open)`: `module` is the name of the module, `open` a function or closure without arguments whose
/// future gives `Option<S>` with `S: SessionStore`. `None` means that the engine is not available here: the case says so
/// and passes. `open` is called at least once for each case, and each test has a multi-threaded Tokio runtime of its own,
/// so nothing may be shared between calls that belongs to a runtime.
///
/// A case that the store's capabilities rule out is shown by name, with the reason, on standard error.
///
/// ```
/// # mod tests {
/// # type MyStore = std::sync::Arc<dyn mocha_session_core::store::SessionStore>;
/// async fn open() -> Option<MyStore> {
///     let url = mocha_session_conformance::engine_url("MY_STORE_URL")?;
///     todo!("connect to {url}")
/// }
///
/// mocha_session_conformance::suite!(my_store, open);
/// # }
/// ```
#[macro_export]
macro_rules! suite {
    ($(#[$attribute:meta])* $module:ident, $open:expr $(,)?) => {
        $(#[$attribute])*
        #[cfg(test)]
        mod $module {
            #[allow(unused_imports, reason = "`open` may be a closure that needs nothing from around it")]
            use super::*;
            $crate::__with_cases! { __tests { $open } }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ({ $open:expr } $($group:ident::$case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::__private::prove(::core::module_path!(), ::core::stringify!($case), $open);
            }
        )*
    };
}
