//! The JSON dialect over REST, of the official client's `Storage`.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use crate::server::{Answer, decode, header, parameter, respond};
use crate::world::{Call, Object, Outcome, Refusal};

const WRONG: Refusal = Refusal::Wrong(400, "invalid");

pub(crate) fn read(parts: &Parts, body: &Bytes) -> Result<Call, Refusal> {
    let path: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
    match (&parts.method, path.as_slice()) {
        (&Method::GET, ["storage", "v1", "b", bucket, "o", name])
            if parameter(parts, "alt").as_deref() == Some("media") =>
        {
            Ok(Call::Read { bucket: decode(bucket), name: decode(name) })
        }
        (&Method::POST, ["upload", "storage", "v1", "b", bucket, "o"])
            if parameter(parts, "uploadType").as_deref() == Some("multipart") =>
        {
            let name = parameter(parts, "name").ok_or(WRONG)?;
            let boundary = header(&parts.headers, "content-type")
                .and_then(|text| text.split_once("boundary="))
                .map(|(_, boundary)| boundary.trim_matches('"'))
                .ok_or(WRONG)?;
            let (description, value) = two_parts(body, boundary).ok_or(WRONG)?;
            let description: Value = serde_json::from_slice(&description).map_err(|_| WRONG)?;
            let mut object = Object::new(&name, value);
            object.custom_time = description["customTime"].as_str().map(str::to_owned);
            object.metadata = text_map(&description["metadata"]);
            let if_generation =
                parameter(parts, "ifGenerationMatch").and_then(|text| text.parse().ok());
            Ok(Call::Write { bucket: decode(bucket), object, if_generation })
        }
        _ => Err(Refusal::Wrong(501, "notImplemented")),
    }
}

pub(crate) fn write(parts: &Parts, result: Result<Outcome, Refusal>) -> Answer {
    match result {
        Ok(Outcome::Object(object)) if parts.method == Method::GET => {
            let mut headers = vec![
                ("content-type", "application/octet-stream".to_owned()),
                ("x-goog-generation", object.generation.to_string()),
                ("x-goog-metageneration", "1".to_owned()),
                ("x-goog-stored-content-length", object.value.len().to_string()),
                ("x-goog-storage-class", "STANDARD".to_owned()),
            ];
            let metadata: Vec<_> = object
                .metadata
                .iter()
                .map(|(name, value)| (format!("x-goog-meta-{name}"), value))
                .collect();
            headers.extend(metadata.iter().map(|(name, value)| (name.as_str(), (*value).clone())));
            respond(200, &headers, object.value)
        }
        Ok(Outcome::Object(object)) => {
            let body = json!({
                "kind": "storage#object",
                "name": object.name,
                "generation": object.generation.to_string(),
                "metageneration": "1",
                "size": object.value.len().to_string(),
                "metadata": object.metadata,
                "customTime": object.custom_time,
            });
            respond(200, &[("content-type", "application/json".to_owned())], body.to_string())
        }
        Ok(_) => respond(200, &[], ""),
        // Errors of requests for an object's content are plain text; all others are JSON.
        Err(Refusal::Status(404)) => respond(404, &[], ""),
        Err(refusal) if parts.method == Method::GET => {
            let (status, says) = refusal.speak();
            respond(status, &[("content-type", "text/html; charset=UTF-8".to_owned())], says)
        }
        Err(refusal) => {
            let (status, says) = refusal.speak();
            let body = json!({ "error": { "code": status, "message": says, "errors": [] } });
            respond(status, &[("content-type", "application/json".to_owned())], body.to_string())
        }
    }
}

/// Returns the first two parts of a `multipart/related` body: the description and the content.
fn two_parts(body: &Bytes, boundary: &str) -> Option<(Bytes, Bytes)> {
    let delimiter = format!("--{boundary}");
    let mut starts = Vec::new();
    let mut from = 0;
    while let Some(at) = find(&body[from..], delimiter.as_bytes()) {
        starts.push(from + at);
        from += at + delimiter.len();
    }
    let mut parts = starts.windows(2).map(|pair| {
        let part = body.slice(pair[0] + delimiter.len()..pair[1]);
        let content = find(&part, b"\r\n\r\n")? + 4;
        // The line break belongs to the delimiter that follows.
        Some(part.slice(content..part.len().checked_sub(2)?))
    });
    Some((parts.next()??, parts.next()??))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn text_map(value: &Value) -> BTreeMap<String, String> {
    let Some(map) = value.as_object() else { return BTreeMap::new() };
    map.iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
