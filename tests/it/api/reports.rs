//! Reports: found by what they say, shown with their header, downloaded, read anew; and reading a message by hand.

use chrono::Utc;
use postrider::{
    domain::id::{MailboxId, ReportId},
    store::reports::{self, Found, Place, Recorded},
};
use serde_json::{Value, json};

use crate::support::app::TestApp;

const BOUNCE: &str = "Subject: Undelivered\r\nTo: <b@bounces.test>\r\n\
     Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
     --b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
     Reporting-MTA: dns; mx.x.test\r\n\r\n\
     Final-Recipient: rfc822; gone@x.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\
     Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n--b--\r\n";

/// A mailbox in which these were found: raw text, or the reason why it was set aside unfetched.
async fn found(app: &TestApp, messages: &[Result<&str, &str>]) -> (MailboxId, Vec<ReportId>) {
    let body = json!({
        "name": "Bounces", "host": "127.0.0.1", "port": 1143, "tls": "none", "username": "bounces", "password": "secret",
    });
    let mailbox: MailboxId = app.client.post("/v1/mailboxes", body).await.expect(201).text("/id").parse().unwrap();
    let all = messages.iter().zip(1..).map(|(message, uid)| Found {
        uid,
        sha256: [uid as u8; 32],
        size_bytes: 100,
        raw: message.ok().map(Into::into),
        quarantined: message.err().map(str::to_owned),
    });
    let mut connection = app.store.acquire().await.unwrap();
    let folders = ["imap://x/INBOX".to_owned()];
    let place = Place { mailbox, folder: "imap://x/INBOX", folders: &folders, uidvalidity: 1 };
    reports::insert(&mut connection, app.workspace, place, all.collect(), Utc::now()).await.unwrap();
    let ids = sqlx::query_scalar("select id from reports order by uid").fetch_all(app.database.pool()).await.unwrap();
    (mailbox, ids.into_iter().map(ReportId).collect())
}

async fn record(app: &TestApp, report: ReportId, kind: &str, class: Option<&str>) {
    let view = json!({"kind": kind, "recipients": []});
    let recorded = Recorded { report, kind, inspection: &view, class, delivery: None };
    let mut connection = app.store.acquire().await.unwrap();
    assert_eq!(reports::record_all(&mut connection, app.workspace, &[recorded], Utc::now()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn reports_are_found_by_what_they_say_and_by_nobody_else() {
    let app = TestApp::start().await;
    let (mailbox, ids) = found(&app, &[Ok("Subject: a\r\n\r\n"), Ok("Subject: b\r\n\r\n"), Err("too large")]).await;
    record(&app, ids[0], "dsn", Some("mailbox_full")).await;
    for (query, expected) in [
        ("", vec![2, 1, 0]),
        ("sort=created_at", vec![0, 1, 2]),
        ("state=quarantined", vec![2]),
        ("kind=dsn", vec![0]),
        ("class=mailbox_full", vec![0]),
        ("class=no_such_user", vec![]),
        ("attributed=true", vec![]),
        ("attributed=false&state=recorded", vec![0]),
        (&format!("mailbox_id={mailbox}&state=fetched"), vec![1]),
        ("fetched_before=2020-01-01T00:00:00Z", vec![]),
        ("fetched_from=2020-01-01T00:00:00Z&kind=dsn", vec![0]),
    ] {
        let page = app.client.get(&format!("/v1/reports?{query}")).await.expect(200);
        let got: Vec<_> = page.body["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        let expected: Vec<_> = expected.into_iter().map(|place: usize| json!(ids[place])).collect();
        assert_eq!(got, expected, "{query}");
    }
    let first = app.client.get("/v1/reports?limit=2").await.expect(200);
    let rest = app.client.get(&format!("/v1/reports?limit=2&cursor={}", first.text("/next_cursor"))).await.expect(200);
    assert_eq!((rest.text("/items/0/id"), &rest.body["next_cursor"]), (ids[0].to_string(), &Value::Null));
    let wrong = app.client.get("/v1/reports?kind=x&class=x&attributed=x&state=x&mailbox_id=x&fetched_from=x").await;
    assert_eq!(wrong.expect(422).faults().len(), 6);
    let stranger = app.stranger().await;
    assert_eq!(stranger.get("/v1/reports").await.expect(200).body["items"], json!([]));
    for path in ["", "/raw"] {
        stranger.get(&format!("/v1/reports/{}{path}", ids[0])).await.expect(404);
    }
    stranger.act(&format!("/v1/reports/{}/reprocess", ids[0])).await.expect(404);
}

#[tokio::test]
async fn a_report_is_shown_with_its_header_and_its_text_is_a_download_that_no_browser_renders() {
    let app = TestApp::start().await;
    let (_, ids) =
        found(&app, &[Ok("Subject: <script>\r\n a\r\nX-B: c\r\n\r\nbody"), Err("larger than allowed")]).await;
    let shown = app.client.get(&format!("/v1/reports/{}", ids[0])).await.expect(200);
    let headers = json!([{"name": "Subject", "value": "<script> a"}, {"name": "X-B", "value": "c"}]);
    assert_eq!((&shown.body["headers"], &shown.body["has_raw"]), (&headers, &json!(true)));
    let raw = app.client.get(&format!("/v1/reports/{}/raw", ids[0])).await.expect(200);
    assert_eq!(raw.header("content-type"), "application/octet-stream");
    assert_eq!(raw.header("content-disposition"), format!("attachment; filename=\"{}.eml\"", ids[0]));
    assert_eq!((raw.header("x-content-type-options"), raw.header("content-length")), ("nosniff", "37"));
    let unfetched = app.client.get(&format!("/v1/reports/{}", ids[1])).await.expect(200);
    assert_eq!(
        (unfetched.text("/state_reason").as_str(), &unfetched.body["has_raw"]),
        ("larger than allowed", &json!(false))
    );
    app.client.get(&format!("/v1/reports/{}/raw", ids[1])).await.expect(404);
    app.client.act(&format!("/v1/reports/{}/reprocess", ids[1])).await.expect(409);
}

#[tokio::test]
async fn a_report_that_is_to_be_read_anew_waits_for_its_reader_which_is_told() {
    let app = TestApp::start().await;
    let (_, ids) = found(&app, &[Ok(BOUNCE)]).await;
    record(&app, ids[0], "other", None).await;
    sqlx::query("update mailboxes set next_read_at = now() + interval '1 day'")
        .execute(app.database.pool())
        .await
        .unwrap();
    for _ in 0..2 {
        let again = app.client.act(&format!("/v1/reports/{}/reprocess", ids[0])).await.expect(200);
        assert_eq!((again.text("/state"), &again.body["recorded_at"]), ("fetched".into(), &Value::Null));
    }
    let is_wanted: bool =
        sqlx::query_scalar("select next_read_at is null from mailboxes").fetch_one(app.database.pool()).await.unwrap();
    assert!(is_wanted);
}

#[tokio::test]
async fn a_message_is_read_by_hand_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let inspect = async |kind: &str, body: Vec<u8>| {
        app.client.send_raw("POST", "/v1/reports/inspect", &[("content-type", kind)], body).await
    };
    for kind in ["message/rfc822", "text/plain; charset=utf-8", "application/octet-stream"] {
        let read = inspect(kind, BOUNCE.into()).await.expect(200);
        let recipient = json!({
            "address": "gone@x.test", "action": "failed", "status": "5.1.1", "class": "no_such_user", "severity": "hard",
            "diagnostic": "550 5.1.1 User unknown",
        });
        assert_eq!(read.body, json!({"kind": "dsn", "recipients": [recipient]}));
    }
    assert_eq!(inspect("message/rfc822", Vec::new()).await.expect(200).text("/kind"), "other");
    assert_eq!(inspect("message/rfc822", vec![0xff; 10_000]).await.expect(200).text("/kind"), "other");
    inspect("application/json", b"{}".to_vec()).await.expect(415);
    inspect("message/rfc822", vec![b'x'; 5_000_001]).await.expect(413);
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(100);
    assert_eq!(inspect("message/rfc822", nested.into()).await.expect(422).faults(), [("", "too_large")]);
    assert_eq!(app.client.get("/v1/reports").await.expect(200).body["items"], json!([]));
}
