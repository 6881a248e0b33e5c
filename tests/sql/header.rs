//! What a case says about itself.

use std::collections::BTreeMap;

const WORDS: [&str; 4] = ["holds", "defends", "ways", "because"];
const PROMISES: [&str; 11] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11"];
const INVARIANTS: [&str; 18] = [
    "L1", "L2", "L3", "L4", "L5", "D1", "D2", "D3", "S1", "S2", "S3", "S4", "S5", "A1", "A2", "A3",
    "Q1", "Q2",
];

/// The ways a case is run, beside straight and with restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ways {
    /// With 1 and with 4 partitions the same comes out.
    pub(crate) partitions: Applies,
    /// In another order within the lateness the same comes out.
    pub(crate) shuffle: Applies,
}

/// Whether a way applies to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applies {
    Yes,
    No,
}

/// The fields of a header.
#[derive(Debug)]
pub(crate) struct Header {
    ways: Ways,
}

impl Header {
    /// Reads the lines that begin with `#`.
    /// # Errors
    /// A word that is not known, one that is missing, or one that does not go with the others.
    pub(crate) fn parse(lines: &[&str]) -> Result<Self, String> {
        let fields = fields(lines)?;
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        for name in ["holds", "defends", "ways"] {
            if field(name).is_empty() {
                return Err(format!("the header has no '# {name}:'"));
            }
        }
        for id in field("defends").split(',').map(str::trim) {
            if !PROMISES.contains(&id) && !INVARIANTS.contains(&id) {
                return Err(format!("'{id}' in '# defends:' is no promise and no invariant"));
            }
        }
        let ways = ways(field("ways"))?;
        let all = ways.partitions == Applies::Yes && ways.shuffle == Applies::Yes;
        match (all, field("because").is_empty()) {
            (false, true) => Err("'# ways:' leaves out partitions or shuffle; say why in \
                                  '# because:'"
                .to_owned()),
            (true, false) => Err("'# because:' says why a way is left out; none is".to_owned()),
            _ => Ok(Self { ways }),
        }
    }

    /// The ways.
    pub(crate) fn ways(&self) -> Ways {
        self.ways
    }
}

fn ways(text: &str) -> Result<Ways, String> {
    let named: Vec<&str> = text.split(',').map(str::trim).collect();
    for way in &named {
        if !["straight", "restart", "partitions", "shuffle"].contains(way) {
            return Err(format!(
                "'{way}' in '# ways:' is not known; there are straight, restart, partitions, shuffle"
            ));
        }
    }
    if !named.contains(&"straight") || !named.contains(&"restart") {
        return Err("'# ways:' names straight and restart in every case".to_owned());
    }
    let applies = |way| if named.contains(&way) { Applies::Yes } else { Applies::No };
    Ok(Ways { partitions: applies("partitions"), shuffle: applies("shuffle") })
}

/// `# word: text`; a line whose text stands three blanks in goes on with the field above.
fn fields(lines: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in lines {
        let text = &line[1..];
        if text.starts_with("   ") {
            let field = current.as_ref().and_then(|name| fields.get_mut(name));
            let field = field.ok_or("the header starts with '# holds:'")?;
            *field = format!("{field} {}", text.trim());
            continue;
        }
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let word = word.trim();
        if !WORDS.contains(&word) {
            return Err(format!(
                "'# {word}' is not known in a header; there are {}",
                WORDS.join(", ")
            ));
        }
        if fields.insert(word.to_owned(), rest.trim().to_owned()).is_some() {
            return Err(format!("'# {word}:' stands twice"));
        }
        current = Some(word.to_owned());
    }
    Ok(fields)
}
