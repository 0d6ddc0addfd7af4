//! In-process session store: sharded, bounded, expiring by itself.
