//! Amazon S3 (and S3-compatible) session store.
