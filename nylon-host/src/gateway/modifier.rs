//! The built-in middleware `RequestHeaderModifier` and `ResponseHeaderModifier`.

use crate::dispatch::is_hop_by_hop;
use crate::template::{Template, TemplateContext};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};

/// Headers to set and to remove. Values are templates, expanded once per request.
///
/// The configuration refuses headers that say how long a message is or how a connection goes on
/// (`content-length`, `transfer-encoding`, `connection` ..): the gateway frames messages by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderModifier {
    /// Headers that get this one value, in order.
    pub set: Vec<(HeaderName, Template)>,
    /// Headers that go, after all sets.
    pub remove: Vec<HeaderName>,
}

/// Whether `name` frames a message or belongs to one connection: no modifier changes it.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    name == CONTENT_LENGTH || is_hop_by_hop(name)
}

impl HeaderModifier {
    /// Applies the sets, then the removes.
    ///
    /// A value that is no legal header value (a line break or NUL out of a request, say) is not
    /// set, and what stood there goes as well: nobody downstream mistakes a client's header for
    /// the gateway's. Returns how many values were refused.
    pub fn apply(&self, headers: &mut HeaderMap, context: &dyn TemplateContext) -> usize {
        let mut refused = 0;
        for (name, template) in &self.set {
            match HeaderValue::try_from(template.expand(context)) {
                Ok(value) => {
                    headers.insert(name.clone(), value);
                }
                Err(_) => {
                    headers.remove(name);
                    refused += 1;
                }
            }
        }
        for name in &self.remove {
            headers.remove(name);
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderModifier;
    use crate::template::{Template, TemplateContext};
    use http::header::{HeaderMap, HeaderName};
    use std::borrow::Cow;

    struct Request;

    impl TemplateContext for Request {
        fn header(&self, name: &str) -> Option<Cow<'_, str>> {
            (name == "x-user").then_some(Cow::Borrowed("ada"))
        }
        fn query(&self) -> &str {
            "bad=a%0d%0ab"
        }
        fn param(&self, _: &str) -> Option<&str> {
            None
        }
        fn client_ip(&self) -> Cow<'_, str> {
            Cow::Borrowed("192.0.2.7")
        }
        fn host(&self) -> &str {
            "h"
        }
        fn method(&self) -> &str {
            "GET"
        }
        fn path(&self) -> &str {
            "/"
        }
        fn tls(&self) -> bool {
            false
        }
    }

    fn set(name: &'static str, value: &str) -> (HeaderName, Template) {
        (HeaderName::from_static(name), Template::parse(value).unwrap().0)
    }

    #[test]
    fn sets_replace_every_value_and_expand_templates() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "1".parse().unwrap());
        headers.append("x-a", "2".parse().unwrap());
        let modifier = HeaderModifier {
            set: vec![set("x-a", "${client_ip}"), set("x-b", "user-${header(x-user)}")],
            remove: vec![],
        };
        assert_eq!(modifier.apply(&mut headers, &Request), 0);
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["192.0.2.7"]);
        assert_eq!(headers["x-b"], "user-ada");
    }

    #[test]
    fn removes_come_after_sets() {
        let mut headers = HeaderMap::new();
        let modifier = HeaderModifier {
            set: vec![set("x-a", "1"), set("x-b", "2")],
            remove: vec![HeaderName::from_static("x-a")],
        };
        modifier.apply(&mut headers, &Request);
        assert!(!headers.contains_key("x-a"));
        assert_eq!(headers["x-b"], "2");
    }

    #[test]
    fn a_value_with_a_line_break_is_refused_and_counted() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", "from-client".parse().unwrap());
        let modifier = HeaderModifier { set: vec![set("x-a", "${query(bad)}")], remove: vec![] };
        assert_eq!(modifier.apply(&mut headers, &Request), 1);
        assert!(headers.is_empty());
    }
}
