//! The language a peer says it is written in: a name in a JSON header, a byte in a binary one.

macro_rules! languages {
    ($($(#[$meta:meta])* $variant:ident $text:literal $code:literal;)*) => {
        /// RocketMQ's `LanguageCode`; names and numbers it does not know read as [`Language::Other`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum Language {
            $(
                #[doc = concat!("`", $text, "`, ", stringify!($code), " in a binary header.")]
                $(#[$meta])*
                $variant,
            )*
        }

        impl Language {
            /// The name, as JSON headers and bodies have it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The byte of a binary header.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            /// From the name of a JSON header.
            #[must_use]
            pub fn from_name(name: &str) -> Self {
                match name { $($text => Self::$variant,)* _ => Self::Other }
            }

            /// From the byte of a binary header.
            #[must_use]
            pub const fn from_code(code: u8) -> Self {
                match code { $($code => Self::$variant,)* _ => Self::Other }
            }
        }
    };
}

languages! {
    Java "JAVA" 0;
    Cpp "CPP" 1;
    DotNet "DOTNET" 2;
    Python "PYTHON" 3;
    Delphi "DELPHI" 4;
    Erlang "ERLANG" 5;
    Ruby "RUBY" 6;
    #[default] Other "OTHER" 7;
    Http "HTTP" 8;
    Go "GO" 9;
    Php "PHP" 10;
    Oms "OMS" 11;
    Rust "RUST" 12;
    NodeJs "NODE_JS" 13;
}
