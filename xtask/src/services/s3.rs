//! S3, by moto: one that believes everybody, one that verifies signatures.

use super::place::{Place, free_port};
use super::wire;
use crate::{Result, install};
use std::process::Command;

const REGION: &str = "us-east-1";
const BUCKET: &str = "mocha-session-test";
/// What a user of the verifying server may do: everything.
const POLICY: &str = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";

/// A server that takes any key and secret.
pub(crate) fn open(place: &Place) -> Result<Vec<String>> {
    let port = start(place, &[])?;
    Ok(vec![url("key", "secret", port)])
}

/// A server that verifies signatures: the first three calls, which make a user, a policy and a key,
/// are let through.
pub(crate) fn signed(place: &Place) -> Result<Vec<String>> {
    let port = start(place, &[("INITIAL_NO_AUTH_ACTION_COUNT", "3")])?;
    iam(port, "CreateUser&UserName=app")?;
    iam(port, &format!("PutUserPolicy&UserName=app&PolicyName=all&PolicyDocument={POLICY}"))?;
    let made = iam(port, "CreateAccessKey&UserName=app")?;
    let field =
        |name: &str| element(&made, name).ok_or_else(|| format!("moto's answer has no {name}"));
    Ok(vec![url(field("AccessKeyId")?, field("SecretAccessKey")?, port)])
}

fn start(place: &Place, environment: &[(&str, &str)]) -> Result<u16> {
    let port = free_port()?;
    // Not bin/moto_server, which has the path of its folder written into it; and as atomic as S3,
    // which moto alone is not.
    let mut moto = Command::new(install::MOTO.program()?);
    moto.args(["-c", include_str!("moto.py"), "-H", "127.0.0.1", "-p", &port.to_string()])
        .envs(environment.iter().copied());
    place
        .spawn("moto", &moto)?
        .ready(|| wire::http(port, "GET", "/moto-api/data.json", "", "").map(drop))?;
    Ok(port)
}

/// Calls the IAM of moto, which tells services apart by what the signature says it is for.
fn iam(port: u16, action: &str) -> Result<String> {
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n\
        Authorization: AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none\r\n";
    wire::http(port, "POST", "/", headers, &format!("Version=2010-05-08&Action={action}"))
}

fn url(key: &str, secret: &str, port: u16) -> String {
    let (key, secret) = (encode(key), encode(secret));
    format!(
        "s3://{key}:{secret}@127.0.0.1:{port}/{BUCKET}?endpoint=http://127.0.0.1:{port}&region={REGION}"
    )
}

/// The text of an XML element that occurs once and holds no other.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text.trim())
}

/// Percent-encodes what cannot stand in the credentials of a URL.
fn encode(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_encoded() {
        assert!(url("AK1", "a/b+c", 5000).starts_with("s3://AK1:a%2Fb%2Bc@127.0.0.1:5000/"));
    }

    #[test]
    fn elements_are_found() {
        assert_eq!(element("<a><Key> k/1 </Key></a>", "Key"), Some("k/1"));
        assert_eq!(element("<a></a>", "Key"), None);
    }
}
