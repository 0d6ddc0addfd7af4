//! The extractor types of every framework: a handle of the core, with a scope.

/// Defines types that wrap a handle of the core and have a scope. A framework crate needs them
/// because it can implement extractor traits only for its own types.
///
/// It is for this project's framework crates, and not part of the public API.
#[doc(hidden)]
#[macro_export]
macro_rules! handles {
    ($($(#[$docs:meta])* $name:ident;)*) => {$(
        $(#[$docs])*
        pub struct $name<S = ()>($crate::$name, ::std::marker::PhantomData<fn() -> S>);

        impl<S> $name<S> {
            fn new(inner: $crate::$name) -> Self {
                Self(inner, ::std::marker::PhantomData)
            }

            /// Returns the core's handle.
            pub fn into_inner(self) -> $crate::$name {
                self.0
            }
        }

        impl<S> ::std::ops::Deref for $name<S> {
            type Target = $crate::$name;

            fn deref(&self) -> &$crate::$name {
                &self.0
            }
        }

        impl<S> ::std::clone::Clone for $name<S> {
            fn clone(&self) -> Self {
                Self::new(self.0.clone())
            }
        }

        impl<S> ::std::fmt::Debug for $name<S> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}
