//! The store as a whole: ping, capabilities, no secret in `Debug`, and several handles.

use std::sync::Arc;

use mocha_session_core::store::Durability;

use crate::subject::{HOUR, Subject, Verdict, at_once, ensure, skip, unavailable, within};

pub(crate) async fn ping_answers(it: &Subject) -> Verdict {
    for _ in 0..3 {
        it.store.ping().await?;
    }
    Ok(())
}

pub(crate) async fn capabilities_are_constant(it: &Subject) -> Verdict {
    let before = it.store.capabilities();
    ensure!(!before.engine().is_empty(), "capabilities() names no engine");
    ensure!(before.compare_and_set(), "a store must compare and set, but capabilities() denies it");
    let key = it.key();
    let revision = it.create(&key, b"one").await?;
    it.update(&key, b"two", &revision).await?;
    it.store.delete(&key).await?;
    let after = it.store.capabilities();
    ensure!(before == after, "capabilities() changed: {before}; {after}");
    Ok(())
}

pub(crate) async fn debug_shows_no_key_and_no_value(it: &Subject) -> Verdict {
    let (key, secret) = (it.key(), format!("hunter2-{:x}", fastrand::u64(..)));
    it.create(&key, secret.as_bytes()).await?;
    it.load(&key).await?;
    for shown in [format!("{:?}", it.store), format!("{:#?}", it.store)] {
        // Also as a list of numbers.
        for hidden in
            [key.to_string(), secret.clone(), list(secret.as_bytes()), list(key.as_bytes())]
        {
            let squeezed: String = shown.split_whitespace().collect();
            ensure!(
                !shown.contains(&hidden) && !squeezed.contains(&hidden),
                "the store's Debug shows a key or a value"
            );
        }
    }
    Ok(())
}

fn list(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

pub(crate) async fn second_handle_sees_the_same_data(it: &Subject) -> Verdict {
    let second = it.opener()?().await.ok_or_else(unavailable)?;
    let key = it.key();
    let created = it.create(&key, b"one").await?;
    let Some(stored) = second.load(&key).await? else {
        let durability = it.store.capabilities().durability();
        ensure!(
            durability == Durability::Process,
            "another handle does not see an entry, although capabilities() claims {durability:?}"
        );
        skip!("each handle is a store of its own, which ends with its process");
    };
    ensure!(stored.value()[..] == *b"one", "another handle sees another value");
    ensure!(*stored.revision() == created, "another handle sees another revision");
    let Some(updated) = second.update(&key, b"two", within(HOUR), &created).await? else {
        ensure!(false, "another handle cannot update");
        return Ok(());
    };
    it.holds(&key, b"two", &updated).await?;
    let refused = it.store.update(&key, b"late", within(HOUR), &created).await?;
    ensure!(
        refused.is_none(),
        "update succeeded with a revision that another handle's update had replaced"
    );
    ensure!(
        second.create(&key, b"new", within(HOUR)).await?.is_none(),
        "another handle's create overwrote the entry"
    );
    ensure!(second.delete(&key).await?, "another handle's delete found nothing");
    it.is_absent(&key, "that another handle deleted").await
}

/// Opens ten handles at once, like ten processes of one application that start together. All of
/// them prepare the engine, and none may fail.
pub(crate) async fn handles_opened_at_once_all_work(it: &Subject) -> Verdict {
    let open = it.opener()?;
    let handles = at_once(8, |_| {
        let opening = open();
        async move { opening.await.ok_or_else(unavailable) }
    });
    let handles = handles.await?;
    let keys: Vec<_> = handles.iter().map(|_| it.key()).collect();
    at_once(handles.len(), |number| {
        let (store, key) = (Arc::clone(&handles[number]), keys[number]);
        async move {
            let created = store.create(&key, b"one", within(HOUR)).await?;
            let found = store.load(&key).await?;
            ensure!(
                created.is_some_and(
                    |revision| found.is_some_and(|found| *found.revision() == revision)
                ),
                "a handle opened beside others does not find what it stored"
            );
            // The clean-up cannot reach a store that is not shared.
            ensure!(
                store.delete(&key).await?,
                "a handle opened beside others found nothing to delete"
            );
            Ok(())
        }
    })
    .await
    .map(drop)
}
