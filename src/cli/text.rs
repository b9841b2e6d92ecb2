//! Words on a line: dates, widths, and nothing that could steer a terminal.

use time::OffsetDateTime;
use time::macros::format_description;

/// `2027-05-21`.
pub(crate) fn date(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

/// `2027-05-21 10:00 UTC`.
pub(crate) fn moment(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    time.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).unwrap_or_default()
}

/// `43 ms`, `3.1 s`.
pub(crate) fn took(time: std::time::Duration) -> String {
    match time.as_millis() {
        millis @ 0..=999 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// How far two clocks are apart, in the largest unit that says enough.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        172_800..=63_071_999 => format!("{} days", seconds / 86_400),
        _ => format!("{} years", seconds / 31_557_600),
    }
}

/// `1 anchor`, `2 anchors`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// The text with what could move the cursor, hide or turn text around escaped: phones, devices and servers choose words.
pub(crate) fn tame(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut tamed, c| {
        if steers(c) {
            tamed.extend(c.escape_default())
        } else {
            tamed.push(c)
        }
        tamed
    })
}

/// The words of `text` in lines of at most `width` characters; a longer word stands alone. A dot stays with what it ends.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut words = text.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let dot = if words.next_if_eq(&"·").is_some() { " ·" } else { "" };
        let line = lines.last_mut().expect("there is always a line");
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() + dot.chars().count() <= width {
            line.push(' ');
        } else if length > 0 {
            lines.push(String::new());
        }
        let line = lines.last_mut().expect("there is always a line");
        line.push_str(word);
        line.push_str(dot);
    }
    lines
}

/// The parts of a line with a dot between.
pub(crate) fn dotted<S: AsRef<str>>(parts: &[S]) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_between_words_and_a_long_word_stays_whole() {
        assert_eq!(wrap("plug the phone in", 8), ["plug the", "phone in"]);
        assert_eq!(wrap("see https://web.contoso.example/x now", 10), ["see", "https://web.contoso.example/x", "now"]);
        assert_eq!(wrap("port 1-4 · Acme", 10), ["port 1-4 ·", "Acme"]);
        assert_eq!(wrap("port 1-4 · Acme", 9), ["port", "1-4 ·", "Acme"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn what_a_phone_says_cannot_steer_the_terminal() {
        assert_eq!(tame("Desk\u{1b}[2J\r\n\u{202e}2"), "Desk\\u{1b}[2J\\r\\n\\u{202e}2");
    }

    #[test]
    fn clocks_are_apart_in_words() {
        assert_eq!([5, -300, 90_000, 600_000_000].map(span), ["5 s", "5 min", "25 h", "19 years"]);
    }
}
