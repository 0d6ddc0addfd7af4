//! Redis and Valkey session store: standalone, TLS, cluster, sentinel.
