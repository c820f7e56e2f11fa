//! Bytes of a program to text, piece by piece. Knows nothing of processes.

/// Turns bytes into UTF-8 as they come; a character cut in two by the pieces stays whole.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a character, at most three bytes.
    rest: Vec<u8>,
}

impl Decoder {
    /// The text that these bytes complete. What is no UTF-8, and the zero character, become U+FFFD.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.rest);
        input.extend_from_slice(bytes);
        let mut text = String::with_capacity(input.len());
        let mut left = input.as_slice();
        loop {
            match std::str::from_utf8(left) {
                Ok(valid) => {
                    text.push_str(valid);
                    break;
                }
                Err(error) => {
                    let (valid, after) = left.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.rest = after.to_vec();
                        break;
                    };
                    text.push('\u{fffd}');
                    left = &after[bad..];
                }
            }
        }
        text.replace('\0', "\u{fffd}")
    }

    /// What is left at the end: a replacement character when the bytes stopped inside a character.
    pub(super) fn finish(self) -> String {
        String::from_utf8_lossy(&self.rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_survive_every_cut() {
        let text = "héllo → 🚀\n";
        for at in 0..=text.len() {
            let mut decoder = Decoder::default();
            let (first, second) = text.as_bytes().split_at(at);
            let joined = decoder.push(first) + &decoder.push(second) + &decoder.finish();
            assert_eq!(joined, text, "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_text_becomes_replacement_characters() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"a\xff\0b\xe2\x82"), "a\u{fffd}\u{fffd}b");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }
}
