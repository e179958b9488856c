//! `POST /v1/sender-domains/{sender_domain_id}/verify`: what DNS says of a sender domain, record by record, in words.
//!
//! The DKIM records decide: to publish one is to own the domain. SPF, DMARC and the return path's MX are looked at because
//! mailbox providers ask for them, and only told. No transaction is open while DNS is waited for. Not here: asking (`network`).

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    dkim_keys::algorithm_of,
    endpoint::{BodyKind, Endpoint, LONG},
    problem::{Kind, Problem},
};
use crate::{
    domain::id::SenderDomainId,
    mail::dkim::record,
    network::{Dns, DnsError},
    store::{
        dkim_keys::{self, DkimKey},
        sender_domains::{self, SenderDomain},
    },
};

/// The routes of verification.
pub fn endpoints() -> Vec<Endpoint> {
    const PATH: &str = "/v1/sender-domains/{sender_domain_id}/verify";
    vec![Endpoint::probe(PATH, "sender_domains.write", BodyKind::None, LONG, verify)]
}

/// What was found of one record.
struct Check {
    name: &'static str,
    record: String,
    is_required: bool,
    /// Whether it is as it should be; what is so, or what is wrong.
    found: Result<String, String>,
}

impl Check {
    fn show(&self) -> Value {
        let (ok, detail) = match &self.found {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        json!({"check": self.name, "record": self.record, "required": self.is_required, "ok": ok, "detail": detail})
    }
}

async fn verify(call: &Call) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<SenderDomainId>("sender_domain_id", "sender domain")?);
    let mut connection = call.context.store.acquire().await?;
    let domain = sender_domains::find(&mut connection, workspace, id).await?;
    let domain = domain.ok_or_else(|| Problem::not_found("sender domain"))?;
    let keys = dkim_keys::of_domain(&mut connection, workspace, id).await?;
    drop(connection);
    let dns = Dns::new(&call.context.settings.network.dns_servers).map_err(|fault| {
        tracing::error!(fault, "no resolver could be set up");
        Problem::new(Kind::Internal, "DNS can't be asked")
    })?;
    let asked = futures::future::join_all(keys.iter().map(|key| look_for(&dns, &domain, key)));
    let (found, advice) = tokio::join!(asked, advise(&dns, &domain));
    let mut checks = Vec::new();
    let mut connection = call.context.store.acquire().await?;
    for (key, found) in keys.iter().zip(found) {
        // A server that fails says nothing of the record: what was seen before still counts.
        let (verified_at, said) = match found {
            Ok(Ok(())) => (Some(call.now), Ok("published".to_owned())),
            Ok(Err(fault)) => (None, Err(fault.to_string())),
            Err(error) => (key.verified_at, Err(error.to_string())),
        };
        let fault = said.as_ref().err().map(String::as_str);
        dkim_keys::note_check(&mut connection, workspace, key.id, verified_at, fault, call.now).await?;
        let record = record::name(&key.selector, &domain.domain);
        checks.push(Check { name: "dkim", record, is_required: true, found: said });
    }
    // Read again: a key may have been made or removed meanwhile.
    let domain = sender_domains::find(&mut connection, workspace, id).await?;
    let domain = domain.ok_or_else(|| Problem::not_found("sender domain"))?;
    checks.extend(advice);
    let summary = match (domain.verified_at, keys.is_empty()) {
        (Some(_), _) => "verified: DNS publishes a key of this domain",
        (None, true) => "not verified: the domain has no DKIM key yet; make or import one and publish its record",
        (None, false) => "not verified: DNS publishes none of this domain's DKIM keys",
    };
    Ok(Answer::ok(json!({
        "verified": domain.verified_at.is_some(),
        "summary": summary,
        "checks": checks.iter().map(Check::show).collect::<Vec<_>>(),
        "checked_at": call.now,
    })))
}

async fn look_for(
    dns: &Dns,
    domain: &SenderDomain,
    key: &DkimKey,
) -> Result<Result<(), record::RecordFault>, DnsError> {
    let records = dns.txt(&record::name(&key.selector, &domain.domain)).await?;
    Ok(record::check(&records, algorithm_of(key), &key.public_key))
}

/// What else providers look for. RFC 7208 (SPF, by the return path's domain), RFC 7489 (DMARC, by the From's).
async fn advise(dns: &Dns, domain: &SenderDomain) -> Vec<Check> {
    let path = &domain.return_path_domain;
    let dmarc = format!("_dmarc.{}", domain.domain);
    let (spf, policy, mx) = tokio::join!(dns.txt(path), dns.txt(&dmarc), dns.mx(path));
    let starting = |records: Vec<String>, start: &str| {
        let mut records = records.into_iter();
        records.find(|record| record.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)))
    };
    let spf = spf.map_err(|error| error.to_string()).and_then(|records| {
        starting(records, "v=spf1").ok_or_else(|| "there is no SPF record: list the relays that send for it".to_owned())
    });
    let policy = policy.map_err(|error| error.to_string()).and_then(|records| {
        starting(records, "v=DMARC1")
            .ok_or_else(|| "there is no DMARC record: `v=DMARC1; p=none` is a beginning".into())
    });
    let mx = mx.map_err(|error| error.to_string()).and_then(|records| match records.first() {
        Some((_, host)) if host != "." => Ok(format!("mail for it goes to {host}")),
        Some(_) => Err("it takes no mail (null MX), so no bounce would ever arrive".to_owned()),
        None => Err("it has no MX record, so bounces may not arrive".to_owned()),
    });
    let check = |name, record: &str, found| Check { name, record: record.to_owned(), is_required: false, found };
    vec![check("spf", path, spf), check("dmarc", &dmarc, policy), check("return_path_mx", path, mx)]
}
