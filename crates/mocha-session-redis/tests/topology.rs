//! Several servers: a cluster whose slots move and whose nodes die, and sentinels that choose
//! another primary.
// tidy: long because clusters and sentinels share their helpers
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{Server, Store, eventually, free_port, hour, key, open, say};
use mocha_session_conformance::tools::scan_all;
use mocha_session_conformance::{Proxy, engine_url};
use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{KeySpace, SessionStore, StorageKey};
use mocha_session_core::{Error, ErrorKind, StoreUrl};
use mocha_session_redis::{Connection, RedisStore};

/// Nodes of a cluster that share the slots evenly; those after `serving` have none.
async fn cluster(ports: &[(u16, u16)], serving: usize) -> Option<Vec<Server>> {
    let mut nodes = Vec::new();
    for (port, announced) in ports {
        let (bus, announced) = (free_port().to_string(), announced.to_string());
        let arguments =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
        let announcing =
            ["--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", &announced];
        let bus_announced = ["--cluster-announce-bus-port", &bus];
        let all: Vec<_> = arguments.into_iter().chain(announcing).chain(bus_announced).collect();
        let node = Server::start_at(*port, &all)?;
        if let Some(first) = nodes.first() {
            let first: &Server = first;
            node.run::<()>(&format!("CLUSTER MEET 127.0.0.1 {} {}", first.port, first.bus())).await;
        }
        nodes.push(node);
    }
    for (at, node) in nodes.iter().take(serving).enumerate() {
        let (first, last) = (16_384 * at / serving, 16_384 * (at + 1) / serving - 1);
        node.run::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
    }
    for node in &nodes {
        eventually("the cluster is there", async || {
            let info: String = node.run("CLUSTER INFO").await;
            let known = format!("cluster_known_nodes:{}", nodes.len());
            (info.contains("cluster_state:ok") && info.contains(&known)).then_some(())
        })
        .await;
    }
    Some(nodes)
}

fn ports<const N: usize>() -> [(u16, u16); N] {
    std::array::from_fn(|_| free_port()).map(|port| (port, port))
}

fn url(nodes: &[Server]) -> String {
    let hosts: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

/// A new key that this node serves; and its slot.
async fn key_on(node: &Server, prefix: &str) -> (StorageKey, i64) {
    let slots: Vec<(i64, i64)> = {
        let nodes: String = node.run("CLUSTER NODES").await;
        let own = nodes.lines().find(|line| line.contains("myself")).unwrap().to_owned();
        own.split(' ')
            .skip(8)
            .filter_map(|range| range.split_once('-'))
            .map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()))
            .collect()
    };
    loop {
        let key = key();
        let slot: i64 = node.run(&format!("CLUSTER KEYSLOT {prefix}{key}")).await;
        if slots.iter().any(|(first, last)| (*first..=*last).contains(&slot)) {
            return (key, slot);
        }
    }
}

async fn scan(store: &Store, limit: usize) -> Result<BTreeSet<StorageKey>, Error> {
    Ok(scan_all(store, limit).await?.into_iter().collect())
}

#[tokio::test]
async fn cluster_redirects_are_followed_while_slots_move() {
    let Some(nodes) = cluster(&ports::<3>(), 2).await else { return };
    let [from, to, fresh] = nodes.as_slice() else { unreachable!() };
    let store = open(&url(&nodes[..1])).await.unwrap();
    // One goes to a node that the client knows, one to a node that has had no slot.
    for to in [to, fresh] {
        let (key, slot) = key_on(from, "session:").await;
        let mut revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
        let (from_id, to_id): (String, String) =
            (from.run("CLUSTER MYID").await, to.run("CLUSTER MYID").await);
        to.run::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")).await;
        from.run::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")).await;
        assert_eq!(store.load(&key).await.unwrap().unwrap().revision(), &revision, "not moved yet");
        from.run::<()>(&format!("MIGRATE 127.0.0.1 {} session:{key} 0 1000", to.port)).await;
        if to.port == fresh.port {
            // The client cannot ask a node that it has never heard of: an error for as long as the
            // slot moves.
            assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
        } else {
            assert_eq!(
                store.load(&key).await.unwrap().unwrap().revision(),
                &revision,
                "moved: ASK"
            );
            revision = store.update(&key, b"two", hour(), &revision).await.unwrap().unwrap();
            assert_eq!(scan(&store, 10).await.unwrap().len(), 1);
        }
        for node in [to, from] {
            node.run::<()>(&format!("CLUSTER SETSLOT {slot} NODE {to_id}")).await;
        }
        let update = async || store.update(&key, b"three", hour(), &revision).await.ok();
        assert!(eventually("MOVED is followed", update).await.is_some());
        assert!(store.delete(&key).await.unwrap());
        assert_eq!(store.load(&key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn cluster_is_found_behind_seeds_that_are_silent() {
    let Some(nodes) = cluster(&ports::<1>(), 1).await else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let url = format!("redis+cluster://{silent},{silent},{}", nodes[0].address());
    // A single silent seed takes longer than a call may.
    let store = open(&format!("{url}?connect_timeout=5s")).await.unwrap();
    assert!(store.create(&key(), b"one", hour()).await.unwrap().is_some());
}

#[tokio::test]
async fn cluster_node_killed_and_restarted_is_an_error_meanwhile_and_works_again() {
    let Some(mut nodes) = cluster(&ports::<2>(), 2).await else { return };
    let store = open(&url(&nodes)).await.unwrap();
    let (key, _) = key_on(&nodes[1], "session:").await;
    store.create(&key, b"one", hour()).await.unwrap().unwrap();
    nodes[1].kill();
    for _ in 0..3 {
        assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
        // What the cluster's client says of a write doesn't tell whether it was sent.
        assert!(store.create(&key, b"x", hour()).await.unwrap_err().is_unavailable());
        assert!(scan(&store, 10).await.unwrap_err().is_unavailable());
    }
    nodes[1].restart();
    eventually("works again", async || store.create(&key, b"two", hour()).await.ok()?).await;
    assert_eq!(&store.load(&key).await.unwrap().unwrap().value()[..], b"two");
    assert_eq!(scan(&store, 10).await.unwrap(), BTreeSet::from([key]));
}

#[tokio::test]
async fn cluster_connection_cut_between_command_and_answer_is_said_and_nothing_is_done_twice() {
    let (port, behind) = (free_port(), free_port());
    let other = free_port();
    let Some(nodes) = cluster(&[(behind, port), (other, other)], 2).await else { return };
    // The first node says that it is where the proxy listens.
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let proxy = Proxy::at(listen, format!("127.0.0.1:{behind}")).await.unwrap();
    let store = open(&url(&nodes[1..])).await.unwrap();
    let (key, _) = key_on(&nodes[0], "session:").await;
    let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    let revision = store.update(&key, b"two", hour(), &revision).await.unwrap().unwrap();
    nodes[0].run::<()>("CONFIG RESETSTAT").await;
    proxy.lose_next_answers(1);
    let error = store.update(&key, b"three", hour(), &revision).await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Ambiguous, true), "{error}");
    assert_eq!(&store.load(&key).await.unwrap().unwrap().value()[..], b"three");
    assert_eq!(nodes[0].calls("evalsha").await, 1);
    proxy.lose_next_answers(1);
    assert_eq!(&store.load(&key).await.unwrap().unwrap().value()[..], b"three");
}

#[tokio::test]
async fn cluster_client_that_reads_from_replicas_reads_sessions_from_primaries() {
    let Some(nodes) = cluster(&ports::<2>(), 1).await else { return };
    let [first, second] = nodes.as_slice() else { unreachable!() };
    let id: String = first.run("CLUSTER MYID").await;
    first.run::<()>("CONFIG SET repl-diskless-sync-delay 0").await;
    first.run::<()>("CONFIG SET repl-ping-replica-period 1").await;
    second.run::<()>(&format!("CLUSTER REPLICATE {id}")).await;
    first.replicated().await;
    eventually("the replica is announced", async || {
        let slots: redis::Value = first.run("CLUSTER SLOTS").await;
        format!("{slots:?}").contains(&format!("int({})", second.port)).then_some(())
    })
    .await;
    let strategy = redis::cluster_read_routing::RandomReplicaStrategy;
    let client = redis::cluster::ClusterClientBuilder::new([first.url()])
        .retries(0)
        .read_routing_strategy(strategy)
        .build()
        .unwrap();
    let open = client.get_async_connection().await.unwrap();
    let stores = [Connection::from(client), Connection::from(open)]
        .map(|connection| RedisStore::new(connection, KeySpace::new("session:").unwrap()));
    let ended = key();
    stores[0].create(&ended, b"logged in", hour()).await.unwrap().unwrap();
    for store in &stores {
        assert!(store.load(&ended).await.unwrap().is_some());
    }
    assert_eq!(second.calls("get").await, 0, "the replica was not read");
    first.replicated().await;

    // The primary makes way, and hears nothing of what is written from then on.
    first.run::<()>("CONFIG SET masteruser nobody").await;
    first.run::<()>("CONFIG SET masterauth wrong").await;
    second.run::<()>("CLUSTER FAILOVER").await;
    eventually("it is demoted", async || {
        let info: String = first.run("INFO replication").await;
        info.contains("role:slave").then_some(())
    })
    .await;
    let other = self::open(&url(&nodes[1..])).await.unwrap();
    assert!(eventually("logged out", async || other.delete(&ended).await.ok()).await);
    let stale: Option<Vec<u8>> = {
        let mut replica = first.connection().await;
        say::<()>(&mut replica, "READONLY").await.unwrap();
        say(&mut replica, &format!("GET session:{ended}")).await.unwrap()
    };
    assert!(stale.is_some(), "the demoted primary still has it");
    // A store that opens its own connection finds the new primary. The other one must not read.
    let found = eventually("found again", async || stores[0].load(&ended).await.ok()).await;
    assert_eq!(found, None);
    assert_eq!(stores[1].load(&ended).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn cluster_full_wrong_password_and_eviction_are_what_they_are_elsewhere() {
    let Some(nodes) = cluster(&ports::<2>(), 2).await else { return };
    let store = open(&url(&nodes)).await.unwrap();
    assert!(!store.capabilities().evicts());
    let (key, _) = key_on(&nodes[1], "session:").await;
    nodes[1].run::<()>("CONFIG SET maxmemory 1").await;
    assert_eq!(store.create(&key, b"one", hour()).await.unwrap_err().kind(), ErrorKind::Full);
    nodes[1].run::<()>("CONFIG SET maxmemory-policy allkeys-lru").await;
    assert!(open(&url(&nodes)).await.unwrap().capabilities().evicts(), "one node is enough");
    // What the documentation lists is enough.
    nodes[1].run::<()>("CONFIG SET maxmemory 0").await;
    for node in &nodes {
        let allowed = "+get +set +getrange +setrange +unlink +evalsha +eval +ping +scan +mget \
                       +cluster|slots +asking";
        node.run::<()>(&format!(
            "ACL SETUSER lean on >pw ~session:* resetchannels -@all {allowed}"
        ))
        .await;
    }
    let lean = open(&url(&nodes).replace("://", "://lean:pw@")).await.unwrap();
    let revision = lean.create(&key, b"one", hour()).await.unwrap().unwrap();
    assert!(lean.update(&key, b"two", hour(), &revision).await.unwrap().is_some());
    assert_eq!(scan(&lean, 10).await.unwrap(), BTreeSet::from([key]));
    assert!(lean.capabilities().evicts() && lean.delete(&key).await.unwrap());
    for node in &nodes {
        node.run::<()>("CONFIG SET requirepass hunter2").await;
    }
    let error = open(&url(&nodes).replace("://", "://:wrong-hunter2@")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    open(&url(&nodes).replace("://", "://:hunter2@")).await.unwrap();
}

#[tokio::test]
async fn cluster_whose_password_rotates_is_logged_in_to_again() {
    let Some(nodes) = cluster(&ports::<2>(), 2).await else { return };
    let password = std::sync::Arc::new(std::sync::Mutex::new("first".to_owned()));
    let rotate = async |old: &str, new: &str| {
        new.clone_into(&mut password.lock().unwrap());
        for node in &nodes {
            let mut connection = authorized(node, old).await;
            let set = format!("CONFIG SET requirepass {new}");
            say::<()>(&mut connection, &set).await.unwrap();
            drop(say::<i64>(&mut connection, "CLIENT KILL TYPE normal").await);
        }
    };
    rotate("", "first").await;
    let current = std::sync::Arc::clone(&password);
    let mut url = StoreUrl::parse(&url(&nodes)).unwrap().with_credentials(move || {
        let password = current.lock().unwrap().clone();
        async move { Ok(Credentials::new("default", password)) }
    });
    let store = RedisStore::from_url(&mut url).unwrap().await.unwrap();
    let key = key();
    store.create(&key, b"one", hour()).await.unwrap().unwrap();
    rotate("first", "second").await;
    let found = eventually("logged in again", async || store.load(&key).await.ok()).await;
    assert_eq!(&found.expect("it is there").value()[..], b"one");
}

#[tokio::test]
async fn cluster_is_scanned_whole_and_a_hash_tag_keeps_a_prefix_on_one_node() {
    let Some(base) = engine_url("MOCHA_TEST_REDIS_CLUSTER_URL") else { return };
    let first = base.trim_start_matches("redis+cluster://").split(',').next().unwrap().to_owned();
    let owned = redis::cluster::ClusterClientBuilder::new([format!("redis://{first}")])
        .retries(0)
        .build()
        .unwrap();
    let owned = owned.get_async_connection().await.unwrap();
    for tag in ["", "{tag}:"] {
        let prefix = format!("{tag}scan-{}:", key());
        let store =
            open(&format!("{base}?prefix={}", prefix.replace('{', "%7B").replace('}', "%7D")))
                .await
                .unwrap();
        let keys: BTreeSet<_> = std::iter::repeat_with(key).take(50).collect();
        for key in &keys {
            store.create(key, b"x", hour()).await.unwrap().unwrap();
        }
        for limit in [1, 7, 1000] {
            assert_eq!(scan(&store, limit).await.unwrap(), keys, "{tag:?} {limit}");
        }
        let same: Store = std::sync::Arc::new(
            RedisStore::new(owned.clone(), KeySpace::new(&prefix).unwrap()).detect().await,
        );
        assert_eq!(scan(&same, 100).await.unwrap(), keys);
        for key in &keys {
            assert!(same.delete(key).await.unwrap());
        }
        assert!(scan(&store, 1000).await.unwrap().is_empty());
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one failover, told in order")]
async fn sentinel_failover_in_mid_run_loses_nothing_and_needs_no_restart() {
    let words = "--requirepass pw --masterauth pw --repl-diskless-sync-delay 0".split(' ');
    let words: Vec<_> = words.collect();
    let Some(primary) = Server::start(&words) else { return };
    let port = primary.port.to_string();
    let follow = [&["--replicaof", "127.0.0.1", &port], words.as_slice()].concat();
    let Some(mut replica) = Server::start(&follow) else { return };
    // Before there are sentinels: they look for replicas every ten seconds.
    replicated(&primary).await;
    let watch = format!("sentinel monitor mymaster 127.0.0.1 {} 2", primary.port);
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        let arguments = [
            "--sentinel",
            &watch,
            "sentinel auth-pass mymaster pw",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 1500",
            "requirepass sentinels-pw",
            "sentinel sentinel-pass sentinels-pw",
        ];
        let Some(sentinel) = Server::start(&arguments) else { return };
        sentinels.push(sentinel);
    }
    let hosts: Vec<_> =
        sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    let url = format!("redis+sentinel://:pw@{}/mymaster", hosts.join(","));
    let error = open(&format!("{url}?sentinel_password=wrong-hunter2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let error =
        open(&format!("{}?sentinel_password=sentinels-pw", url.replace("mymaster", "other")))
            .await
            .unwrap_err();
    assert!(error.to_string().contains("no sentinel knows"), "{error}");

    for sentinel in &sentinels {
        let mut connection = authorized(sentinel, "sentinels-pw").await;
        let allow = "ACL SETUSER asker on >pw -@all +sentinel|get-master-addr-by-name";
        say::<()>(&mut connection, allow).await.unwrap();
    }
    let store = open(&format!("{url}?sentinel_username=asker&sentinel_password=pw")).await.unwrap();
    let key = key();
    let mut revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    replicated(&primary).await;
    // The sentinels must have found the replica and each other.
    for sentinel in &sentinels {
        let mut connection = authorized(sentinel, "sentinels-pw").await;
        eventually("sentinels know all", async || {
            let quorum = say::<String>(&mut connection, "SENTINEL CKQUORUM mymaster").await;
            let replicas = say(&mut connection, "SENTINEL REPLICAS mymaster").await;
            let replicas: Vec<redis::Value> = replicas.ok()?;
            (quorum.ok()?.contains("3 usable") && replicas.len() == 1).then_some(())
        })
        .await;
    }

    // First in an orderly manner: the primary is asked to make way. On a busy machine sentinels give
    // a failover up when its time is over, so they are asked until they name another primary.
    let mut sentinel = authorized(&sentinels[0], "sentinels-pw").await;
    eventually("the old primary follows", async || {
        assert!(!matches!(store.load(&key).await, Ok(None)), "never absent");
        let named = say(&mut sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").await;
        let (_, named): (String, u16) = named.ok()?;
        if named == primary.port {
            // Refused while one is under way.
            let _ = say::<()>(&mut sentinel, "SENTINEL FAILOVER mymaster").await;
        }
        replication(&replica).await.contains("connected_slaves:1").then_some(())
    })
    .await;
    let update = async || store.update(&key, b"two", hour(), &revision).await.ok().flatten();
    revision = eventually("writes again", update).await;
    replicated(&replica).await;

    // Then without warning.
    replica.kill();
    let mut refused = 0;
    let found = eventually("another primary", async || {
        let found = store.load(&key).await;
        if let Err(error) = &found {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            refused += 1;
        }
        found.ok()
    })
    .await;
    assert!(refused > 0, "there was a gap");
    assert_eq!(found.expect("never absent").revision(), &revision);
    assert!(store.update(&key, b"three", hour(), &revision).await.unwrap().is_some());
    assert!(replication(&primary).await.contains("role:master"));
}

/// Waits until a replica has all that this primary has.
async fn replicated(server: &Server) {
    eventually("the replica has all", async || {
        let info = replication(server).await;
        let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"))?;
        info.contains(&format!("state=online,offset={offset},")).then_some(())
    })
    .await;
}

/// Asked again when a failover, which closes all connections, comes in between.
async fn replication(server: &Server) -> String {
    let client = redis::Client::open(format!("redis://:pw@127.0.0.1:{}", server.port)).unwrap();
    eventually("INFO", async || {
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        say(&mut connection, "INFO replication").await.ok()
    })
    .await
}

async fn authorized(server: &Server, password: &str) -> redis::aio::MultiplexedConnection {
    let login = if password.is_empty() { String::new() } else { format!(":{password}@") };
    let client = redis::Client::open(format!("redis://{login}127.0.0.1:{}", server.port)).unwrap();
    common::patient(&client).await
}
