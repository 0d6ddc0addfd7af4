//! From a URL to a store: the form and the options of `memory:`.

use mocha_session_core::backend::shared;
use mocha_session_core::{BoxFuture, Driver, Result, StoreUrl};

use crate::builder::WhenFull;
use crate::store::MemoryStore;

/// Opens `memory:` and `memory://`. [Options](crate#urls).
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_memory::DRIVER);
/// assert!(registry.check("memory:?max_entries=100000&when_full=evict").is_ok());
/// assert!(registry.check("memory:?max_entrys=100000").is_err());
/// ```
pub const DRIVER: Driver = Driver::new(&["memory"], |url| open(url).map(shared));

/// Reads the URL, and returns the future that opens the store.
pub(crate) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<MemoryStore>>> {
    let store = read(url)?;
    Ok(Box::pin(async move { Ok(store) }))
}

fn read(url: &mut StoreUrl) -> Result<MemoryStore> {
    if !url.hosts().is_empty()
        || !matches!(url.path(), "" | "/")
        || url.username().is_some()
        || url.password().is_some()
    {
        return Err(url.refuse("it takes no host, path or login; write memory: and options alone"));
    }
    // An option of every engine. Here each store has its own keys, so it changes nothing.
    url.take_key_space("")?;
    let mut builder = MemoryStore::builder();
    if let Some(entries) = bound(url, "max_entries")? {
        builder = builder.max_entries(entries);
    }
    if let Some(bytes) = bound(url, "max_bytes")? {
        builder = builder.max_bytes(bytes);
    }
    builder = builder.when_full(match url.take("when_full").as_deref() {
        None | Some("refuse") => WhenFull::Refuse,
        Some("evict") => WhenFull::Evict,
        Some(_) => return Err(url.refuse_option("when_full", "must be refuse or evict")),
    });
    Ok(builder.build())
}

fn bound(url: &mut StoreUrl, name: &'static str) -> Result<Option<usize>> {
    match url.take_parsed(name)? {
        Some(0) => Err(url.refuse_option(name, "must be above zero")),
        bound => Ok(bound),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use mocha_session_core::store::SessionStore as _;

    #[test]
    fn options_are_read() {
        let store = |text: &str| read(&mut StoreUrl::parse(text).unwrap()).unwrap();
        let full = store("memory:?max_entries=5&max_bytes=70000&when_full=evict&prefix=shop:");
        let shown = format!("{full:?}");
        assert!(
            shown.contains("max_entries: 5,") && shown.contains("max_bytes: 70000,"),
            "{shown}"
        );
        assert!(full.capabilities().evicts());
        assert!(!store("memory://").capabilities().evicts());
        assert!(!store("memory:?when_full=refuse").capabilities().evicts());
    }

    #[test]
    fn a_wrong_url_is_refused_by_the_name_of_its_fault() {
        for (text, word) in [
            ("memory://host", "no host, path or login"),
            ("memory:///path", "no host, path or login"),
            ("memory:name", "no host, path or login"),
            ("memory:?max_entries=0", "`max_entries`"),
            ("memory:?max_entries=many", "`max_entries`"),
            ("memory:?max_bytes=-1", "`max_bytes`"),
            ("memory:?when_full=panic", "`when_full`"),
            ("memory:?prefix=a%20b", "`prefix`"),
        ] {
            let message = read(&mut StoreUrl::parse(text).unwrap()).unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
