//! The gRPC dialect of the official client's `StorageControl`: unary calls with hand-written
//! framing.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};
use prost::Message;

use crate::server::{Answer, respond};
use crate::world::{Call, Outcome, Refusal, Rules};

#[derive(Clone, PartialEq, Message)]
struct DeleteObjectRequest {
    #[prost(string, tag = "1")]
    bucket: String,
    #[prost(string, tag = "2")]
    object: String,
    #[prost(int64, optional, tag = "5")]
    if_generation_match: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ListObjectsRequest {
    #[prost(string, tag = "1")]
    parent: String,
    #[prost(int32, tag = "2")]
    page_size: i32,
    #[prost(string, tag = "3")]
    page_token: String,
    #[prost(string, tag = "6")]
    prefix: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListObjectsResponse {
    #[prost(message, repeated, tag = "1")]
    objects: Vec<Object>,
    #[prost(string, tag = "3")]
    next_page_token: String,
}

#[derive(Clone, PartialEq, Message)]
struct Object {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    generation: i64,
    #[prost(int64, tag = "6")]
    size: i64,
    #[prost(map = "string, string", tag = "22")]
    metadata: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct CreateBucketRequest {
    #[prost(string, tag = "1")]
    parent: String,
    #[prost(message, optional, tag = "2")]
    bucket: Option<Bucket>,
    #[prost(string, tag = "3")]
    bucket_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    project: String,
    #[prost(message, optional, tag = "10")]
    lifecycle: Option<Lifecycle>,
    #[prost(message, optional, tag = "17")]
    versioning: Option<Versioning>,
    #[prost(message, optional, tag = "23")]
    iam_config: Option<IamConfig>,
    #[prost(message, optional, tag = "31")]
    soft_delete_policy: Option<SoftDeletePolicy>,
}

#[derive(Clone, PartialEq, Message)]
struct Lifecycle {
    #[prost(message, repeated, tag = "1")]
    rule: Vec<LifecycleRule>,
}

#[derive(Clone, PartialEq, Message)]
struct LifecycleRule {
    #[prost(message, optional, tag = "1")]
    action: Option<LifecycleAction>,
}

#[derive(Clone, PartialEq, Message)]
struct LifecycleAction {
    #[prost(string, tag = "1")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Versioning {
    #[prost(bool, tag = "1")]
    enabled: bool,
}

#[derive(Clone, PartialEq, Message)]
struct IamConfig {
    #[prost(string, tag = "3")]
    public_access_prevention: String,
}

#[derive(Clone, PartialEq, Message)]
struct SoftDeletePolicy {
    #[prost(message, optional, tag = "1")]
    retention_duration: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
struct Duration {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// `GetBucketRequest` and `GetIamPolicyRequest`.
#[derive(Clone, PartialEq, Message)]
struct ExamineRequest {
    #[prost(string, tag = "1")]
    bucket: String,
}

#[derive(Clone, PartialEq, Message)]
struct Policy {
    #[prost(message, repeated, tag = "4")]
    bindings: Vec<Binding>,
}

#[derive(Clone, PartialEq, Message)]
struct Binding {
    #[prost(string, tag = "1")]
    role: String,
    #[prost(string, repeated, tag = "2")]
    members: Vec<String>,
}

const WRONG: Refusal = Refusal::Wrong(400, "InvalidArgument");

pub(crate) fn read(parts: &Parts, body: &Bytes) -> Result<Call, Refusal> {
    let message = unframe(body).ok_or(WRONG)?;
    match parts.uri.path().rsplit('/').next().unwrap_or_default() {
        "DeleteObject" => {
            let request: DeleteObjectRequest = decode(message)?;
            let bucket = bucket(&request.bucket)?;
            Ok(Call::Delete {
                bucket,
                name: request.object,
                if_generation: request.if_generation_match,
            })
        }
        "ListObjects" => {
            let request: ListObjectsRequest = decode(message)?;
            let limit =
                usize::try_from(request.page_size).ok().filter(|size| (1..=1000).contains(size));
            Ok(Call::List {
                bucket: bucket(&request.parent)?,
                prefix: request.prefix,
                limit: limit.unwrap_or(1000),
                after: request.page_token,
            })
        }
        "CreateBucket" => {
            let request: CreateBucketRequest = decode(message)?;
            let project =
                request.bucket.is_some_and(|bucket| bucket.project.starts_with("projects/"));
            if request.parent != "projects/_" || !project {
                return Err(WRONG);
            }
            Ok(Call::CreateBucket { bucket: request.bucket_id })
        }
        "GetBucket" => {
            let request: ExamineRequest = decode(message)?;
            Ok(Call::Rules { bucket: bucket(&request.bucket)? })
        }
        "GetIamPolicy" => {
            let request: ExamineRequest = decode(message)?;
            Ok(Call::Policy { bucket: bucket(&request.bucket)? })
        }
        _ => Err(Refusal::Wrong(501, "Unimplemented")),
    }
}

pub(crate) fn write(result: Result<Outcome, Refusal>) -> Answer {
    let message = match result {
        Ok(Outcome::Page { objects, next }) => {
            let objects = objects.into_iter().map(|object| Object {
                name: object.name,
                generation: object.generation,
                size: i64::try_from(object.value.len()).unwrap_or(i64::MAX),
                metadata: object.metadata.into_iter().collect(),
            });
            let next_page_token = next.unwrap_or_default();
            ListObjectsResponse { objects: objects.collect(), next_page_token }.encode_to_vec()
        }
        Ok(Outcome::Rules(rules)) => described(rules).encode_to_vec(),
        Ok(Outcome::Policy(rules)) => policy(rules).encode_to_vec(),
        Ok(_) => Vec::new(),
        Err(refusal) => return refuse(&refusal),
    };
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a message below 4 GiB"));
    frame.put_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a header value"));
    let body = Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder()
        .header("content-type", "application/grpc")
        .body(body.boxed_unsync())
        .expect("headers that can be sent")
}

fn described(rules: Rules) -> Bucket {
    let delete = LifecycleRule { action: Some(LifecycleAction { kind: "Delete".to_owned() }) };
    let prevention = if rules.prevents_public { "enforced" } else { "inherited" };
    let week = Duration { seconds: if rules.keeps_deleted { 7 * 24 * 60 * 60 } else { 0 } };
    Bucket {
        lifecycle: rules.deletes.then(|| Lifecycle { rule: vec![delete] }),
        versioning: Some(Versioning { enabled: rules.keeps_versions }),
        iam_config: Some(IamConfig { public_access_prevention: prevention.to_owned() }),
        soft_delete_policy: Some(SoftDeletePolicy { retention_duration: Some(week) }),
        ..Bucket::default()
    }
}

fn policy(rules: Rules) -> Policy {
    let member = if rules.names_everyone { "allUsers" } else { "projectOwner:shop" };
    let (role, members) = ("roles/storage.objectViewer".to_owned(), vec![member.to_owned()]);
    Policy { bindings: vec![Binding { role, members }] }
}

/// Returns only trailers, which HTTP/2 sends as headers if no data precedes them.
fn refuse(refusal: &Refusal) -> Answer {
    let (status, says) = refusal.speak();
    let code = match status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 6,
        412 => 9,
        429 => 8,
        501 => 12,
        503 => 14,
        504 => 4,
        _ => 13,
    };
    let says = percent_encoding::utf8_percent_encode(&says, percent_encoding::NON_ALPHANUMERIC)
        .to_string();
    let says = if *refusal == Refusal::Status(404) { String::new() } else { says };
    let headers = [
        ("content-type", "application/grpc".to_owned()),
        ("grpc-status", code.to_string()),
        ("grpc-message", says),
    ];
    respond(200, &headers, "")
}

/// Returns the message of an uncompressed frame.
fn unframe(body: &Bytes) -> Option<&[u8]> {
    let (head, rest) = body.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    (head[0] == 0 && rest.len() == usize::try_from(length).ok()?).then_some(rest)
}

fn decode<M: Message + Default>(message: &[u8]) -> Result<M, Refusal> {
    M::decode(message).map_err(|_| WRONG)
}

fn bucket(resource: &str) -> Result<String, Refusal> {
    resource.strip_prefix("projects/_/buckets/").map(str::to_owned).ok_or(WRONG)
}
