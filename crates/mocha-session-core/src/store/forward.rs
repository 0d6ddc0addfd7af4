//! Forwards every method of a store to an inner store, for newtypes and pointers.

/// Implements [`SessionStore`](crate::store::SessionStore) for a type by forwarding every method to
/// the store inside it.
///
/// It returns the inner store's future as it is, without boxing it again, and it covers every
/// method.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
/// use mocha_session::{core::forward_store, store::SessionStore};
///
/// #[derive(Debug)]
/// struct Named<S> {
///     name: &'static str,
///     inner: S,
/// }
///
/// forward_store!([S: SessionStore] Named<S>, |named| named.inner);
/// ```
#[macro_export]
macro_rules! forward_store {
    ([$($generics:tt)*] $store:ty, |$this:ident| $inner:expr) => {
        #[deny(clippy::missing_trait_methods)]
        impl<$($generics)*> $crate::store::SessionStore for $store {
            fn load<'s, 'k, 'f>(
                &'s self,
                key: &'k $crate::store::StorageKey,
            ) -> $crate::BoxFuture<'f, $crate::Result<Option<$crate::store::Stored>>>
            where
                's: 'f,
                'k: 'f,
            {
                let $this = self;
                $inner.load(key)
            }
            fn create<'s, 'k, 'v, 'f>(
                &'s self,
                key: &'k $crate::store::StorageKey,
                value: &'v [u8],
                expiry: $crate::store::Expiry,
            ) -> $crate::BoxFuture<'f, $crate::Result<Option<$crate::store::Revision>>>
            where
                's: 'f,
                'k: 'f,
                'v: 'f,
            {
                let $this = self;
                $inner.create(key, value, expiry)
            }
            fn update<'s, 'k, 'v, 'e, 'f>(
                &'s self,
                key: &'k $crate::store::StorageKey,
                value: &'v [u8],
                expiry: $crate::store::Expiry,
                expected: &'e $crate::store::Revision,
            ) -> $crate::BoxFuture<'f, $crate::Result<Option<$crate::store::Revision>>>
            where
                's: 'f,
                'k: 'f,
                'v: 'f,
                'e: 'f,
            {
                let $this = self;
                $inner.update(key, value, expiry, expected)
            }
            fn delete<'s, 'k, 'f>(
                &'s self,
                key: &'k $crate::store::StorageKey,
            ) -> $crate::BoxFuture<'f, $crate::Result<bool>>
            where
                's: 'f,
                'k: 'f,
            {
                let $this = self;
                $inner.delete(key)
            }
            fn sweep<'s, 'f>(
                &'s self,
                now: std::time::SystemTime,
                cursor: Option<$crate::store::ScanCursor>,
                limit: usize,
            ) -> $crate::BoxFuture<'f, $crate::Result<$crate::store::SweepReport>>
            where
                's: 'f,
            {
                let $this = self;
                $inner.sweep(now, cursor, limit)
            }
            fn scan<'s, 'f>(
                &'s self,
                cursor: Option<$crate::store::ScanCursor>,
                limit: usize,
            ) -> $crate::BoxFuture<'f, $crate::Result<$crate::store::ScanPage>>
            where
                's: 'f,
            {
                let $this = self;
                $inner.scan(cursor, limit)
            }
            fn ping<'s, 'f>(&'s self) -> $crate::BoxFuture<'f, $crate::Result<()>>
            where
                's: 'f,
            {
                let $this = self;
                $inner.ping()
            }
            fn capabilities(&self) -> $crate::store::Capabilities {
                let $this = self;
                $inner.capabilities()
            }
        }
    };
    ($store:ty, $($inner:tt)+) => { $crate::forward_store! { [] $store, $($inner)+ } };
}

forward_store!([S: super::SessionStore + ?Sized] std::sync::Arc<S>, |this| (**this));
