//! Content becomes messages: templates in Handlebars are checked when they are stored, compiled once per campaign, and
//! rendered for each recipient inside hard limits.
//!
//! What a template can print: the recipient's attributes by their names (`first_name`, also `attributes.first_name`),
//! `recipient.address`, `recipient.id`, `campaign.name`, `campaign.id`, `unsubscribe_url`. What it can do: `{{#if}}`, `{{#unless}}`, `{{#each}}`, `{{#with}}`,
//! `{{else}}`, and the helpers `default`, `url_encode`, `lookup`, `len`, `eq`, `ne`, `lt`, `lte`, `gt`, `gte`, `and`, `or`,
//! `not`. There are no partials and no decorators. Printing what is missing is an error of that recipient; `{{default x "…"}}`
//! and `{{#if x}}` are the ways around it. In HTML values are escaped, `{{{x}}}` excepted; nothing is escaped in subjects and
//! text.
//!
//! Not here: storing templates (`store`), sending messages (`smtp`, `relay`, `dispatch`), answering clicks (`track`).

mod compose;
mod content;
mod entity;
mod evaluate;
mod expression;
mod fault;
mod html;
mod lex;
pub mod limits;
mod link;
mod markup;
mod node;
pub mod page;
mod parse;
mod piece;
mod plain_text;
mod preview;
mod scope;
mod sink;
mod url;
mod value;
mod variables;

pub use compose::{Campaign, CampaignContent, Composed, Recipient};
pub use content::{Content, Summary, check};
pub use fault::{Fault, Part, Position, Reason, RenderError};
pub use link::{ClickTracking, LinkTarget};
pub use preview::{Preview, PreviewError, preview};
pub use variables::Variables;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)]
mod tests;
