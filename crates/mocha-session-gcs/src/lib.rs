//! Google Cloud Storage session store.
