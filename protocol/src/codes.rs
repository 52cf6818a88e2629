//! The macro behind request and response codes: a newtype over the wire's number, a constant a code, a name for logs.

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident $($code:ident = $value:literal;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i32);

        impl $name {
            $(
                #[doc = concat!("`", stringify!($code), "`, ", stringify!($value), " on the wire.")]
                pub const $code: Self = Self($value);
            )*

            /// Every code that has a name, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// RocketMQ's name of this code; `None` for a number that it does not define.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($code)),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{name}({})", self.0),
                    None => write!(f, "UNKNOWN({})", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub(crate) use codes;
