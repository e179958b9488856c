//! What a workspace's key may do: `resource.verb`.

/// Every scope; `Scope` in the contract has the same.
pub const SCOPES: &[&str] = &[
    "lists.read",
    "lists.write",
    "recipients.read",
    "recipients.write",
    "subscriptions.read",
    "subscriptions.write",
    "templates.read",
    "templates.write",
    "sender_domains.read",
    "sender_domains.write",
    "relays.read",
    "relays.write",
    "mailboxes.read",
    "mailboxes.write",
    "inbound_webhooks.read",
    "inbound_webhooks.write",
    "campaigns.read",
    "campaigns.write",
    "campaigns.send",
    "deliveries.read",
    "reports.read",
    "reports.write",
    "suppressions.read",
    "suppressions.write",
];
