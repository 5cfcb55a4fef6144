//! `speech-quality`: what loss does to speech, scored by PESQ and STOI against what was said.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use workshop::quality::{Codec, Judge, QualityError};

/// Sends speech through the real mixer and client cores at several loss rates and prints how it is heard.
#[derive(Parser)]
struct Arguments {
    /// Percent of packets lost on each way of each leg
    #[arg(long, value_delimiter = ',', default_value = "0,2,5,10")]
    loss: Vec<u32>,
}

fn main() -> ExitCode {
    match table(&Arguments::parse().loss) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speech-quality: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn table(losses: &[u32]) -> Result<(), QualityError> {
    let folder = tempfile::tempdir().map_err(|error| QualityError::Scene(error.to_string()))?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let judge = Judge::new(folder.path(), &target)?;
    println!(
        "speech, phone → room → phone, packets lost at random on each of the two ways (so twice on the whole path); `alone`: the codec twice, without a room"
    );
    println!(
        "{:<10} {:>6} {:>7} {:>9} {:>9} {:>14}",
        "codec", "lost %", "STOI", "PESQ-WB", "PESQ-NB", "our MOS-LQ (in)"
    );
    for codec in Codec::ALL {
        let best = judge.ceiling(codec)?;
        println!(
            "{:<10} {:>6} {:>7.3} {:>9.2} {:>9.2}",
            codec.name(),
            "alone",
            best.stoi,
            best.wide,
            best.narrow
        );
        for &percent in losses {
            let score = judge.score(codec, percent)?;
            println!(
                "{:<10} {:>6} {:>7.3} {:>9.2} {:>9.2} {:>14.2}",
                codec.name(),
                percent,
                score.stoi,
                score.wide,
                score.narrow,
                score.estimated
            );
        }
    }
    Ok(())
}
