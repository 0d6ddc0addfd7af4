//! Tests of S3 URLs: every form that is read, and the fault of each that is not.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn read(text: &str) -> Result<Target> {
    let mut url = StoreUrl::parse(text)?;
    let address = Target::read(&mut url)?;
    url.finish()?;
    Ok(address)
}

#[test]
fn every_form_is_read() {
    // The prefix, the endpoint and the region.
    for (text, read_as) in [
        ("s3://username:password@s3.aws.amazon.com/bucket", "sessions/ - -"),
        ("s3://k:s@s3.amazonaws.com/bucket/shop", "shop/ - -"),
        ("s3://k:s@s3.eu-central-1.amazonaws.com/bucket", "sessions/ - eu-central-1"),
        ("s3://k:s@s3.cn-north-1.amazonaws.com.cn/bucket", "sessions/ - cn-north-1"),
        ("s3://k:s@s3.aws.amazon.com/bucket?region=eu-west-1", "sessions/ - eu-west-1"),
        ("s3://k:s@s3.aws.amazon.com/bucket/a/b/?prefix=s-", "a/b/s- - -"),
        ("s3://k:s@s3.aws.amazon.com/bucket?prefix=", " - -"),
        ("s3://k:s@minio.example/bucket", "sessions/ https://minio.example:443 -"),
        ("s3://k:s@127.0.0.1:9000/bucket?tls=false", "sessions/ http://127.0.0.1:9000 -"),
        ("s3://k:s@[::1]:9000/bucket?tls=no", "sessions/ http://[::1]:9000 -"),
        ("s3://k:s@m/bucket/shop?endpoint=https://m:9000", "shop/ https://m:9000 -"),
        ("s3://k:s@m:9000/bucket?endpoint=http://m:9000/", "sessions/ http://m:9000 -"),
        (
            "s3://k:s@s3.aws.amazon.com/bucket?endpoint=http://localhost:4566",
            "sessions/ http://localhost:4566 -",
        ),
        (
            "s3://k:s@id.r2.cloudflarestorage.com/bucket?region=auto",
            "sessions/ https://id.r2.cloudflarestorage.com:443 auto",
        ),
    ] {
        let target = read(text).unwrap();
        let [endpoint, region] = [target.endpoint.as_deref(), target.region.as_deref()];
        let (endpoint, region) = (endpoint.unwrap_or("-"), region.unwrap_or("-"));
        assert_eq!(format!("{} {endpoint} {region}", target.space.prefix()), read_as, "{text}");
        assert_eq!(target.bucket, "bucket", "{text}");
        assert!(target.credentials.is_some() && target.create, "{text}");
    }
    assert!(!read("s3://k:s@s3.aws.amazon.com/bucket?create=false").unwrap().create);
}

#[test]
fn a_wrong_url_is_refused_by_the_name_of_its_fault() {
    for (text, word) in [
        ("s3:", "no host"),
        ("s3://k:hunter2@s3.aws.amazon.com", "names no bucket"),
        ("s3://k:hunter2@s3.aws.amazon.com/ab", "names no bucket"),
        ("s3://k:hunter2@s3.aws.amazon.com/bu*cket", "names no bucket"),
        ("s3://k:hunter2@s3.aws.amazon.com/127.0.0.1", "names no bucket"),
        ("s3://k:hunter2@bucket/shop?endpoint=http://m", "another host"),
        ("s3://key@s3.aws.amazon.com/bucket", "given together"),
        ("s3://:hunter2@s3.aws.amazon.com/bucket", "given together"),
        ("s3://key:@s3.aws.amazon.com/bucket", "given together"),
        ("s3://k:hunter2@a,b/bucket", "exactly one host"),
        ("s3://k:hunter2@h/bucket?region=evil.example/x", "`region`"),
        ("s3://k:hunter2@h/bucket?region=", "`region`"),
        ("s3://k:hunter2@h/bucket?tls=maybe", "`tls`"),
        ("s3://k:hunter2@s3.aws.amazon.com/bucket?tls=false", "`tls`"),
        ("s3://k:hunter2@m/bucket?endpoint=http://m&tls=false", "`tls`"),
        ("s3://k:hunter2@minio/bucket?endpoint=minio:9000", "`endpoint`"),
        ("s3://k:hunter2@minio/bucket?endpoint=ftp://minio", "`endpoint`"),
        ("s3://k:hunter2@minio/bucket?endpoint=http://u:hunter2@minio", "`endpoint`"),
        ("s3://k:hunter2@minio/bucket?endpoint=http://a,b", "`endpoint`"),
        ("s3://k:hunter2@h/bucket?prefix=a*", "`prefix`"),
        ("s3://k:hunter2@h/bucket?prefix=../a", "`prefix`"),
        ("s3://k:hunter2@h/bucket/a/./b", "`prefix`"),
        ("s3://k:hunter2@h/bucket?regoin=eu-west-1", "`regoin`"),
        ("s3://k:hunter2/x@h/bucket", "%2F"),
    ] {
        let error = read(text).err().unwrap();
        assert!(error.is_invalid_config(), "{text}");
        assert!(error.to_string().contains(word), "{text}: {error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
    }
}

#[test]
fn a_url_without_keys_needs_the_feature() {
    let target = read("s3://bucket/shop");
    if cfg!(feature = "default-credentials") {
        let target = target.unwrap();
        assert_eq!((target.bucket.as_str(), target.space.prefix()), ("bucket", "shop/"));
        assert!(target.credentials.is_none() && target.endpoint.is_none());
        for text in ["s3://12345/x", "s3://bucket:9000/x"] {
            assert!(read(text).err().unwrap().to_string().contains("names no bucket"));
        }
        let target = read("s3://bucket?endpoint=http://m:9000").unwrap();
        let endpoint = target.endpoint.as_deref();
        assert_eq!((target.bucket.as_str(), endpoint), ("bucket", Some("http://m:9000")));
    } else {
        assert!(target.err().unwrap().to_string().contains("cargo feature `default-credentials`"));
    }
}

#[test]
fn a_session_token_belongs_to_a_key() {
    let target = read("s3://k:s@h/bucket?session_token=a%2Bb%2F%3D").unwrap();
    assert_eq!(target.credentials.unwrap().session_token(), Some("a+b/="));
    let error = read("s3://bucket?session_token=hunter2").err().unwrap();
    assert!(
        error.to_string().contains("`session_token`") && !error.to_string().contains("hunter2")
    );
}
