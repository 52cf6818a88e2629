//! Service level objectives: what `--slo` asks for, and whether a run meets it.
//!
//! ```text
//! p99<5ms   p99.9<20ms   max<1s   rate>50000   errors<1
//! ```
//!
//! A percentile is that of the response time: from when a message was due to its answer.

use std::fmt;
use std::str::FromStr;

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// This percentile of the latency, 0 to 100; 100 is the maximum.
    Percentile(f64),
    /// Messages a second.
    Rate,
    /// Requests that did not end with `SEND_OK`.
    Errors,
}

/// One objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    /// What is bounded.
    pub figure: Figure,
    /// Whether the figure must be below the bound, or above.
    pub below: bool,
    /// Milliseconds, messages a second, or requests.
    pub bound: f64,
}

impl Slo {
    /// Whether a figure is good enough. One that could not be measured is not.
    #[must_use]
    pub fn is_met_by(&self, value: f64) -> bool {
        if self.below {
            value < self.bound
        } else {
            value > self.bound
        }
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Slo, String> {
        let wrong = || format!("{text} is no objective; write 'p99<5ms', 'max<1s', 'rate>50000' or 'errors<1'");
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let below = rest.starts_with('<');
        let bound = rest.get(1..).ok_or_else(wrong)?.trim();
        let figure = match name.trim() {
            "rate" => Figure::Rate,
            "errors" => Figure::Errors,
            "max" => Figure::Percentile(100.0),
            percentile => {
                let number = percentile.strip_prefix('p').ok_or_else(wrong)?;
                let number: f64 = number.parse().map_err(|_error| wrong())?;
                if !(0.0..=100.0).contains(&number) {
                    return Err(wrong());
                }
                Figure::Percentile(number)
            }
        };
        let bound = match figure {
            Figure::Percentile(_) => milliseconds(bound).ok_or_else(wrong)?,
            Figure::Rate | Figure::Errors => bound.parse().map_err(|_error| wrong())?,
        };
        Ok(Slo { figure, below, bound })
    }
}

/// A duration in milliseconds: `5ms`, `250us`, `1.5s`.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("us") {
        (number, 0.001)
    } else {
        (text.strip_suffix('s')?, 1000.0)
    };
    number.trim().parse::<f64>().ok().map(|number| number * factor)
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.below { '<' } else { '>' };
        match self.figure {
            Figure::Percentile(100.0) => write!(f, "max{sign}{}ms", self.bound),
            Figure::Percentile(number) => write!(f, "p{number}{sign}{}ms", self.bound),
            Figure::Rate => write!(f, "rate{sign}{}", self.bound),
            Figure::Errors => write!(f, "errors{sign}{}", self.bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read_with_their_units() {
        for (text, shown) in [
            ("p99<5ms", "p99<5ms"),
            ("p99.9 < 250us", "p99.9<0.25ms"),
            ("max<1.5s", "max<1500ms"),
            ("rate>50000", "rate>50000"),
            ("errors<1", "errors<1"),
        ] {
            assert_eq!(text.parse::<Slo>().unwrap().to_string(), shown);
        }
        for text in ["p99", "p99<5", "p101<5ms", "q<1ms", "rate>x", "p99<"] {
            assert!(text.parse::<Slo>().is_err(), "{text} is taken");
        }
    }

    #[test]
    fn a_bound_is_met_only_on_its_side_and_never_by_nothing() {
        let slo: Slo = "p99<5ms".parse().unwrap();
        assert!(slo.is_met_by(4.9) && !slo.is_met_by(5.0) && !slo.is_met_by(f64::NAN));
        let slo: Slo = "rate>10".parse().unwrap();
        assert!(slo.is_met_by(11.0) && !slo.is_met_by(10.0) && !slo.is_met_by(f64::NAN));
    }
}
