//! SLIP framing (RFC 1055).

const END: u8 = 0xC0;
const ESC: u8 = 0xDB;
const ESC_END: u8 = 0xDC;
const ESC_ESC: u8 = 0xDD;

/// Takes frames out of a stream of bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    frame: Vec<u8>,
    escaped: bool,
    /// Bytes are of a frame: an END has been seen.
    inside: bool,
}

/// Larger frames than any command has; what is larger is noise.
const MAX_FRAME: usize = 0x8000;

impl Decoder {
    /// Takes a byte, and returns the frame that it completes.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        if byte == END {
            let frame = std::mem::take(&mut self.frame);
            self.escaped = false;
            // An END also begins a frame: whatever stood before a frame costs
            // that frame nothing.
            let was_inside = std::mem::replace(&mut self.inside, true);
            return (was_inside && !frame.is_empty()).then_some(frame);
        }
        if !self.inside {
            return None;
        }
        let byte = match (std::mem::take(&mut self.escaped), byte) {
            (false, ESC) => {
                self.escaped = true;
                return None;
            }
            (false, byte) => byte,
            (true, ESC_END) => END,
            (true, ESC_ESC) => ESC,
            (true, _) => {
                self.drop_frame();
                return None;
            }
        };
        if self.frame.len() == MAX_FRAME {
            self.drop_frame();
        } else {
            self.frame.push(byte);
        }
        None
    }

    fn drop_frame(&mut self) {
        self.frame.clear();
        self.inside = false;
    }
}

/// Appends a frame to `out`.
pub(crate) fn encode(frame: &[u8], out: &mut Vec<u8>) {
    out.push(END);
    for byte in frame {
        match *byte {
            END => out.extend([ESC, ESC_END]),
            ESC => out.extend([ESC, ESC_ESC]),
            byte => out.push(byte),
        }
    }
    out.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(decoder: &mut Decoder, bytes: &[u8]) -> Vec<Vec<u8>> {
        bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
    }

    #[test]
    fn what_was_encoded_is_decoded_whatever_the_bytes() {
        let all: Vec<u8> = (0..=255).chain([END, ESC, ESC_END, ESC_ESC]).collect();
        let mut wire = Vec::new();
        encode(&all, &mut wire);
        encode(&[ESC], &mut wire);
        assert_eq!(decode(&mut Decoder::default(), &wire), [all, vec![ESC]]);
    }

    #[test]
    fn noise_and_broken_escapes_cost_their_frame_only() {
        let mut decoder = Decoder::default();
        assert!(decode(&mut decoder, b"noise").is_empty());
        assert!(decode(&mut decoder, &[END, 1, ESC, 7, 2]).is_empty());
        assert!(decode(&mut decoder, &[END, END, 1, 2]).is_empty());
        assert_eq!(decode(&mut decoder, &[END]), [vec![1, 2]]);
        let long = vec![3; MAX_FRAME + 1];
        assert!(decode(&mut decoder, &[&[END], &long[..], &[END]].concat()).is_empty());
        assert_eq!(decode(&mut decoder, &[END, 4, END]), [vec![4]]);
    }
}
