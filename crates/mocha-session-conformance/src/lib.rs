#![doc = include_str!("../README.md")]

mod cases;
mod env;
mod faults;
mod proxy;
mod report;
mod run;
mod subject;
pub mod tools;
mod trace;

pub use env::{engine_url, not_run, rerun};
pub use proxy::Proxy;
pub use report::{Finding, Outcome, Report};
pub use run::{case_names, fault_names, run};

#[doc(hidden)]
pub mod __private {
    //! For the expansion of [`suite!`](crate::suite) and [`faults!`](crate::faults). It is not part
    //! of the public interface.
    pub use crate::run::{fault_outcome, outcome, prove, prove_fault};
}

/// Defines a module with one `#[test]` for each case of the contract.
///
/// `suite!(module, open)`: `module` is the name of the module. `open` is a function or closure
/// without arguments whose future returns `Option<S>` with `S: SessionStore`. `None` means that the
/// engine is not available here. Then the case reports that and passes.
///
/// Each case calls `open` at least once, in its own multi-threaded Tokio runtime. So the calls must
/// not share anything that belongs to a runtime.
///
/// A case that the store's capabilities rule out is skipped, with the reason on standard error.
///
/// ```
/// # mod tests {
/// # mod my_store {
/// #     pub const DRIVER: mocha_session_core::Driver =
/// #         mocha_session_core::Driver::new(&["mine"], |url| Err(url.refuse("an example")));
/// # }
/// use std::sync::Arc;
/// use mocha_session_conformance::engine_url;
/// use mocha_session_core::{Registry, store::SessionStore};
///
/// async fn open() -> Option<Arc<dyn SessionStore>> {
///     let url = engine_url("MY_STORE_URL")?; // mine://127.0.0.1:4000
///     let registry = Registry::new().register(my_store::DRIVER);
///     registry.open(&url).await.expect("the store opens").store().cloned()
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

/// Defines a module with one `#[test]` for each fault of a network or an engine, for engines that
/// are reached over TCP.
///
/// `faults!(module, server, open)`: `module` is the name of the module. `server` is a function or
/// closure without arguments whose future returns `Option<String>`: the engine's address as
/// `host:port`, or `None` if it is not available here. `open` takes an address as a `String`, and
/// its future returns a store that reaches the engine only through that address. Each case calls it
/// twice: with the engine's own address, to see the true state, and with the address of a
/// [`Proxy`], which injects the fault.
///
/// The cases prove that the store
///
/// - never reports an outage as an absent session,
/// - reports a write whose answer was lost as ambiguous, and does not send it twice,
/// - works again after the fault without being opened again,
/// - pauses before it connects again.
///
/// ```
/// # mod tests {
/// # mod my_store {
/// #     pub const DRIVER: mocha_session_core::Driver =
/// #         mocha_session_core::Driver::new(&["mine"], |url| Err(url.refuse("an example")));
/// # }
/// use std::sync::Arc;
/// use mocha_session_conformance::engine_url;
/// use mocha_session_core::{Registry, store::SessionStore};
///
/// async fn server() -> Option<String> {
///     engine_url("MY_STORE_TEST_SERVER") // 127.0.0.1:4000
/// }
///
/// async fn open(address: String) -> Arc<dyn SessionStore> {
///     let registry = Registry::new().register(my_store::DRIVER);
///     let storage = registry.open(&format!("mine://{address}")).await.expect("the store opens");
///     storage.store().cloned().expect("it is not client-side")
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
