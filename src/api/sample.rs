//! For whom something is rendered when no delivery stands behind it: a recipient, or nobody in particular, with values.

use serde_json::{Map, Value};

use super::{attributes, call::Call, problem::Problem, reader::Reader};
use crate::{
    domain::id::RecipientId,
    store::{Connection, recipients},
};

/// What stands for the address where no recipient is named.
const NOBODY: &str = "recipient@example.org";

/// Whom to render for.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The recipient; a made-up id where none was named.
    pub recipient: RecipientId,
    /// Its address as it was given.
    pub address: String,
    /// Its attributes, those of the body over them.
    pub attributes: Map<String, Value>,
}

/// Read `recipient_id` and `attributes` off a body. A key that may not read recipients can't name one.
pub async fn read(call: &Call, connection: &mut Connection, reader: &Reader<'_>) -> Result<Option<Sample>, Problem> {
    let id = reader.keep_or_set("recipient_id", reader.id::<RecipientId>("recipient_id"));
    let given = attributes::read(reader);
    let mut sample = Sample { recipient: RecipientId::new(), address: NOBODY.to_owned(), attributes: Map::new() };
    if let Some(id) = id {
        call.need_scope("recipients.read")?;
        match recipients::find(connection, call.workspace()?, id).await? {
            Some(found) => {
                sample.recipient = id;
                sample.address = found.address;
                sample.attributes = found.attributes.as_object().cloned().unwrap_or_default();
            }
            None => reader.note("recipient_id", "not_found", "there is no such recipient"),
        }
    }
    let Some(given) = given else { return Ok(None) };
    match attributes::merge(&Value::Object(sample.attributes), &given) {
        Some(Value::Object(merged)) => Ok(Some(Sample { attributes: merged, ..sample })),
        _ => {
            reader.note("attributes", "too_large", attributes::TOO_MANY);
            Ok(None)
        }
    }
}
