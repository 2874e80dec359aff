//! Header lists of the original plugin interface, for the methods that ask for them (SPEC.md 4.6).

use flatbuffers::FlatBufferBuilder;

use crate::generated::limits;
use crate::generated::nylon_plugin::{
    HeaderKeyValue, HeaderKeyValueArgs, NylonHttpHeaders, NylonHttpHeadersArgs,
};
use crate::violation::Violation;

/// Encodes `headers` as a `NylonHttpHeaders` table; repeated names are kept.
pub fn encode<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    let pairs: Vec<_> = headers
        .map(|(key, value)| {
            let key = Some(fbb.create_string(key));
            let value = Some(fbb.create_string(value));
            HeaderKeyValue::create(&mut fbb, &HeaderKeyValueArgs { key, value })
        })
        .collect();
    let headers = Some(fbb.create_vector(&pairs));
    let root = NylonHttpHeaders::create(&mut fbb, &NylonHttpHeadersArgs { headers });
    fbb.finish(root, None);
    fbb.finished_data().to_vec()
}

/// Reads a `NylonHttpHeaders` table, in order.
///
/// # Errors
/// `Violation::Record` when it is not one.
pub fn decode(bytes: &[u8]) -> Result<Vec<(&str, &str)>, Violation> {
    let list = flatbuffers::root_with_opts::<NylonHttpHeaders<'_>>(&limits(bytes.len()), bytes)
        .map_err(|_| Violation::Record("headers"))?;
    Ok(list.headers().iter().map(|pair| (pair.key(), pair.value())).collect())
}
