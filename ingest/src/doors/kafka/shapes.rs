//! The requests that are served, their versions, and what each looks like.
//!
//! Promise: one table for what is said (ApiVersions), what is held against its bytes and what is answered.
//! Versions end where lengths become varints, except of what clients ask first, and of InitProducerId, whose
//! later ones let a producer go on after a failure.

use super::shape::Field::{Bytes, Each, Fixed, Many, Text};
use super::shape::{Part, Shape, between, part, since};
use kafka_protocol::messages::ApiKey;

/// No version served is.
const NEVER: i16 = i16::MAX;

const fn shape(key: ApiKey, said: (i16, i16), parts: &'static [Part]) -> Shape {
    Shape { key: key as i16, said, min: said.0, flexible: NEVER, parts }
}

/// Topics by name with partitions of these parts.
macro_rules! topics {
    ($($part:expr),* $(,)?) => {
        part(Many(&[part(Text), part(Many(&[$($part),*]))]))
    };
}

/// Every request that is answered.
pub(super) static SHAPES: &[Shape] = &[
    // librdkafka compresses only for brokers that say they take version 0; nobody sends it.
    Shape {
        min: 3,
        ..shape(
            ApiKey::Produce,
            (0, 8),
            &[part(Text), part(Fixed(6)), topics!(part(Fixed(4)), part(Bytes))],
        )
    },
    shape(
        ApiKey::Fetch,
        (4, 11),
        &[
            part(Fixed(17)),
            since(7, Fixed(8)),
            topics!(
                part(Fixed(4)),
                since(9, Fixed(4)),
                part(Fixed(8)),
                since(5, Fixed(8)),
                part(Fixed(4)),
            ),
            since(7, Many(&[part(Text), part(Each(&Fixed(4)))])),
            since(11, Text),
        ],
    ),
    shape(
        ApiKey::ListOffsets,
        (1, 5),
        &[
            part(Fixed(4)),
            since(2, Fixed(1)),
            topics!(part(Fixed(4)), since(4, Fixed(4)), part(Fixed(8))),
        ],
    ),
    shape(
        ApiKey::Metadata,
        (0, 8),
        &[part(Many(&[part(Text)])), since(4, Fixed(1)), since(8, Fixed(2))],
    ),
    shape(
        ApiKey::OffsetCommit,
        (2, 7),
        &[
            part(Text),
            part(Fixed(4)),
            part(Text),
            since(7, Text),
            between(2, 4, Fixed(8)),
            topics!(part(Fixed(4)), part(Fixed(8)), since(6, Fixed(4)), part(Text)),
        ],
    ),
    shape(
        ApiKey::OffsetFetch,
        (1, 5),
        &[part(Text), part(Many(&[part(Text), part(Each(&Fixed(4)))]))],
    ),
    shape(ApiKey::FindCoordinator, (0, 2), &[part(Text), since(1, Fixed(1))]),
    shape(
        ApiKey::JoinGroup,
        (0, 5),
        &[
            part(Text),
            part(Fixed(4)),
            since(1, Fixed(4)),
            part(Text),
            since(5, Text),
            part(Text),
            part(Many(&[part(Text), part(Bytes)])),
        ],
    ),
    shape(ApiKey::Heartbeat, (0, 3), &[part(Text), part(Fixed(4)), part(Text), since(3, Text)]),
    shape(
        ApiKey::LeaveGroup,
        (0, 3),
        &[part(Text), between(0, 2, Text), since(3, Many(&[part(Text), part(Text)]))],
    ),
    shape(
        ApiKey::SyncGroup,
        (0, 3),
        &[
            part(Text),
            part(Fixed(4)),
            part(Text),
            since(3, Text),
            part(Many(&[part(Text), part(Bytes)])),
        ],
    ),
    shape(ApiKey::DescribeGroups, (0, 4), &[part(Each(&Text)), since(3, Fixed(1))]),
    shape(ApiKey::ListGroups, (0, 2), &[]),
    Shape { flexible: 3, ..shape(ApiKey::ApiVersions, (0, 3), &[since(3, Text), since(3, Text)]) },
    shape(ApiKey::SaslHandshake, (0, 1), &[part(Text)]),
    shape(
        ApiKey::CreateTopics,
        (2, 4),
        &[
            part(Many(&[
                part(Text),
                part(Fixed(6)),
                part(Many(&[part(Fixed(4)), part(Each(&Fixed(4)))])),
                part(Many(&[part(Text), part(Text)])),
            ])),
            part(Fixed(5)),
        ],
    ),
    Shape {
        flexible: 2,
        ..shape(ApiKey::InitProducerId, (0, 4), &[part(Text), part(Fixed(4)), since(3, Fixed(10))])
    },
    shape(
        ApiKey::DescribeConfigs,
        (1, 3),
        &[
            part(Many(&[part(Fixed(1)), part(Text), part(Many(&[part(Text)]))])),
            part(Fixed(1)),
            since(3, Fixed(1)),
        ],
    ),
    shape(ApiKey::DeleteGroups, (0, 1), &[part(Each(&Text))]),
];

/// What a request with this number looks like, if it is served.
pub(super) fn shape_of(key: i16) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.key == key)
}
