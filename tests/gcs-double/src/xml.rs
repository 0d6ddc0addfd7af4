//! The XML dialect, for HMAC keys. It verifies every request first.

use std::fmt::Write as _;

use bytes::Bytes;
use google_cloud_wkt::Timestamp;
use hyper::Method;
use hyper::http::request::Parts;

use crate::server::{Answer, decode, header, parameter, respond};
use crate::signature;
use crate::world::{Call, Object, Outcome, Refusal, Rules};

const WRONG: Refusal = Refusal::Wrong(400, "InvalidArgument");
/// The queries for a bucket's rules.
const RULES: [&str; 3] = ["lifecycle=", "versioning=", "acl="];

pub(crate) fn read(parts: &Parts, body: Bytes) -> Result<Call, Refusal> {
    signature::verify(parts, &body)?;
    let path = parts.uri.path().trim_start_matches('/');
    let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
    let (bucket, name) = (decode(bucket), decode(name));
    let if_generation = match header(&parts.headers, "x-goog-if-generation-match") {
        Some(text) => Some(text.parse().map_err(|_| WRONG)?),
        None => None,
    };
    match (&parts.method, name.is_empty()) {
        (&Method::GET, false) => Ok(Call::Read { bucket, name }),
        (&Method::HEAD, false) => Ok(Call::Look { bucket, name }),
        (&Method::DELETE, false) => Ok(Call::Delete { bucket, name, if_generation }),
        (&Method::PUT, false) => {
            let mut object = Object::new(&name, body);
            object.custom_time = header(&parts.headers, "x-goog-custom-time").map(str::to_owned);
            for (name, value) in &parts.headers {
                if let (Some(name), Ok(value)) =
                    (name.as_str().strip_prefix("x-goog-meta-"), value.to_str())
                {
                    object.metadata.insert(name.to_owned(), value.to_owned());
                }
            }
            Ok(Call::Write { bucket, object, if_generation })
        }
        (&Method::GET, true) if parameter(parts, "list-type").as_deref() == Some("2") => {
            let limit = parameter(parts, "max-keys").and_then(|text| text.parse().ok());
            Ok(Call::List {
                bucket,
                prefix: parameter(parts, "prefix").unwrap_or_default(),
                limit: limit.unwrap_or(1000).clamp(1, 1000),
                after: parameter(parts, "continuation-token").unwrap_or_default(),
            })
        }
        (&Method::GET, true) if RULES.contains(&parts.uri.query().unwrap_or_default()) => {
            Ok(Call::Rules { bucket })
        }
        (&Method::PUT, true) if parts.headers.contains_key("x-goog-project-id") => {
            Ok(Call::CreateBucket { bucket })
        }
        (&Method::PUT, true) => Err(Refusal::Wrong(400, "MissingProject")),
        _ => Err(Refusal::Wrong(501, "NotImplemented")),
    }
}

pub(crate) fn write(parts: &Parts, result: Result<Outcome, Refusal>) -> Answer {
    match result {
        Ok(Outcome::Object(object)) => {
            let mut headers = vec![("x-goog-generation".to_owned(), object.generation.to_string())];
            headers.extend(
                object
                    .metadata
                    .iter()
                    .map(|(name, value)| (format!("x-goog-meta-{name}"), value.clone())),
            );
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let body = if parts.method == Method::GET { object.value } else { Bytes::new() };
            respond(200, &headers, body)
        }
        Ok(Outcome::Page { objects, next }) => respond(
            200,
            &[("content-type", "application/xml".to_owned())],
            page(&objects, next.as_deref()),
        ),
        Ok(Outcome::Rules(rules) | Outcome::Policy(rules)) => {
            let text = told(parts.uri.query().unwrap_or_default(), rules);
            respond(200, &[("content-type", "application/xml".to_owned())], text)
        }
        Ok(Outcome::Done) if parts.method == Method::DELETE => respond(204, &[], ""),
        Ok(Outcome::Done) => respond(200, &[], ""),
        Err(refusal) => refuse(parts, &refusal),
    }
}

/// Returns the rules that the query asks for.
fn told(query: &str, rules: Rules) -> String {
    let text = match query {
        "lifecycle=" if rules.deletes => {
            "<LifecycleConfiguration><Rule><Action><Delete/></Action><Condition><Age>30</Age>\
             </Condition></Rule></LifecycleConfiguration>"
        }
        "lifecycle=" => "<LifecycleConfiguration/>",
        "versioning=" if rules.keeps_versions => {
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        }
        "versioning=" => "<VersioningConfiguration/>",
        _ if rules.names_everyone => {
            "<AccessControlList><Entries><Entry><Scope type='AllUsers'/>\
             <Permission>READ</Permission></Entry></Entries></AccessControlList>"
        }
        _ => "<AccessControlList><Entries/></AccessControlList>",
    };
    format!("<?xml version='1.0' encoding='UTF-8'?>{text}")
}

fn page(objects: &[Object], next: Option<&str>) -> String {
    let mut out = String::from(
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>",
    );
    for object in objects {
        let (name, generation, size) =
            (escape(&object.name), object.generation, object.value.len());
        let written =
            String::from(Timestamp::try_from(object.written).expect("before the year 10000"));
        let _ = write!(
            out,
            "<Contents><Key>{name}</Key><Generation>{generation}</Generation>\
             <LastModified>{written}</LastModified><Size>{size}</Size></Contents>"
        );
    }
    let _ = write!(out, "<IsTruncated>{}</IsTruncated>", next.is_some());
    if let Some(next) = next {
        let _ = write!(out, "<NextContinuationToken>{}</NextContinuationToken>", escape(next));
    }
    out + "</ListBucketResult>"
}

fn refuse(parts: &Parts, refusal: &Refusal) -> Answer {
    let (status, says) = refusal.speak();
    let code = match refusal {
        Refusal::NoBucket => "NoSuchBucket",
        Refusal::NoObject(_) => "NoSuchKey",
        Refusal::Mismatch => "PreconditionFailed",
        Refusal::BucketTaken => "BucketAlreadyOwnedByYou",
        Refusal::Wrong(_, code) => code,
        Refusal::Status(404) => return respond(404, &[], ""),
        Refusal::Status(403) => "AccessDenied",
        Refusal::Status(429) => "SlowDown",
        Refusal::Status(_) => "ServiceUnavailable",
    };
    if parts.method == Method::HEAD {
        return respond(status, &[], "");
    }
    let body = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{}</Message></Error>",
        escape(&says)
    );
    respond(status, &[("content-type", "application/xml".to_owned())], body)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
