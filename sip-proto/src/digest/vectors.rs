//! Vectors. Inputs are those of the RFCs' examples and of our own; the digests were reckoned anew
//! with an independent implementation (Python's hashlib), because RFC 7616 §3.9.2 prints a
//! truncated SHA-512 where SHA-512/256 belongs.

use super::{Algorithm, ha1, response};
use crate::headers::Authorization;
use crate::message::Method;

struct Vector {
    algorithm: &'static str,
    user: &'static str,
    realm: &'static str,
    password: &'static str,
    method: &'static str,
    uri: &'static str,
    nonce: &'static str,
    cnonce: &'static str,
    nc: Option<u32>,
    expected: &'static str,
}

fn compute(v: &Vector) -> String {
    let algorithm: Algorithm = v.algorithm.parse().unwrap();
    let auth = Authorization {
        username: v.user.into(),
        realm: v.realm.into(),
        nonce: v.nonce.into(),
        uri: v.uri.into(),
        response: String::new(),
        algorithm,
        cnonce: Some(v.cnonce.into()),
        opaque: None,
        qop: v.nc.map(|_| "auth".into()),
        nc: v.nc,
    };
    response(
        &auth,
        &ha1(algorithm, v.user, v.realm, v.password),
        &Method::parse(v.method),
        &[],
    )
}

const MUFASA: Vector = Vector {
    algorithm: "MD5",
    user: "Mufasa",
    realm: "http-auth@example.org",
    password: "Circle of Life",
    method: "GET",
    uri: "/dir/index.html",
    nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    nc: Some(1),
    expected: "8ca523f5e9506fed4657c9700eebdbec",
};

#[test]
fn vectors_of_the_rfcs_and_our_own() {
    let register = Vector {
        user: "ann",
        realm: "meet.example",
        password: "pässwörd",
        method: "REGISTER",
        uri: "sip:meet.example",
        nonce: "abc",
        cnonce: "def",
        nc: Some(0x1a),
        ..MUFASA
    };
    let all = [
        Vector { ..MUFASA },
        Vector {
            algorithm: "SHA-256",
            expected: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ..MUFASA
        },
        Vector {
            algorithm: "SHA-512-256",
            user: "Jäsøn Doe",
            realm: "api@example.org",
            password: "Secret, or not?",
            uri: "/doe.json",
            nonce: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            expected: "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
            ..MUFASA
        },
        Vector {
            expected: "ee114f522187036ce539e7dcd418e5f9",
            ..register
        },
        Vector {
            algorithm: "MD5-sess",
            expected: "f7d96829a5022126f58a3387069c6ec6",
            ..register
        },
        Vector {
            algorithm: "SHA-256",
            expected: "461a39393d96c06b16b2fbfc21ef7ea5ef92f664ea30fd9ea71f742bf4fe6652",
            ..register
        },
        Vector {
            algorithm: "SHA-512-256",
            expected: "05069c0b6bcdf851959bb239425ae48a8b6286ab58e0c0c517803da48f8e838b",
            ..register
        },
        Vector {
            nc: None,
            expected: "0642a80cb3d91b125d9c3aea8836b550",
            ..register
        },
    ];
    for vector in &all {
        assert_eq!(
            compute(vector),
            vector.expected,
            "{} {}",
            vector.algorithm,
            vector.user
        );
    }
}

/// The corpora's vectors, where they are.
#[test]
fn vectors_of_the_corpora() {
    let Ok(root) = std::env::var("MEET_CORPORA") else {
        println!("MEET_CORPORA is not set: digest vectors of the corpora are not checked");
        return;
    };
    let path = std::path::Path::new(&root).join("vectors/digest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!all.is_empty());
    for entry in all {
        let field = |name: &str| -> &'static str { entry[name].as_str().unwrap().to_owned().leak() };
        let vector = Vector {
            algorithm: field("algorithm"),
            user: field("username"),
            realm: field("realm"),
            password: field("password"),
            method: field("method"),
            uri: field("uri"),
            nonce: field("nonce"),
            cnonce: field("cnonce"),
            nc: Some(u32::from_str_radix(field("nc"), 16).unwrap()),
            expected: field("computed"),
        };
        assert_eq!(compute(&vector), vector.expected, "{}", field("source"));
    }
}
