//! Two right stores make a right store: the published suite on `Migrating`, and on the store that
//! these tests stand on.

mod support;

use mocha_session_core::{Migrating, SystemClock};
use support::ScriptedStore;

fn store() -> ScriptedStore {
    ScriptedStore::on_clock(SystemClock)
}

async fn scripted() -> Option<ScriptedStore> {
    Some(store())
}

async fn moving() -> Option<Migrating<ScriptedStore, ScriptedStore>> {
    Some(Migrating::new(store(), store()))
}

async fn preparing() -> Option<Migrating<ScriptedStore, ScriptedStore>> {
    Some(Migrating::prepare(store(), store()))
}

mocha_session_conformance::suite!(the_store_of_these_tests, scripted);
mocha_session_conformance::suite!(moving_from_one_to_the_other, moving);
mocha_session_conformance::suite!(preparing_to_move, preparing);
