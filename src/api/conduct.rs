//! How every call is conducted: key, limit, scope, body, transaction, idempotency, commit, headers.
//!
//! 2xx means committed. Not here: what a call does (the nouns), which routes there are (their `endpoints`).

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::Method, web};
use chrono::{SubsecRound, Utc};
use serde_json::{Map, Value};

use super::{
    body,
    call::{Answer, Call, Caller, Context},
    caller,
    endpoint::{Access, BodyKind, Endpoint, Handler},
    idempotency,
    problem::{Kind, Problem},
    rate::Standing,
};
use crate::{mail::report::REPORT_MAX_BYTES, network::Cidr, store};

/// Conduct one request to this endpoint.
pub async fn respond(
    endpoint: &Endpoint,
    context: Arc<Context>,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let mut standing = None;
    let result = conduct(endpoint, context, request, payload, &mut standing).await;
    let mut response = match result {
        Ok(answer) => show(answer),
        Err(problem) => problem.error_response(),
    };
    for (name, value) in standing.iter().flat_map(Standing::headers) {
        if let (Ok(name), Ok(value)) = (name.parse(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn conduct(
    endpoint: &Endpoint,
    context: Arc<Context>,
    request: &HttpRequest,
    payload: web::Payload,
    standing: &mut Option<Standing>,
) -> Result<Answer, Problem> {
    let caller = within(endpoint, identify(&context, request)).await?;
    let (now_standing, refused) = context.limits.take(caller.key());
    *standing = Some(now_standing);
    if let Some(problem) = refused {
        return Err(problem);
    }
    allow(endpoint, &caller)?;
    let bytes = read_body(endpoint, &context, request, payload).await?;
    let call = read_call(endpoint, context, caller, request, &bytes)?;
    let key = match request.headers().get("Idempotency-Key").filter(|_| endpoint.method == Method::POST) {
        Some(value) => Some(idempotency::read(value)?),
        None => None,
    };
    let fingerprint = key.map(|key| {
        (
            key,
            idempotency::fingerprint(
                &call.context.keyring,
                endpoint.method.as_str(),
                &request.uri().to_string(),
                &bytes,
            ),
        )
    });
    within(endpoint, work(endpoint, &call, fingerprint)).await
}

/// Bound the time in which Postgres or a peer may keep the caller waiting.
async fn within<T>(endpoint: &Endpoint, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(endpoint.time_limit, work).await.unwrap_or_else(|_| {
        tracing::warn!(path = endpoint.path, "a request took too long and was given up");
        Err(Problem::new(Kind::Unavailable, "It took too long; please try again").retry_after(2))
    })
}

async fn identify(context: &Context, request: &HttpRequest) -> Result<Caller, Problem> {
    let mut connection = context.store.acquire().await?;
    let peer = peer_address(request, &context.settings.server.trusted_proxies);
    caller::authenticate(context, &mut connection, request.headers(), peer, Utc::now()).await
}

/// The client's address: the last one in `X-Forwarded-For` that is not a trusted proxy's, when the peer is a trusted proxy.
pub fn peer_address(request: &HttpRequest, trusted: &[Cidr]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|range| range.contains(*address));
    let peer = request.peer_addr()?.ip();
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let mut client = peer;
    let forwarded = request.headers().get_all("X-Forwarded-For").filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        let Ok(address) = hop.parse() else { break };
        client = address;
        if !is_trusted(&client) {
            break;
        }
    }
    Some(client)
}

fn allow(endpoint: &Endpoint, caller: &Caller) -> Result<(), Problem> {
    match (endpoint.access, caller) {
        (Access::Operator, Caller::Operator { .. }) => Ok(()),
        (Access::Operator, Caller::Workspace { .. }) => {
            Err(Problem::new(Kind::WrongKey, "This needs the operator's key"))
        }
        (Access::Scope(_), Caller::Operator { .. }) => {
            Err(Problem::new(Kind::WrongKey, "This needs a workspace's key; the operator's only creates those"))
        }
        (Access::Scope(scope), Caller::Workspace { scopes, .. }) => {
            if scopes.iter().any(|held| held == scope) {
                return Ok(());
            }
            Err(Problem::new(Kind::MissingScope, format!("The key lacks the scope `{scope}`")))
        }
    }
}

async fn read_body(
    endpoint: &Endpoint,
    context: &Context,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Vec<u8>, Problem> {
    let server = &context.settings.server;
    let limit = match endpoint.body {
        BodyKind::None | BodyKind::Json => server.max_body_bytes,
        BodyKind::Bulk => server.max_bulk_body_bytes,
        BodyKind::Message => REPORT_MAX_BYTES,
    };
    let bytes = body::read(payload, request.headers(), limit).await?;
    if endpoint.body != BodyKind::None || !bytes.is_empty() {
        let taken = if endpoint.body == BodyKind::Message { body::MESSAGES } else { body::JSON };
        body::check_type(request.headers(), taken)?;
    }
    Ok(bytes)
}

fn read_call(
    endpoint: &Endpoint,
    context: Arc<Context>,
    caller: Caller,
    request: &HttpRequest,
    bytes: &[u8],
) -> Result<Call, Problem> {
    let value = match endpoint.body {
        BodyKind::None if bytes.is_empty() => Value::Object(Map::new()),
        BodyKind::Message => Value::Null,
        _ => body::parse(bytes, context.settings.server.max_json_depth)?,
    };
    let mut path = HashMap::new();
    for (name, raw) in request.match_info().iter() {
        let decoded = body::decode(raw, false).ok_or_else(|| Problem::not_found("thing"))?;
        path.insert(name.to_owned(), decoded);
    }
    let call = Call {
        caller,
        // As exact as Postgres keeps it, so that what is answered now is what will be read later.
        now: Utc::now().trunc_subsecs(6),
        path,
        query: body::query(request.query_string())?,
        // What isn't even ASCII matches no revision.
        if_match: request.headers().get("If-Match").map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned()),
        body: value,
        message: if endpoint.body == BodyKind::Message { bytes.to_vec() } else { Vec::new() },
        context,
    };
    if endpoint.body == BodyKind::None {
        call.reader().finish(|| Some(()))?;
    }
    Ok(call)
}

async fn work(endpoint: &Endpoint, call: &Call, key: Option<(&str, Vec<u8>)>) -> Result<Answer, Problem> {
    match &endpoint.handler {
        Handler::Outside { handler, is_keyed } => match key.filter(|_| *is_keyed) {
            None => handler(call).await,
            Some((key, fingerprint)) => work_outside(handler(call), call, key, fingerprint).await,
        },
        Handler::InTransaction(handler) => {
            let mut transaction = call.context.store.begin().await?;
            if let Some((key, fingerprint)) = &key {
                match idempotency::look(&mut transaction, call, key, fingerprint).await? {
                    idempotency::Standing::Replay(answer) => return Ok(answer),
                    idempotency::Standing::New => {}
                }
            }
            let answer = handler(call, &mut transaction).await?;
            if let Some((key, fingerprint)) = key {
                idempotency::keep(&mut transaction, call, key, fingerprint, &answer).await?;
            }
            store::commit(transaction).await?;
            Ok(answer)
        }
    }
}

/// Work under a key without a transaction around it. When the process dies meanwhile, the key stays reserved for a while.
async fn work_outside(
    work: impl Future<Output = Result<Answer, Problem>>,
    call: &Call,
    key: &str,
    fingerprint: Vec<u8>,
) -> Result<Answer, Problem> {
    let mut transaction = call.context.store.begin().await?;
    match idempotency::look(&mut transaction, call, key, &fingerprint).await? {
        idempotency::Standing::Replay(answer) => return Ok(answer),
        idempotency::Standing::New => {}
    }
    idempotency::reserve(&mut transaction, call, key, fingerprint.clone()).await?;
    store::commit(transaction).await?;
    let outcome = work.await;
    let mut transaction = call.context.store.begin().await?;
    match &outcome {
        Ok(answer) => idempotency::keep(&mut transaction, call, key, fingerprint, answer).await?,
        Err(_) => idempotency::release(&mut transaction, call, key).await?,
    }
    store::commit(transaction).await?;
    outcome
}

fn show(answer: Answer) -> HttpResponse {
    let mut response = HttpResponse::build(answer.status);
    for (name, value) in answer.headers {
        response.insert_header((name, value));
    }
    match (answer.body, answer.bytes) {
        (Some(body), _) => response.json(body),
        (None, Some(bytes)) => response.body(bytes),
        (None, None) => response.finish(),
    }
}
