//! memcached session store.
