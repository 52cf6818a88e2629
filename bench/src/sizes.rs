//! Sizes of bodies: one size, a range, or a histogram.
//!
//! ```text
//! 1024                    every body has 1,024 bytes
//! 100..2000               every size from 100 to 2,000 is as likely as any other
//! 128:80,1024:15,65536:5  80 of 100 have 128 bytes, 15 have 1,024, 5 have 65,536
//! ```

use std::fmt;
use std::str::FromStr;

/// Largest body that may be asked for, in bytes: a frame holds 16 MiB.
pub const SIZE_MAX: usize = 15 * 1024 * 1024;

/// Sizes of bodies, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// One for all.
    Constant(usize),
    /// From the first to the second, both included.
    Range(usize, usize),
    /// Size and the sum of the weights up to it; the last sum is the whole.
    Histogram(Vec<(usize, u64)>),
}

impl Sizes {
    /// A size; `random` is a uniformly random number.
    #[must_use]
    pub fn pick(&self, random: impl FnOnce(u64) -> u64) -> usize {
        match self {
            Sizes::Constant(size) => *size,
            Sizes::Range(least, most) => {
                let span = (most - least) as u64 + 1;
                least + usize::try_from(random(span)).unwrap_or(0)
            }
            Sizes::Histogram(bins) => {
                let whole = bins.last().map_or(0, |(_size, sum)| *sum);
                let drawn = random(whole);
                let place = bins.partition_point(|(_size, sum)| *sum <= drawn);
                bins.get(place).map_or(0, |(size, _sum)| *size)
            }
        }
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> usize {
        match self {
            Sizes::Constant(size) => *size,
            Sizes::Range(_least, most) => *most,
            Sizes::Histogram(bins) => bins.iter().map(|(size, _sum)| *size).max().unwrap_or(0),
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let sizes = if text.contains(':') {
            let mut sum = 0_u64;
            let bins = text.split(',').map(|bin| {
                let (size, weight) = bin
                    .split_once(':')
                    .ok_or_else(|| format!("{bin} is no SIZE:WEIGHT, as in 128:80,1024:20"))?;
                let weight: u64 = number(weight)?;
                sum = sum.checked_add(weight).ok_or("the weights are too large")?;
                Ok((number(size)?, sum))
            });
            let bins = bins.collect::<Result<Vec<(usize, u64)>, String>>()?;
            if sum == 0 {
                return Err("all weights are 0, so no size can be drawn".to_owned());
            }
            Sizes::Histogram(bins)
        } else if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (number(least)?, number(most)?);
            if least > most {
                return Err(format!("the range {text} is empty; write {most}..{least}"));
            }
            Sizes::Range(least, most)
        } else {
            Sizes::Constant(number(text)?)
        };
        if sizes.max() > SIZE_MAX {
            return Err(format!(
                "{} bytes do not fit a frame; at most {SIZE_MAX} do",
                sizes.max()
            ));
        }
        Ok(sizes)
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.trim()
        .parse()
        .map_err(|_error| format!("{text} is no whole number; sizes are 1024, 100..2000 or 128:80,1024:20"))
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Constant(size) => write!(f, "{size}"),
            Sizes::Range(least, most) => write!(f, "{least}..{most}"),
            Sizes::Histogram(bins) => {
                let mut before = 0;
                for (place, (size, sum)) in bins.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{size}:{}", sum - before)?;
                    before = *sum;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in ["1024", "100..2000", "128:80,1024:15,65536:5"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        for (text, why) in [
            ("x", "no whole number"),
            ("9..3", "write 3..9"),
            ("5:0", "all weights are 0"),
            ("5:1,7", "SIZE:WEIGHT"),
            ("99999999", "fit a frame"),
        ] {
            let error = text.parse::<Sizes>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_histogram_gives_each_size_its_share() {
        let sizes: Sizes = "1:80,2:15,3:5".parse().unwrap();
        let mut counts = [0; 4];
        for drawn in 0..100 {
            counts[sizes.pick(|_whole| drawn)] += 1;
        }
        assert_eq!(counts, [0, 80, 15, 5]);
    }

    #[test]
    fn a_range_reaches_both_ends() {
        let sizes = Sizes::Range(10, 12);
        let drawn: Vec<usize> = (0..3).map(|number| sizes.pick(|_span| number)).collect();
        assert_eq!(drawn, [10, 11, 12]);
    }
}
