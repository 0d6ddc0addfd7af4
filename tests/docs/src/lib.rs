//! The guides of `docs/`: each code block is a doctest of this crate.

/// One module per guide, for doctests alone.
macro_rules! guides {
    ($($module:ident: $file:literal),* $(,)?) => {
        /// The guides that are compiled.
        pub const GUIDES: &[&str] = &[$($file),*];

        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../../docs/", $file))]
            pub mod $module {}
        )*
    };
}

guides! {
    building: "building.md",
    deploying: "deploying.md",
    engines: "engines.md",
    layers: "layers.md",
    migrating: "migrating.md",
    msrv: "msrv.md",
    operating: "operating.md",
    security: "security.md",
    several_sessions: "several-sessions.md",
    settings: "settings.md",
    stores: "stores.md",
    testing: "testing.md",
    tokens: "tokens.md",
    websockets_and_jobs: "websockets-and-jobs.md",
}
