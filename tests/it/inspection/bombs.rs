//! Messages made to hurt: what exceeds a limit is refused before anything is parsed, and what stays inside them all is
//! read within a second, whatever it holds.

use postrider::mail::report::{DEPTH_MAX, InspectError, PARTS_MAX, REPORT_MAX_BYTES, inspect};

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
