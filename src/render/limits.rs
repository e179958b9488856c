//! How much a template may ask for. What is refused here is refused when the template is stored, except for the limits of one
//! rendering, which depend on a recipient's attributes.
//!
//! They exist because a template is a program that strangers write: 42 bytes of recursive partials end a process that runs
//! them, and a few nested loops run for days.

/// Most bytes of a subject's template.
pub const SUBJECT_MAX_BYTES: usize = 2_000;
/// Most bytes of an HTML or text template. (Gmail cuts off what it shows behind 102 KB.)
pub const BODY_MAX_BYTES: usize = 512 * 1024;
/// Most tags (`{{…}}`) of one template.
pub const TAGS_MAX: usize = 2_000;
/// Most bytes of one tag.
pub const TAG_MAX_BYTES: usize = 1_000;
/// Most brackets of any kind that one tag may open.
pub const TAG_MAX_BRACKETS: usize = 16;
/// How deep blocks may stand in each other; each `else if` counts as one.
pub const BLOCKS_MAX_DEPTH: usize = 48;
/// Most bytes that one part may render to for one recipient.
pub const OUTPUT_MAX_BYTES: usize = 1024 * 1024;
/// Most steps (spans, values, turns of a loop) that one part may take for one recipient: some milliseconds.
pub const STEPS_MAX: u32 = 50_000;
