//! Messages made to hurt: what exceeds a limit is refused before anything is parsed, and what stays inside them all is
//! read within a second, whatever it holds.

use std::{fs, time::Duration};

use postrider::{
    domain::bounce::describe,
    mail::report::{DEPTH_MAX, InspectError, PARTS_MAX, REPORT_MAX_BYTES, inspect},
};

/// The second that a report may take; unoptimised the same work takes some fifteen times as long.
const WORK_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 1 });

#[test]
fn bombs_go_to_quarantine_before_anything_is_parsed() {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(35_000);
    assert_eq!(inspect(nested.as_bytes()), Err(InspectError::TooDeep));
    let digest: String =
        (0..100).map(|n| format!("Content-Type: multipart/digest; boundary=b{n}\n\n--b{n}\n\n")).collect();
    assert_eq!(inspect(digest.as_bytes()), Err(InspectError::TooDeep));
    let wide = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(PARTS_MAX + 1));
    assert_eq!(inspect(wide.as_bytes()), Err(InspectError::TooManyParts));
    let large = vec![b'a'; REPORT_MAX_BYTES + 1];
    assert_eq!(inspect(&large), Err(InspectError::TooLarge { n_bytes: REPORT_MAX_BYTES + 1 }));
    let allowed = "Content-Type: message/rfc822\n\n".repeat(DEPTH_MAX);
    assert!(inspect(allowed.as_bytes()).is_ok());
}

/// Head of a notice, so that its text is looked into.
const HEAD: &str = "From: MAILER-DAEMON@mx.example\nSubject: failure notice\nReturn-Path: <>\n";

/// Words that the rules know, in no order: each byte keeps many rules open.
fn words(n_bytes: usize) -> String {
    const WORDS: [&str; 24] = [
        "user",
        "account",
        "mailbox",
        "is",
        "not",
        "domain",
        "sender",
        "ip",
        "block",
        "é",
        "spam",
        "mail",
        "message",
        "host",
        "550",
        "5.1.1",
        "the",
        "quota",
        "exceeded",
        "<a@b.example>",
        "recipient",
        "your",
        "from",
        "to\n",
    ];
    let (mut text, mut random) = (String::with_capacity(n_bytes), 1_usize);
    while text.len() < n_bytes - 16 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        text.push_str(WORDS[random % WORDS.len()]);
        text.push(' ');
    }
    text
}

fn nested(n: usize) -> String {
    (0..n).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect()
}

/// How long this thread has worked: the machine may be busy with other tests.
fn worked() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn nothing_inside_the_limits_is_a_second_of_work() {
    let near = REPORT_MAX_BYTES - 10_000;
    let text = words(near);
    let status: String = (0..1_000)
        .map(|n| {
            let words = text.get(n * 2_000..n * 2_000 + 1_900).unwrap_or("").replace('\n', " ");
            format!("Final-Recipient: rfc822; a{n}@b.example\nAction: failed\nDiagnostic-Code: smtp; {n} {words}\n\n")
        })
        .collect();
    let parameters = format!("--b\nContent-Type: text/plain{}\n\nx\n", "; a*0*=x".repeat(600));
    let in_base64 = "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n";
    let bombs = [
        ("words", format!("{HEAD}\n{text}")),
        ("a thousand recipients", format!("{HEAD}Content-Type: message/delivery-status\n\n{status}")),
        ("line ends in many multiparts", format!("{HEAD}{}{}", nested(DEPTH_MAX - 1), "\n".repeat(near))),
        ("false boundaries", format!("{HEAD}{}{}", nested(DEPTH_MAX - 1), "\n--b1 x".repeat(near / 7))),
        ("a million headers", format!("{HEAD}{}", "A:\n".repeat(near / 3))),
        ("a header of a million lines", format!("{HEAD}X-A: y\n{}", " z\n".repeat(near / 3))),
        ("encoded words", format!("{HEAD}Subject: {}\n\nx", "=?iso-2022-jp?Q?=1B$B=1B(B?=\n ".repeat(near / 31))),
        ("parameters", format!("{HEAD}Content-Type: multipart/mixed; boundary=b\n\n{}", parameters.repeat(990))),
        ("tags", format!("{HEAD}Content-Type: text/html\n\n{}", "<p>&lt;<b a@b.example>".repeat(near / 23))),
        ("base64", format!("{HEAD}{in_base64}{}", "QUFB".repeat(near / 4))),
        ("addresses", format!("{HEAD}\n{}", "<a@b.example>: no\n".repeat(near / 18))),
        ("JSON", format!("{HEAD}X-Amz-Sns-Message-Id: 1\n\n{}", "[".repeat(near))),
    ];
    // Rules are compiled once, and not for a report.
    let _ = inspect(format!("{HEAD}\n<a@b.example>: 550 no").as_bytes()).map(|report| describe(&report));
    for (name, bomb) in &bombs {
        assert!(bomb.len() <= REPORT_MAX_BYTES, "{name}");
        let before = worked();
        if let Ok(report) = inspect(bomb.as_bytes()) {
            describe(&report);
        }
        let took = worked() - before;
        println!("{name}: {took:?}");
        assert!(took <= WORK_MAX, "{name} takes {took:?} of work");
    }
}
