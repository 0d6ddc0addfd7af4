//! The types of every framework that have a scope: its extractors, and its layer or middleware.

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

/// Defines a framework's layer or middleware: what its requests share, with a scope. The shared
/// type has a field `manager`.
#[doc(hidden)]
#[macro_export]
macro_rules! __scoped {
    ($(#[$docs:meta])* $name:ident, $shared:ty) => {
        $(#[$docs])*
        pub struct $name<S = ()> {
            shared: ::std::sync::Arc<$shared>,
            scope: ::std::marker::PhantomData<fn() -> S>,
        }

        impl<S> $name<S> {
            fn over(shared: $shared) -> Self {
                Self { shared: ::std::sync::Arc::new(shared), scope: ::std::marker::PhantomData }
            }
        }

        impl<S> ::std::clone::Clone for $name<S> {
            fn clone(&self) -> Self {
                Self { shared: ::std::sync::Arc::clone(&self.shared), scope: self.scope }
            }
        }

        impl<S> ::std::fmt::Debug for $name<S> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(::std::stringify!($name))
                    .field("manager", &self.shared.manager)
                    .finish_non_exhaustive()
            }
        }
    };
}
