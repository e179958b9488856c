//! `GET /v1/campaigns/{campaign_id}/stats` and `/links`: what happened to every recipient, in numbers of one moment.

use serde_json::{Map, Value, json};

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::{MAX_LIMIT, Page},
    problem::Problem,
};
use crate::{
    domain::{delivery::DeliveryState, id::CampaignId},
    store::{
        Connection, campaigns,
        stats::{self, Link, Touches},
        transitions::{self, StateCount},
    },
};

/// The routes of statistics.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/campaigns/{campaign_id}/stats", "campaigns.read", read),
        Endpoint::get("/v1/campaigns/{campaign_id}/links", "campaigns.read", page_of_links),
    ]
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    stats::see_one_moment(connection).await?;
    let (workspace, id) = (call.workspace()?, call.id::<CampaignId>("campaign_id", "campaign")?);
    let numbers = stats::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("campaign"))?;
    let states = transitions::states(connection, workspace, id).await?;
    let classes = transitions::classes(connection, workspace, id).await?;
    let (opens, clicks) = stats::touches(connection, workspace, id).await?;
    let links = stats::links(connection, workspace, id, None, MAX_LIMIT).await?;
    let (accepted, bounced) = (n_in(&states, DeliveryState::Accepted), n_in(&states, DeliveryState::Bounced));
    let audience: i64 = states.iter().map(|count| count.n).sum();
    let states: Map<_, _> =
        states.iter().map(|count| (count.state.as_str().to_owned(), Value::from(count.n))).collect();
    Ok(Answer::ok(json!({
        "campaign_id": id,
        "state": numbers.state,
        "audience": audience,
        "audience_complete": numbers.audience_complete,
        "states": states,
        "excluded": {
            "unsubscribed": numbers.n_unsubscribed,
            "unconfirmed": numbers.n_unconfirmed,
            "excluded": numbers.n_excluded,
        },
        "opens": show_touches(opens),
        "clicks": show_touches(clicks),
        "links": links.iter().map(show_link).collect::<Vec<_>>(),
        "unsubscribes": numbers.n_unsubscribes,
        "complaints": numbers.n_complaints,
        "bounces": show_classes(&classes, DeliveryState::Bounced),
        "rejections": show_classes(&classes, DeliveryState::Rejected),
        "rates": {
            "accepted": share(accepted, audience),
            "bounced": share(bounced, accepted + bounced),
            "opened": share(opens.n_unique, accepted),
            "clicked": share(clicks.n_unique, accepted),
            "unsubscribed": share(numbers.n_unsubscribes, accepted),
            "complained": share(numbers.n_complaints, accepted),
        },
    })))
}

async fn page_of_links(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<CampaignId>("campaign_id", "campaign")?);
    campaigns::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("campaign"))?;
    let query = call.query();
    let page = Page::read(call, &query, &format!("links of {id}"));
    query.finish(|| Some(()))?;
    let rows = stats::links(connection, workspace, id, page.after(0)?, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |link| vec![link.n.to_string()], show_link)))
}

fn n_in(states: &[StateCount], state: DeliveryState) -> i64 {
    states.iter().find(|count| count.state == state).map_or(0, |count| count.n)
}

/// A share to four places; none of nothing.
fn share(part: i64, whole: i64) -> Option<f64> {
    // Beyond 2^53 a share to four places is exact all the same.
    #[allow(clippy::cast_precision_loss)]
    (whole > 0).then(|| (part as f64 * 10_000.0 / whole as f64).round() / 10_000.0)
}

fn show_touches(touches: Touches) -> Value {
    json!({"total": touches.n_total, "unique": touches.n_unique})
}

fn show_link(link: &Link) -> Value {
    json!({"n": link.n, "url": link.url_template, "clicks": show_touches(link.clicks)})
}

fn show_classes(classes: &[(DeliveryState, String, i64)], state: DeliveryState) -> Value {
    let mut by_class: Map<String, Value> = Map::new();
    let mut total = 0;
    for (_, class, n) in classes.iter().filter(|(of, ..)| *of == state) {
        // What nobody could classify.
        let class = if class.is_empty() { "other" } else { class };
        let sum = by_class.get(class).and_then(Value::as_i64).unwrap_or_default() + n;
        by_class.insert(class.to_owned(), sum.into());
        total += n;
    }
    json!({"total": total, "by_class": by_class})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_four_places_and_there_is_none_of_nothing() {
        assert_eq!(share(1100, 1200), Some(0.9167));
        assert_eq!(share(24, 1124), Some(0.0214));
        assert_eq!(share(0, 7), Some(0.0));
        assert_eq!(share(0, 0), None);
    }

    #[test]
    fn what_has_no_class_counts_as_other() {
        let classes = [
            (DeliveryState::Bounced, "no_such_user".to_owned(), 3),
            (DeliveryState::Bounced, String::new(), 2),
            (DeliveryState::Bounced, "other".to_owned(), 1),
            (DeliveryState::Rejected, "policy".to_owned(), 5),
        ];
        let shown = show_classes(&classes, DeliveryState::Bounced);
        assert_eq!(shown, json!({"total": 6, "by_class": {"no_such_user": 3, "other": 3}}));
    }
}
