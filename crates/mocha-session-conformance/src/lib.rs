#![doc = include_str!("../README.md")]

mod cases;
mod env;
mod faults;
mod proxy;
mod report;
mod run;
mod subject;

pub use env::{engine_url, not_run, rerun};
pub use proxy::Proxy;
pub use report::{Finding, Outcome, Report};
pub use run::{case_names, fault_names, run};

#[doc(hidden)]
pub mod __private {
    //! What [`suite!`](crate::suite) and [`faults!`](crate::faults) expand to; no part of the
    //! public interface.
    pub use crate::run::{fault_outcome, outcome, prove, prove_fault};
}

/// Makes a module with one `#[test]` for each case of the contract.
///
/// `suite!(module, open)`: `module` is the name of the module, `open` a function or closure without
/// arguments whose future gives `Option<S>` with `S: SessionStore`. `None` means that the engine is
/// not available here: the case says so and passes. `open` is called at least once for each case,
/// and each test has a multi-threaded Tokio runtime of its own, so nothing may be shared between
/// calls that belongs to a runtime.
///
/// A case that the store's capabilities rule out is shown by name, with the reason, on standard
/// error.
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

/// Makes a module with one `#[test]` for each fault of a network or an engine.
///
/// `faults!(module, server, open)`: `module` is the name of the module. `server` is a function or
/// closure without arguments whose future gives `Option<String>`: where the engine listens, as
/// `host:port`, or `None` when it is not available here. `open` takes such an address as a
/// `String`, and its future gives a store that reaches the engine through that address alone. It is
/// called twice for each case: with the engine's own address, to see what really happened, and with
/// that of a [`Proxy`], which plays the fault.
///
/// Beside the contract of [`suite!`] a store proves here that it never takes an outage for an
/// absent session, that a write whose answer was lost is said to be of unknown outcome and is not
/// sent twice, that it works again without being opened anew, and that it does not dial without a
/// pause. It is for engines that are reached over TCP.
///
/// ```
/// # mod tests {
/// # type MyStore = std::sync::Arc<dyn mocha_session_core::store::SessionStore>;
/// async fn server() -> Option<String> {
///     mocha_session_conformance::engine_url("MY_STORE_TEST_SERVER") // 127.0.0.1:4000
/// }
///
/// async fn open(address: String) -> MyStore {
///     todo!("connect to {address}")
/// }
///
/// mocha_session_conformance::faults!(my_store_under_faults, server, open);
/// # }
/// ```
#[macro_export]
macro_rules! faults {
    ($(#[$attribute:meta])* $module:ident, $server:expr, $open:expr $(,)?) => {
        $(#[$attribute])*
        #[cfg(test)]
        mod $module {
            #[allow(unused_imports, reason = "closures may need nothing from around them")]
            use super::*;
            $crate::__with_faults! { __fault_tests { $server, $open } }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fault_tests {
    ({ $server:expr, $open:expr } $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                let name = ::core::stringify!($case);
                $crate::__private::prove_fault(::core::module_path!(), name, $server, $open);
            }
        )*
    };
}
