//! The functions of the template language and the values of its expressions.

use super::TemplateContext;
use std::borrow::Cow;
use std::time::SystemTime;

/// One node of a parsed template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// Text that stands for itself.
    Text(String),
    /// A bare word: a request value where a value is wanted, a name where a name is wanted.
    Word(String),
    /// A function of the table below, with as many arguments as it takes.
    Call(Function, Vec<Expr>),
}

/// A function of the template language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Header,
    Query,
    Cookie,
    Param,
    Request,
    Env,
    Uuid,
    Timestamp,
    Or,
    Eq,
    Neq,
    Concat,
    Upper,
    Lower,
    Len,
    IfCond,
}

/// Name, function, fewest and most arguments.
const TABLE: &[(&str, Function, usize, usize)] = &[
    ("header", Function::Header, 1, 1),
    ("query", Function::Query, 1, 2),
    ("cookie", Function::Cookie, 1, 2),
    ("param", Function::Param, 1, 2),
    ("request", Function::Request, 1, 1),
    ("env", Function::Env, 1, 1),
    ("uuid", Function::Uuid, 1, 1),
    ("timestamp", Function::Timestamp, 0, 0),
    ("or", Function::Or, 1, usize::MAX),
    ("eq", Function::Eq, 2, 3),
    ("neq", Function::Neq, 2, 3),
    ("concat", Function::Concat, 0, usize::MAX),
    ("upper", Function::Upper, 1, 1),
    ("lower", Function::Lower, 1, 1),
    ("len", Function::Len, 1, 1),
    ("if_cond", Function::IfCond, 3, 3),
];

const REQUEST_FIELDS: &[&str] = &["client_ip", "host", "method", "path", "scheme", "tls"];
const BARE_WORDS: &[&str] = &["client_ip", "host", "tls"];
const UUID_VERSIONS: &[&str] = &["v4", "v7"];

impl Expr {
    /// A call of `name`, or why it can only ever be empty.
    pub(super) fn call(name: &str, args: Vec<Expr>) -> Result<Self, String> {
        let Some((_, function, fewest, most)) = TABLE.iter().find(|row| row.0 == name) else {
            return Err(format!("unknown function `{name}`"));
        };
        if args.len() < *fewest || args.len() > *most {
            let wanted = if fewest == most {
                fewest.to_string()
            } else if *most == usize::MAX {
                format!("{fewest} or more")
            } else {
                format!("{fewest} to {most}")
            };
            return Err(format!("`{name}` takes {wanted} argument(s), not {}", args.len()));
        }
        let known = match function {
            Function::Request => REQUEST_FIELDS,
            Function::Uuid => UUID_VERSIONS,
            _ => return Ok(Self::Call(*function, args)),
        };
        match &args[0] {
            Self::Word(word) | Self::Text(word) if !known.contains(&word.as_str()) => {
                Err(format!("`{name}` knows {}, not `{word}`", known.join(", ")))
            }
            _ => Ok(Self::Call(*function, args)),
        }
    }

    /// Why this expression can only be empty where a value is wanted.
    pub(super) fn empty_value(&self) -> Option<String> {
        match self {
            Self::Word(word) if !BARE_WORDS.contains(&word.as_str()) => {
                Some(format!("unknown name `{word}` (known: {})", BARE_WORDS.join(", ")))
            }
            _ => None,
        }
    }

    /// The text this expression stands for in this request; empty if there is none.
    pub(super) fn value<'a>(&'a self, context: &'a dyn TemplateContext) -> Cow<'a, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Word(word) if BARE_WORDS.contains(&word.as_str()) => field(word, context),
            Self::Word(_) => Cow::Borrowed(""),
            Self::Call(function, args) => function.apply(args, context),
        }
    }

    /// The text of this expression where a name is wanted: a bare word is the name itself.
    fn name<'a>(&'a self, context: &'a dyn TemplateContext) -> Cow<'a, str> {
        match self {
            Self::Word(word) => Cow::Borrowed(word),
            other => other.value(context),
        }
    }
}

impl Function {
    /// Whether argument `index` is a name (of a header, a field ..) rather than a value.
    pub(super) fn wants_name(name: &str, index: usize) -> bool {
        let named =
            matches!(name, "header" | "query" | "cookie" | "param" | "request" | "env" | "uuid");
        named && index == 0
    }

    fn apply<'a>(self, args: &'a [Expr], context: &'a dyn TemplateContext) -> Cow<'a, str> {
        let name = || args[0].name(context);
        let value = |index: usize| args[index].value(context);
        let or_default = |found: Option<Cow<'a, str>>| {
            found.or_else(|| args.get(1).map(|arg| arg.value(context))).unwrap_or_default()
        };
        match self {
            Self::Header => context.header(&name()).unwrap_or_default(),
            Self::Query => or_default(query(context.query(), &name())),
            Self::Cookie => or_default(context.cookie(&name())),
            Self::Param => or_default(context.param(&name()).map(Cow::Borrowed)),
            Self::Request => field(&name(), context),
            Self::Env => Cow::Owned(std::env::var(&*name()).unwrap_or_default()),
            Self::Uuid => Cow::Owned(uuid(&name())),
            Self::Timestamp => {
                Cow::Owned(humantime::format_rfc3339_millis(SystemTime::now()).to_string())
            }
            Self::Or => args
                .iter()
                .map(|arg| arg.value(context))
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
            Self::Eq | Self::Neq => {
                let first = value(0);
                let holds = (first == value(1)) == (self == Self::Eq);
                match (holds, args.len()) {
                    (false, _) => Cow::Borrowed(""),
                    (true, 3) => value(2),
                    (true, _) => first,
                }
            }
            Self::Concat => Cow::Owned(args.iter().map(|arg| arg.value(context)).collect()),
            Self::Upper => Cow::Owned(value(0).to_uppercase()),
            Self::Lower => Cow::Owned(value(0).to_lowercase()),
            Self::Len => Cow::Owned(value(0).len().to_string()),
            Self::IfCond => value(if value(0).is_empty() { 2 } else { 1 }),
        }
    }
}

/// The first value of `key` in a raw query, percent and plus decoded.
fn query(raw: &str, key: &str) -> Option<Cow<'static, str>> {
    form_urlencoded::parse(raw.as_bytes())
        .find(|(name, _)| name == key)
        .map(|(_, value)| Cow::Owned(value.into_owned()))
}

fn field<'a>(name: &str, context: &'a dyn TemplateContext) -> Cow<'a, str> {
    match name {
        "client_ip" => context.client_ip(),
        "host" => Cow::Borrowed(context.host()),
        "method" => Cow::Borrowed(context.method()),
        "path" => Cow::Borrowed(context.path()),
        "scheme" => Cow::Borrowed(context.scheme()),
        "tls" => Cow::Borrowed(if context.tls() { "true" } else { "false" }),
        _ => Cow::Borrowed(""),
    }
}

fn uuid(version: &str) -> String {
    match version {
        "v4" => uuid::Uuid::new_v4().to_string(),
        "v7" => uuid::Uuid::now_v7().to_string(),
        _ => String::new(),
    }
}
