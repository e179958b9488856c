//! Genuine events of each service, in the shape in which it sends them.

use chrono::Utc;
use serde_json::json;

use super::scene::{
    JSON, PASSWORD, SNS, Scene, TOPIC, mailgun, mailgun_failed, notification, postmark, postmark_header,
    sendgrid_event, ses, ses_bounce,
};

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(address, reason)| ((*address).to_owned(), (*reason).to_owned())).collect()
}

#[tokio::test]
async fn events_of_amazon_ses_do_what_a_report_does_in_either_version_of_the_signature() {
    let scene = Scene::new().await;
    let path = scene.webhook("amazon_ses").await;
    let (gone, angry, full) =
        (scene.sent("gone@a.org").await, scene.sent("angry@a.org").await, scene.sent("full@a.org").await);
    let complaint = json!({"eventType": "Complaint", "complaint": {
        "complainedRecipients": [{"emailAddress": "angry@a.org"}], "complaintFeedbackType": "abuse",
        "feedbackId": "1", "userAgent": "Yahoo!-Mail-Feedback/2.0", "arrivalDate": "2026-11-24T08:00:00.000Z"}});
    let mut soft = ses_bounce("full@a.org");
    soft["bounce"]["bounceType"] = "Transient".into();
    soft["bounce"]["bouncedRecipients"][0]["status"] = "5.2.2".into();
    soft["bounce"]["bouncedRecipients"][0]["diagnosticCode"] = "smtp; 552 5.2.2 mailbox full".into();
    for (sent, id, about, version) in
        [(&gone, "m-1", &ses_bounce("gone@a.org"), "1"), (&angry, "m-2", &complaint, "2"), (&full, "m-3", &soft, "2")]
    {
        let message = scene.sns(ses(sent, id, about, Utc::now()), version);
        scene.post_sns(&path, &message).await.expect(200);
        scene.post_sns(&path, &message).await.expect(200);
    }
    let delivered = json!({"notificationType": "Delivery", "delivery": {"recipients": ["gone@a.org"]}});
    scene.post_sns(&path, &scene.sns(ses(&gone, "m-4", &delivered, Utc::now()), "2")).await.expect(200);
    let hello = notification("m-5", "Successfully validated SNS topic for Amazon SES event publishing.", Utc::now());
    scene.post_sns(&path, &scene.sns(hello, "2")).await.expect(200);
    assert_eq!(scene.n_kept().await, 3, "what tells of nothing is not kept, and nothing twice");
    assert_eq!(scene.read().await, 3);
    assert_eq!(
        [scene.state(&gone).await, scene.state(&angry).await, scene.state(&full).await],
        ["bounced", "accepted", "bounced"]
    );
    assert_eq!(scene.suppressed().await, pairs(&[("angry@a.org", "complaint"), ("gone@a.org", "hard_bounce")]));
    assert_eq!(scene.sns.asked().len(), 1, "the certificate is fetched once");
}

#[tokio::test]
async fn what_ses_did_not_send_ends_the_delivery_and_what_cannot_be_read_is_listed() {
    let scene = Scene::new().await;
    let path = scene.webhook("amazon_ses").await;
    let (virus, nobody, odd) =
        (scene.sent("virus@a.org").await, scene.sent("no@a.org").await, scene.sent("odd@a.org").await);
    let reject = json!({"eventType": "Reject", "reject": {"reason": "Bad content"}});
    let silent = json!({"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "NoEmail"}});
    let unreadable =
        json!({"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bouncedRecipients": "odd@a.org"}});
    for (sent, id, about) in [(&virus, "m-1", &reject), (&nobody, "m-2", &silent), (&odd, "m-3", &unreadable)] {
        scene.post_sns(&path, &scene.sns(ses(sent, id, about, Utc::now()), "2")).await.expect(200);
    }
    assert_eq!(scene.read().await, 3);
    assert_eq!(
        [scene.state(&virus).await, scene.state(&nobody).await, scene.state(&odd).await],
        ["bounced", "bounced", "accepted"]
    );
    assert_eq!(scene.suppressed().await, pairs(&[("no@a.org", "hard_bounce")]));
    let reason: String = sqlx::query_scalar("select reason from deliveries where id = $1")
        .bind(virus.id.0)
        .fetch_one(scene.app.database.pool())
        .await
        .unwrap();
    assert_eq!(reason, "content");
    let listed = scene.app.client.get("/v1/reports?attributed=false").await.expect(200);
    assert_eq!((listed.body["items"].as_array().unwrap().len(), listed.text("/items/0/kind")), (1, "other".into()));
}

#[tokio::test]
async fn a_forwarded_address_in_a_bounce_of_ses_does_not_hide_who_was_mailed() {
    let scene = Scene::new().await;
    let path = scene.webhook("amazon_ses").await;
    let sent = scene.sent("moved@a.org").await;
    let message = scene.sns(ses(&sent, "m-1", &ses_bounce("elsewhere@b.org"), Utc::now()), "2");
    scene.post_sns(&path, &message).await.expect(200);
    scene.read().await;
    assert_eq!(scene.suppressed().await, pairs(&[("moved@a.org", "hard_bounce")]));
}

#[tokio::test]
async fn a_subscription_is_confirmed_and_its_end_is_seen() {
    let scene = Scene::new().await;
    let path = scene.webhook("amazon_ses").await;
    let confirmation = |kind: &str, url: String| {
        scene.sns(
            json!({
                "Type": kind, "MessageId": "165545c9", "Token": "2336412f37f", "TopicArn": TOPIC,
                "Message": "You have chosen to subscribe to the topic.", "SubscribeURL": url,
                "Timestamp": Utc::now().to_rfc3339(), "SigningCertURL": super::scene::CERTIFICATE,
            }),
            "1",
        )
    };
    let genuine = format!("https://{SNS}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37f");
    for url in [genuine.replace(SNS, "evil.test"), genuine.replace("ConfirmSubscription", "Publish")] {
        scene.post_sns(&path, &confirmation("SubscriptionConfirmation", url)).await.expect(401);
    }
    let shown = async || scene.app.client.get("/v1/inbound-webhooks").await.expect(200).body["items"][0].clone();
    assert!(shown().await["subscribed_at"].is_null());
    scene.post_sns(&path, &confirmation("SubscriptionConfirmation", genuine.clone())).await.expect(200);
    assert!(shown().await["subscribed_at"].is_string());
    let confirmed = scene.sns.asked().into_iter().filter(|asked| asked.target.contains("Action=")).count();
    assert_eq!(confirmed, 1);
    scene.post_sns(&path, &confirmation("UnsubscribeConfirmation", genuine)).await.expect(200);
    assert!(shown().await["subscribed_at"].is_null());
}

#[tokio::test]
async fn events_of_sendgrid_do_what_a_report_does_many_at_a_time() {
    let scene = Scene::new().await;
    let path = scene.webhook("sendgrid").await;
    let (gone, angry, left) =
        (scene.sent("gone@a.org").await, scene.sent("angry@a.org").await, scene.sent("left@a.org").await);
    let (listed, quiet) = (scene.sent("listed@a.org").await, scene.sent("quiet@a.org").await);
    let mut bounce = sendgrid_event(&gone, "bounce", "e-1");
    bounce["reason"] = "550 5.1.1 The email account that you tried to reach does not exist".into();
    bounce["status"] = "5.1.1".into();
    bounce["type"] = "bounce".into();
    let mut by_argument = sendgrid_event(&angry, "spamreport", "e-2");
    by_argument["smtp-id"] = "<14c5d75ce93.dfd.64b469@ismtpd-555>".into();
    by_argument["postrider-delivery"] = angry.signed.clone().into();
    let mut dropped = sendgrid_event(&listed, "dropped", "e-4");
    dropped["reason"] = "Unsubscribed Address".into();
    let events = json!([
        bounce, by_argument, sendgrid_event(&left, "unsubscribe", "e-3"), dropped,
        sendgrid_event(&quiet, "delivered", "e-5"), sendgrid_event(&quiet, "open", "e-6"),
        sendgrid_event(&quiet, "deferred", "e-7"), {"event": "something new", "sg_event_id": "e-8"},
    ]);
    scene.post_sendgrid(&path, &events).await.expect(200);
    scene.post_sendgrid(&path, &events).await.expect(200);
    assert_eq!((scene.n_kept().await, scene.read().await, scene.read().await), (4, 4, 0));
    let reasons = [
        ("angry@a.org", "complaint"),
        ("gone@a.org", "hard_bounce"),
        ("left@a.org", "unsubscribe"),
        ("listed@a.org", "unsubscribe"),
    ];
    assert_eq!(scene.suppressed().await, pairs(&reasons));
    assert_eq!((scene.state(&gone).await, scene.state(&quiet).await), ("bounced".into(), "accepted".into()));
    let counted: Vec<(String, i64)> = sqlx::query_as(
        "select kind, count(*) from events where kind <> 'recipient.created' group by kind order by kind",
    )
    .fetch_all(scene.app.database.pool())
    .await
    .unwrap();
    let kinds = ["delivery.bounced", "recipient.complained", "recipient.unsubscribed"];
    assert_eq!(counted, kinds.map(str::to_owned).into_iter().zip([1, 1, 2]).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_left_a_list_by_our_link_and_then_everything_at_the_service_is_suppressed() {
    let scene = Scene::new().await;
    let path = scene.webhook("sendgrid").await;
    let left = scene.sent("left@a.org").await;
    // What our own link leaves behind when it ended one list only.
    let sql = "insert into opt_outs (workspace_id, campaign_id, recipient_id, kind, created_at)
               select workspace_id, campaign_id, recipient_id, 'unsubscribe', now() from deliveries where id = $1";
    sqlx::query(sql).bind(left.id.0).execute(scene.app.database.pool()).await.unwrap();
    for id in ["e-1", "e-2"] {
        scene.post_sendgrid(&path, &json!([sendgrid_event(&left, "unsubscribe", id)])).await.expect(200);
        assert_eq!(scene.read().await, 1);
    }
    assert_eq!(scene.suppressed().await, pairs(&[("left@a.org", "unsubscribe")]));
    let n: i64 = sqlx::query_scalar("select count(*) from events where kind = 'recipient.unsubscribed'")
        .fetch_one(scene.app.database.pool())
        .await
        .unwrap();
    assert_eq!(n, 1, "told once");
}

#[tokio::test]
async fn events_of_mailgun_do_what_a_report_does_and_a_delay_does_nothing() {
    let scene = Scene::new().await;
    let path = scene.webhook("mailgun").await;
    let (gone, angry, left, slow) = (
        scene.sent("gone@a.org").await,
        scene.sent("angry@a.org").await,
        scene.sent("left@a.org").await,
        scene.sent("slow@a.org").await,
    );
    let mut delayed = mailgun_failed("e-4");
    delayed["severity"] = "temporary".into();
    for (sent, token, data) in [
        (&gone, "t1", mailgun_failed("e-1")),
        (&angry, "t2", json!({"id": "e-2", "event": "complained"})),
        (&left, "t3", json!({"id": "e-3", "event": "unsubscribed"})),
        (&slow, "t4", delayed),
    ] {
        scene.post(&path, &[JSON], mailgun(sent, token, &data).to_string()).await.expect(200);
    }
    assert_eq!(scene.read().await, 3);
    let reasons = [("angry@a.org", "complaint"), ("gone@a.org", "hard_bounce"), ("left@a.org", "unsubscribe")];
    assert_eq!(scene.suppressed().await, pairs(&reasons));
}

#[tokio::test]
async fn events_of_postmark_are_known_by_its_password_and_our_metadata() {
    let scene = Scene::new().await;
    let path = scene.webhook("postmark").await;
    let (gone, angry, left, dumped) = (
        scene.sent("gone@a.org").await,
        scene.sent("angry@a.org").await,
        scene.sent("left@a.org").await,
        scene.sent("dumped@a.org").await,
    );
    let mut complaint = postmark(&angry, 43, "SpamComplaint", "");
    complaint["RecordType"] = "SpamComplaint".into();
    let change = json!({
        "RecordType": "SubscriptionChange", "MessageID": "883953f4", "ServerID": 1, "MessageStream": "broadcast",
        "ChangedAt": "2026-11-24T08:00:00Z", "Recipient": "left@a.org", "Origin": "Recipient", "SuppressSending": true,
        "SuppressionReason": "ManualSuppression", "Tag": null, "Metadata": {"postrider-delivery": left.signed},
    });
    let mut by_dump = postmark(&dumped, 44, "HardBounce", "smtp;550 5.1.1 no such user");
    by_dump["Metadata"] = json!({});
    by_dump["Content"] = format!(
        "From: MAILER-DAEMON@mx.test\r\nSubject: failed\r\nContent-Type: multipart/report; report-type=delivery-status; \
         boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n\
         Final-Recipient: rfc822; dumped@a.org\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b\r\n\
         Content-Type: text/rfc822-headers\r\n\r\nX-Postrider-Delivery: {}\r\nSubject: Hello\r\n\r\n--b--\r\n",
        dumped.in_message
    )
    .into();
    let header = postmark_header();
    let headers = [JSON, ("authorization", header.as_str())];
    let bounce = postmark(&gone, 42, "HardBounce", "smtp;550 5.1.1 The email account does not exist");
    let auto = postmark(&gone, 45, "AutoResponder", "I am away");
    for body in [&bounce, &bounce, &complaint, &change, &by_dump, &auto] {
        scene.post(&path, &headers, body.to_string()).await.expect(200);
    }
    assert_eq!(scene.read().await, 4);
    let reasons = [
        ("angry@a.org", "complaint"),
        ("dumped@a.org", "hard_bounce"),
        ("gone@a.org", "hard_bounce"),
        ("left@a.org", "unsubscribe"),
    ];
    assert_eq!(scene.suppressed().await, pairs(&reasons));
    let shown = scene.app.client.get("/v1/inbound-webhooks").await.expect(200).body.to_string();
    assert!(!shown.contains(PASSWORD));
}

#[tokio::test]
async fn the_role_that_reads_mailboxes_reads_events_by_itself_and_ends_when_told() {
    let scene = Scene::new().await;
    let path = scene.webhook("mailgun").await;
    let gone = scene.sent("gone@a.org").await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let role = tokio::spawn(postrider::reports::run(scene.reader(), stopped));
    scene.post(&path, &[JSON], mailgun(&gone, "t1", &mailgun_failed("e-1")).to_string()).await.expect(200);
    while scene.state(&gone).await != "bounced" {
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    role.await.unwrap();
}

#[tokio::test]
async fn what_two_nodes_read_at_the_same_time_counts_once() {
    let scene = Scene::new().await;
    let path = scene.webhook("sendgrid").await;
    let mut events = Vec::new();
    for n in 0..40 {
        let mut event = sendgrid_event(&scene.sent(&format!("gone{n}@a.org")).await, "bounce", &format!("e-{n}"));
        event["reason"] = "550 5.1.1 no such user".into();
        events.push(event);
    }
    scene.post_sendgrid(&path, &events.into()).await.expect(200);
    tokio::join!(scene.look(), scene.look());
    scene.read().await;
    assert_eq!((scene.read().await, scene.n_kept().await), (0, 40));
    assert_eq!(scene.suppressed().await.len(), 40);
    let n: i64 = sqlx::query_scalar("select count(*) from events where kind = 'delivery.bounced'")
        .fetch_one(scene.app.database.pool())
        .await
        .unwrap();
    assert_eq!(n, 40);
}
