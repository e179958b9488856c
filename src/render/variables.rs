//! What a template can print for one recipient.
//!
//! Not here: which names a template may use (`scope`), what a value can do (`value`).

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use super::{
    scope::{ATTRIBUTES, CAMPAIGN, RECIPIENT, UNSUBSCRIBE_URL},
    value::Value,
};

/// The values behind the names: the attributes', `recipient.address`, `recipient.id`, `campaign.id`, `campaign.name`,
/// `unsubscribe_url`.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    /// The recipient's attributes.
    pub attributes: &'a Map<String, Json>,
    /// The recipient's address, as it was given.
    pub recipient_address: &'a str,
    /// The recipient's id, as the API shows it.
    pub recipient_id: &'a str,
    /// The campaign's id, as the API shows it.
    pub campaign_id: &'a str,
    /// The campaign's name.
    pub campaign_name: &'a str,
    /// Where one click unsubscribes.
    pub unsubscribe_url: &'a str,
}

impl<'a> Variables<'a> {
    pub(super) fn get(&'a self, name: &str) -> Value<'a> {
        match name {
            ATTRIBUTES => Value::Fields(self.attributes),
            RECIPIENT => Value::Recipient(self),
            CAMPAIGN => Value::Campaign(self),
            UNSUBSCRIBE_URL => Value::Text(Cow::Borrowed(self.unsubscribe_url)),
            attribute => self.attributes.get(attribute).map_or(Value::Missing, Value::Json),
        }
    }

    pub(super) fn get_of_recipient(&self, name: &str) -> Value<'a> {
        match name {
            "address" => Value::Text(Cow::Borrowed(self.recipient_address)),
            "id" => Value::Text(Cow::Borrowed(self.recipient_id)),
            _ => Value::Missing,
        }
    }

    pub(super) fn get_of_campaign(&self, name: &str) -> Value<'a> {
        match name {
            "id" => Value::Text(Cow::Borrowed(self.campaign_id)),
            "name" => Value::Text(Cow::Borrowed(self.campaign_name)),
            _ => Value::Missing,
        }
    }
}
