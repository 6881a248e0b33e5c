//! What was published to a topic: a reading, an array of them, or a CloudEvent of the MQTT binding.
//!
//! Promise: the topic it was published to, where it was to one, is the topic path, whatever the payload says;
//! one message is judged by itself, many share their columns. Elsewhere: packets are the door's.

use super::body::{Walked, essence, walk};
use super::envelope::Envelope;
use super::event::{build, check_data_type, parse, published_or};
use super::json::{Decoder, scan_reason};
use super::scan::ScanError;
use super::shape::Shape;
use crate::model::{AppendTime, Limits, RefusalReason, check_topic};
use std::borrow::Cow;

/// Begins the content types of structured events.
const STRUCTURED: &str = "application/cloudevents";

/// One message. `attribute` gives a user property by its name.
#[derive(Debug, Clone, Copy)]
pub struct Published<'m, A> {
    /// Where it was published, if that is said beside it; else it says so itself.
    pub topic: Option<&'m str>,
    /// What.
    pub payload: &'m [u8],
    /// Its content type, if it has one.
    pub content_type: Option<&'m str>,
    /// Its user properties.
    pub attribute: A,
}

impl Decoder<'_> {
    /// One message; `index` is its position among those decoded together, which all of its rows have.
    /// Never fails: what is bad becomes a [`crate::model::Refusal`].
    pub fn push_published<'m>(
        &mut self,
        message: &Published<'m, impl Fn(&str) -> Option<&'m str>>,
        index: u32,
        now: AppendTime,
    ) {
        if let Err(reason) = self.take_published(message, index, now) {
            self.refuse(index, reason, message.payload);
        }
    }

    fn take_published<'m>(
        &mut self,
        message: &Published<'m, impl Fn(&str) -> Option<&'m str>>,
        index: u32,
        now: AppendTime,
    ) -> Result<(), RefusalReason> {
        let topic = message.topic;
        topic.map_or(Ok(()), check_topic)?;
        let text = std::str::from_utf8(message.payload)
            .map_err(|error| RefusalReason::Utf8(error.valid_up_to()))?;
        let content_type = message.content_type.map(essence);
        if content_type.as_deref().is_some_and(|t| t.starts_with(STRUCTURED)) {
            return self.take_structured(topic, text, index, now);
        }
        if (message.attribute)("specversion").is_some() {
            check_data_type(content_type.as_deref().unwrap_or_default())?;
            let attribute = |name: &str| {
                let said = || Ok((message.attribute)(name).map(Cow::Borrowed));
                published_or(topic, name, said)
            };
            let event = build(attribute, data_of(message.payload))?;
            return self.take_event(&event, index, now);
        }
        match topic {
            Some(topic) if text.trim_start().starts_with('[') => {
                self.take_array(topic, text, index, now)
            }
            Some(topic) => self.take_whole(text, Envelope::Published { topic }, index, now),
            None => self.take_whole(text, Envelope::Reading, index, now),
        }
    }

    fn take_structured(
        &mut self,
        topic: Option<&str>,
        text: &str,
        index: u32,
        now: AppendTime,
    ) -> Result<(), RefusalReason> {
        let (mut shape, mut values) = (Shape::default(), Vec::new());
        let start = text.len() - text.trim_start().len();
        if text[start..].starts_with('[') {
            let what = "one event in a message; send each by itself";
            return Err(RefusalReason::Event(what.to_owned()));
        }
        let (end, event) = parse(text, start, &mut shape, &mut values, topic)
            .map_err(|error| scan_reason(&error))?;
        if !text[end..].trim().is_empty() {
            let what = "something follows the event";
            return Err(scan_reason(&ScanError::Syntax { at: end, what }));
        }
        self.take_event(&event?, index, now)
    }

    /// Judged one by one, but not at all where the array breaks off.
    fn take_array(
        &mut self,
        topic: &str,
        text: &str,
        index: u32,
        now: AppendTime,
    ) -> Result<(), RefusalReason> {
        if text.len() > Limits::ROW_BYTES_MAX {
            let (bytes, limit) = (text.len(), Limits::ROW_BYTES_MAX);
            return Err(RefusalReason::TooLarge { bytes, limit });
        }
        let whole = walk(text, |at| self.pass_over(text, at).map(Some));
        whole.map_err(|error| scan_reason(&error))?;
        let envelope = Envelope::Published { topic };
        match walk(text, |at| self.take_element(text, at, envelope, index, now).map(Some)) {
            Ok(Walked::Whole | Walked::Stopped) => Ok(()),
            Err(error) => Err(scan_reason(&error)),
        }
    }
}

/// No data are an event without fields.
fn data_of(payload: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(if payload.trim_ascii().is_empty() { b"{}" } else { payload })
}

#[cfg(test)]
mod tests;
