//! Breaks well-formed deliveries in every way that came to mind, by rolling dice.
//!
//! Knows nothing of Titan but the fields that its triggers are made of, so that half of the damage is done where it is
//! read.

use serde_json::{Value, json};

use super::post::{Post, signature};
use crate::support::web::SECRET;

/// What Titan may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 401: it is not GitHub's.
    Unauthorized,
    /// Anything but a server error; stored when, and only when, it is 202.
    NoServerError,
}

/// Places that Titan reads.
const READ: [&str; 26] = [
    "/action",
    "/number",
    "/installation/id",
    "/installation/account/login",
    "/repository",
    "/repository/id",
    "/repository/full_name",
    "/repository/default_branch",
    "/sender/login",
    "/sender/id",
    "/issue/number",
    "/issue/pull_request",
    "/comment/id",
    "/comment/body",
    "/comment/user",
    "/comment/created_at",
    "/comment/performed_via_github_app",
    "/label/name",
    "/pull_request/number",
    "/pull_request/head/sha",
    "/pull_request/updated_at",
    "/check_run/id",
    "/check_run/external_id",
    "/check_run/pull_requests",
    "/requested_action/identifier",
    "/repositories",
];

/// Small, seeded, the same on every machine (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    /// A number below the limit.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below.max(1) as u64) as usize
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.roll(list.len())]
    }
}

/// A delivery with one thing wrong.
pub fn mutation(dice: &mut Dice, id: &str, event: &str, payload: &Value) -> (Post, Expected) {
    let whole = payload.to_string().into_bytes();
    let signed = |body: Vec<u8>, what: String| (Post::new(id, event, body).what(what), Expected::NoServerError);
    match dice.roll(12) {
        0 => {
            let end = dice.roll(whole.len());
            signed(whole[..end].to_vec(), format!("cut off after {end} bytes"))
        }
        1 => {
            let other = [
                json!(null),
                json!(true),
                json!(0),
                json!(-1),
                json!(1.5),
                json!(""),
                json!("x"),
                json!([]),
                json!({}),
                json!([[]]),
                json!({"id": {}}),
                json!([null]),
            ];
            let (place, other) = (place(dice, payload), dice.pick(&other));
            signed(with(payload, &place, other.to_string().as_bytes()), format!("{place} is {other}"))
        }
        2 => {
            let (place, depth) = (place(dice, payload), *dice.pick(&[1, 60, 127, 128, 500, 100_000]));
            let (open, close) = *dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            signed(with(payload, &place, nested.as_bytes()), format!("{place} is nested {depth} deep"))
        }
        3 => {
            let place = place(dice, payload);
            let text = *dice.pick(&[
                "\"a\\u0000b\"",
                "\"\\u0000\"",
                "\"\\ud800\"",
                "\"\\u202e\\u200b\"",
                "\"'; DROP TABLE run; --\"",
            ]);
            signed(with(payload, &place, text.as_bytes()), format!("{place} is {text}"))
        }
        4 => {
            let place = place(dice, payload);
            let bytes = *dice.pick::<&[u8]>(&[b"\"\xff\xfe\"", b"\"a\0b\"", b"\"\xc0\x80\"", b"\0", b"'x'", b"NaN"]);
            signed(with(payload, &place, bytes), format!("{place} is {}", String::from_utf8_lossy(bytes)))
        }
        5 => {
            let place = place(dice, payload);
            let number = *dice.pick(&[
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775809",
                "1e400",
                "-0",
                "1e-400",
                "123456789012345678901234567890",
                "0.1e1",
                "2147483648",
            ]);
            signed(with(payload, &place, number.as_bytes()), format!("{place} is {number}"))
        }
        6 => {
            let place = place(dice, payload);
            signed(without(payload, &place), format!("{place} is missing"))
        }
        7 => {
            let (place, length) = (place(dice, payload), *dice.pick(&[256, 20_000, 300_000]));
            let text = format!("\"{}\"", dice.pick(&["x", "ä", "\\n", "/titan "]).repeat(length));
            signed(with(payload, &place, text.as_bytes()), format!("{place} is {} bytes long", text.len()))
        }
        8 => {
            let body = *dice.pick::<&[u8]>(&[
                b"",
                b"null",
                b"[]",
                b"0",
                b"\"issue_comment\"",
                b"{}",
                b"\xef\xbb\xbf{}",
                b"payload=%7B%7D",
                b"{\"action\":1,\"action\":\"created\"}",
            ]);
            signed(body.to_vec(), format!("the body is {}", String::from_utf8_lossy(body)))
        }
        9 => wrong_signature(dice, Post::new(id, event, whole)),
        10 => {
            let name = *dice.pick(&[
                "content-type",
                "user-agent",
                "x-github-event",
                "x-github-delivery",
                "x-github-hook-id",
                "x-github-hook-installation-target-id",
            ]);
            let value = dice
                .pick(&[
                    None,
                    Some(vec![]),
                    Some(b"\xff\xfe".to_vec()),
                    Some(b"a b'\"%00".to_vec()),
                    Some(b"x".repeat(10_000)),
                ])
                .clone();
            let what =
                format!("{name} is {:?}", value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned()));
            (Post::new(id, event, whole).header(name, value).what(what), Expected::NoServerError)
        }
        _ => {
            let event = *dice.pick(&["issue_comments", "ping", "push", "", "../x", "installation", "workflow_run"]);
            (Post::new(id, event, whole).what("of another event"), Expected::NoServerError)
        }
    }
}

fn wrong_signature(dice: &mut Dice, post: Post) -> (Post, Expected) {
    let right = signature(SECRET, &post.body);
    let text = String::from_utf8_lossy(&right).into_owned();
    let wrong: [(&str, Option<Vec<u8>>); 10] = [
        ("missing", None),
        ("empty", Some(Vec::new())),
        ("only its name", Some(b"sha256=".to_vec())),
        ("without its name", Some(text.replace("sha256=", "").into_bytes())),
        ("of another kind", Some(text.replace("sha256", "sha1").into_bytes())),
        ("too short", Some(right[..right.len() - 2].to_vec())),
        ("too long", Some([right.clone(), b"00".to_vec()].concat())),
        ("not hexadecimal", Some([&right[..right.len() - 1], b"g"].concat())),
        ("made with another secret", Some(signature("another secret", &post.body))),
        ("of another body", Some(signature(SECRET, b"{}"))),
    ];
    let (what, value) = dice.pick(&wrong).clone();
    (post.header("x-hub-signature-256", value).what(format!("the signature is {what}")), Expected::Unauthorized)
}

/// A place in the payload: half the time one that Titan reads.
fn place(dice: &mut Dice, payload: &Value) -> String {
    let read: Vec<&str> = READ.into_iter().filter(|place| payload.pointer(place).is_some()).collect();
    if !read.is_empty() && dice.roll(2) == 0 {
        return (*dice.pick(&read)).to_owned();
    }
    let (mut at, mut value) = (String::new(), payload);
    loop {
        let names: Vec<String> = match value {
            Value::Object(map) => map.keys().map(|name| name.replace('~', "~0").replace('/', "~1")).collect(),
            Value::Array(list) => (0..list.len()).map(|index| index.to_string()).collect(),
            _ => Vec::new(),
        };
        if names.is_empty() || (!at.is_empty() && dice.roll(3) == 0) {
            return at;
        }
        at = format!("{at}/{}", dice.pick(&names));
        value = payload.pointer(&at).unwrap_or(&Value::Null);
    }
}

/// The payload's text with other bytes in one place; they need not be JSON.
fn with(payload: &Value, place: &str, bytes: &[u8]) -> Vec<u8> {
    const MARK: &str = "the place that is replaced";
    let mut payload = payload.clone();
    match payload.pointer_mut(place) {
        Some(value) => *value = MARK.into(),
        None => return bytes.to_vec(),
    }
    let text = payload.to_string();
    let (before, after) = text.split_once(&format!("\"{MARK}\"")).expect("the mark was just set");
    [before.as_bytes(), bytes, after.as_bytes()].concat()
}

fn without(payload: &Value, place: &str) -> Vec<u8> {
    let mut payload = payload.clone();
    let (parent, name) = place.rsplit_once('/').unwrap_or_default();
    match payload.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(&name.replace("~1", "/").replace("~0", "~"))),
        Some(Value::Array(list)) => drop(name.parse().map(|index: usize| list.remove(index))),
        _ => {}
    }
    payload.to_string().into_bytes()
}
