//! Which message numbers were seen ([MS-SIP] section 3.1.5.1): a window of 256 below the highest.

/// How far below the highest number one is still told apart from one that was seen.
const WIDTH: u64 = 256;

/// The numbers of one sender in one association.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: the number n below the highest was seen.
    seen: [u64; 4],
}

impl Window {
    /// Whether this number comes for the first time and is not too old. It has come then.
    pub(super) fn takes(&mut self, number: u64) -> bool {
        if number > self.highest {
            self.slide(number - self.highest);
            self.highest = number;
        }
        let below = self.highest - number;
        if below >= WIDTH {
            return false;
        }
        let (word, bit) = ((below / 64) as usize, 1u64 << (below % 64));
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    fn slide(&mut self, by: u64) {
        if by >= WIDTH {
            self.seen = [0; 4];
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        for word in (0..4usize).rev() {
            let from = |at: Option<usize>| at.map_or(0, |at| self.seen[at]);
            let (own, lower) = (from(word.checked_sub(words)), from(word.checked_sub(words + 1)));
            self.seen[word] = if bits == 0 { own } else { own << bits | lower >> (64 - bits) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_is_taken_once_and_never_when_it_is_256_below_the_highest() {
        let mut window = Window::default();
        assert!(window.takes(1) && !window.takes(1));
        assert!(window.takes(300) && window.takes(45) && !window.takes(44));
        assert!(!window.takes(300) && !window.takes(45) && !window.takes(1));
        assert!(window.takes(u64::MAX) && !window.takes(301));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_all_numbers(numbers in proptest::collection::vec(1u64..700, 1..200)) {
            let (mut window, mut seen, mut highest) = (Window::default(), BTreeSet::new(), 0);
            for number in numbers {
                let expected = !seen.contains(&number) && number + WIDTH > highest;
                prop_assert_eq!(window.takes(number), expected, "{}", number);
                seen.insert(number);
                highest = highest.max(number);
            }
        }
    }
}
