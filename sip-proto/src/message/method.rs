//! Methods: the fourteen known ones and any other token.
//!
//! Methods are compared with case (RFC 3261 §7.1), so `invite` is an unknown method.

use crate::error::SyntaxError;
use crate::grammar::is_token;
use std::fmt;
use std::str::FromStr;

macro_rules! methods {
    ($($variant:ident = $text:literal;)*) => {
        /// Method of a request.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Method {
            $(
                #[doc = concat!("`", $text, "`")]
                $variant,
            )*
            /// A method that this crate does not know.
            Other(String),
        }

        impl Method {
            /// Reads a method name; any text is taken, [`FromStr`] checks that it is a token.
            pub fn parse(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }

            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }
    };
}

methods! {
    Invite = "INVITE";
    Ack = "ACK";
    Bye = "BYE";
    Cancel = "CANCEL";
    Register = "REGISTER";
    Options = "OPTIONS";
    Prack = "PRACK";
    Subscribe = "SUBSCRIBE";
    Notify = "NOTIFY";
    Publish = "PUBLISH";
    Info = "INFO";
    Refer = "REFER";
    Message = "MESSAGE";
    Update = "UPDATE";
}

impl FromStr for Method {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        if is_token(text) {
            Ok(Self::parse(text))
        } else {
            Err(SyntaxError::BadToken)
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive_tokens() {
        assert_eq!("INVITE".parse(), Ok(Method::Invite));
        assert_eq!("invite".parse(), Ok(Method::Other("invite".into())));
        assert_eq!("RE%47IST%45R".parse(), Ok(Method::Other("RE%47IST%45R".into())));
        assert_eq!("IN VITE".parse::<Method>(), Err(SyntaxError::BadToken));
        assert_eq!("".parse::<Method>(), Err(SyntaxError::BadToken));
        assert_eq!(Method::Subscribe.to_string(), "SUBSCRIBE");
    }
}
