use super::{PayloadNode, PayloadTemplate, Template, TemplateContext};
use serde_json::json;
use std::borrow::Cow;

struct Request;

impl TemplateContext for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = match name.to_ascii_lowercase().as_str() {
            "x-user" => "ada",
            "host" => "example.com:8080",
            "cookie" => "a=1; session=\"s3cret\"; b=x=y",
            _ => return None,
        };
        Some(Cow::Borrowed(value))
    }
    fn query(&self) -> &str {
        "q=one+two%21&q=second&empty=&%6bey=v"
    }
    fn param(&self, name: &str) -> Option<&str> {
        (name == "id").then_some("4%32")
    }
    fn client_ip(&self) -> Cow<'_, str> {
        Cow::Borrowed("192.0.2.7")
    }
    fn host(&self) -> &str {
        "example.com"
    }
    fn method(&self) -> &str {
        "POST"
    }
    fn path(&self) -> &str {
        "/a%20b"
    }
    fn tls(&self) -> bool {
        true
    }
}

fn expand(source: &str) -> String {
    Template::parse(source).expect(source).0.expand(&Request)
}

fn warning(source: &str) -> String {
    let (template, warnings) = Template::parse(source).expect(source);
    assert_eq!(template.expand(&Request), "", "{source}");
    assert_eq!(warnings.len(), 1, "{source}: {warnings:?}");
    warnings[0].message.clone()
}

fn error(source: &str) -> String {
    Template::parse(source).expect_err(source).message
}

#[test]
fn text_without_expressions_is_itself() {
    for text in ["", "plain", "a $ b", "} {x}", "cost: $5", "zażółć"] {
        assert_eq!(expand(text), text);
        assert_eq!(Template::parse(text).unwrap().0.constant(), Some(text));
    }
}

#[test]
fn several_expressions_with_text_around() {
    assert_eq!(expand("<${host}|${'lit'}|${ client_ip }>"), "<example.com|lit|192.0.2.7>");
    assert_eq!(expand("${host}${host}"), "example.comexample.com");
}

#[test]
fn literals_take_either_quote_and_hold_the_other() {
    assert_eq!(expand(r#"${"it's"}"#), "it's");
    assert_eq!(expand(r#"${'say "hi"'}"#), r#"say "hi""#);
    assert_eq!(expand("${'a,b)c('}"), "a,b)c(");
    assert_eq!(expand("${''}"), "");
}

#[test]
fn bare_names() {
    assert_eq!(expand("${client_ip} ${host} ${tls}"), "192.0.2.7 example.com true");
    assert!(warning("${method}").contains("unknown name `method`"));
}

#[test]
fn header_is_case_insensitive_and_empty_when_missing() {
    assert_eq!(expand("${header(X-User)}${header('x-user')}${header(nope)}"), "adaada");
    assert_eq!(expand("${header(host)}"), "example.com:8080");
}

#[test]
fn query_decodes_and_takes_the_first() {
    assert_eq!(expand("${query(q)}"), "one two!");
    assert_eq!(expand("${query(key)}"), "v");
    assert_eq!(expand("${query(nope)}|${query(nope, 'd')}"), "|d");
    assert_eq!(expand("${query(empty, 'd')}"), "");
}

#[test]
fn cookie_and_param_with_default() {
    assert_eq!(
        expand("${cookie(session)} ${cookie(b)} ${cookie(nope, host)}"),
        "s3cret x=y example.com"
    );
    assert_eq!(expand("${param(id)} ${param(nope, upper('x'))}"), "4%32 X");
    assert_eq!(expand("${cookie(nope)}${param(nope)}"), "");
}

#[test]
fn request_fields() {
    let fields = "${request(client_ip)} ${request(host)} ${request(method)} ${request(path)} \
                  ${request(scheme)} ${request(tls)}";
    assert_eq!(expand(fields), "192.0.2.7 example.com POST /a%20b https true");
    assert!(warning("${request(port)}").contains("not `port`"));
}

#[test]
fn env_reads_the_gateway_environment() {
    assert_eq!(expand("${env(PATH)}"), std::env::var("PATH").unwrap());
    assert_eq!(expand("${env(NYLON_SURELY_NOT_SET)}"), "");
}

#[test]
fn uuid_versions_differ_each_time() {
    for (source, version) in [("${uuid(v4)}", '4'), ("${uuid(v7)}", '7')] {
        let (one, two) = (expand(source), expand(source));
        assert_eq!(one.len(), 36);
        assert_eq!(one.chars().nth(14), Some(version));
        assert_ne!(one, two);
    }
    assert!(warning("${uuid(v5)}").contains("not `v5`"));
}

#[test]
fn timestamp_is_rfc_3339_with_milliseconds() {
    let now = expand("${timestamp()}");
    assert_eq!(now.len(), "2026-01-02T03:04:05.678Z".len());
    assert!(now.starts_with("20") && now.ends_with('Z') && now.as_bytes()[19] == b'.');
}

#[test]
fn or_takes_the_first_that_is_not_empty() {
    assert_eq!(expand("${or(header(nope), '', header(x-user), 'z')}"), "ada");
    assert_eq!(expand("${or(header(nope))}"), "");
}

#[test]
fn eq_and_neq() {
    assert_eq!(expand("${eq('a', 'a')}|${eq('a', 'b')}|${eq('a', 'a', 'yes')}"), "a||yes");
    assert_eq!(expand("${neq('a', 'b')}|${neq('a', 'a')}|${neq('a', 'b', 'yes')}"), "a||yes");
    assert_eq!(expand("${eq(client_ip, '192.0.2.7', 'local')}"), "local");
}

#[test]
fn text_functions() {
    assert_eq!(expand("${concat('a', '-', host)}|${concat()}"), "a-example.com|");
    assert_eq!(expand("${upper('aé')} ${lower('AÉ')} ${len('é')} ${len('')}"), "AÉ aé 2 0");
}

#[test]
fn if_cond_takes_any_text_for_true() {
    assert_eq!(expand("${if_cond('false', 'a', 'b')}${if_cond('', 'a', 'b')}"), "ab");
}

#[test]
fn functions_nest() {
    let source = "${if_cond(eq(request(method), 'POST'), concat('u=', upper(or(header(a), header(x-user)))), 'none')}";
    assert_eq!(expand(source), "u=ADA");
    assert_eq!(expand("${header(concat('x-', 'user'))}"), "ada");
}

#[test]
fn unknown_functions_warn_and_are_empty() {
    assert_eq!(warning("${shout('x')}"), "unknown function `shout`");
    assert_eq!(expand("a${shout(header(x))}b"), "ab");
}

#[test]
fn wrong_argument_counts_warn() {
    assert_eq!(warning("${header()}"), "`header` takes 1 argument(s), not 0");
    assert_eq!(warning("${eq('a')}"), "`eq` takes 2 to 3 argument(s), not 1");
    assert_eq!(warning("${or()}"), "`or` takes 1 or more argument(s), not 0");
}

#[test]
fn what_does_not_parse_is_an_error() {
    assert_eq!(error("a ${host"), "the closing `}` is missing");
    assert_eq!(error("${}"), "an expression is missing");
    assert_eq!(error("${header(x}"), "the closing `)` of `header(` is missing");
    assert_eq!(error("${'open}"), "the closing ' is missing");
    assert_eq!(error("${or('a' 'b')}"), "expected `,` or `)`, not `'`");
    assert_eq!(error("${or('a',)}"), "expected a name, a function or a quote, not `)`");
    assert_eq!(error("${host host}"), "unexpected `h` after the expression");
    assert_eq!(error("${$x}"), "expected a name, a function or a quote, not `$`");
}

#[test]
fn payload_expands_strings_only_and_keeps_order() {
    let text = |source: &str| PayloadNode::Text(Template::parse(source).unwrap().0);
    let payload = PayloadTemplate::new(PayloadNode::Map(vec![
        ("z".into(), text("${host}")),
        ("${key}".into(), PayloadNode::Constant(json!(7))),
        (
            "list".into(),
            PayloadNode::List(vec![text("${tls}"), PayloadNode::Constant(json!(true))]),
        ),
    ]));
    assert!(!payload.is_constant());
    let json = payload.expand_json(&Request);
    assert_eq!(json, r#"{"z":"example.com","${key}":7,"list":["true",true]}"#.as_bytes());
}

#[test]
fn expanded_text_is_escaped() {
    let (template, _) = Template::parse("a\"${concat('b\\', host)}\n").unwrap();
    let payload = PayloadTemplate::new(PayloadNode::List(vec![PayloadNode::Text(template)]));
    let json: serde_json::Value = serde_json::from_slice(&payload.expand_json(&Request)).unwrap();
    assert_eq!(json, json!(["a\"b\\example.com\n"]));
}

#[test]
fn payload_without_expressions_is_constant() {
    let text = PayloadNode::Text(Template::parse("x ${'y'}").unwrap().0);
    let payload = PayloadTemplate::new(PayloadNode::Map(vec![("a".into(), text)]));
    assert!(payload.is_constant());
    assert_eq!(payload.expand_json(&Request), r#"{"a":"x y"}"#.as_bytes());
}
