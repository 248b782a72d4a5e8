//! Which program measures which transport: this one, or one that `build.rs` built.

use std::path::PathBuf;

use rivals_harness::Failure;

/// A rival in `extra/`: its transports, its program, or why there is none.
struct Extra {
    transports: &'static [&'static str],
    program: Option<&'static str>,
    why: Option<&'static str>,
}

const EXTRAS: [Extra; 3] = [
    Extra {
        transports: &["shaq"],
        program: option_env!("RIVALS_SHAQ"),
        why: option_env!("RIVALS_SHAQ_WHY"),
    },
    Extra {
        transports: &["tachyon", "tachyon-poll"],
        program: option_env!("RIVALS_TACHYON"),
        why: option_env!("RIVALS_TACHYON_WHY"),
    },
    Extra {
        transports: &["iceoryx2"],
        program: option_env!("RIVALS_ICEORYX2"),
        why: option_env!("RIVALS_ICEORYX2_WHY"),
    },
];

/// The program that measures a transport.
pub(crate) fn program(transport: &str) -> Result<PathBuf, Failure> {
    let extra = EXTRAS
        .iter()
        .find(|extra| extra.transports.contains(&transport));
    match extra.and_then(|extra| extra.program) {
        Some(program) => Ok(program.into()),
        None => Ok(std::env::current_exe()?),
    }
}

/// The transports that did not build, and why.
pub(crate) fn missing() -> impl Iterator<Item = (String, String)> {
    EXTRAS
        .iter()
        .filter(|extra| extra.program.is_none())
        .flat_map(|extra| {
            let why = extra.why.unwrap_or("not built");
            extra
                .transports
                .iter()
                .map(move |name| ((*name).to_owned(), why.to_owned()))
        })
}
