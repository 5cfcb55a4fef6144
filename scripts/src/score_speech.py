"""Scores recordings against what was said: STOI, PESQ wide-band and narrow-band.

Usage: score_speech.py REFERENCE.wav RECORDING.wav ... ; one line of JSON for each recording. Both are 48 kHz mono. The
recording is aligned by cross-correlation first: STOI does not forgive a shift.
"""

import json
import sys
import wave

import numpy
from pesq import pesq
from pystoi import stoi
from scipy.signal import correlate, resample_poly


def read(path, rate):
    with wave.open(path) as file:
        pcm = numpy.frombuffer(file.readframes(file.getnframes()), dtype=numpy.int16)
        return resample_poly(pcm.astype(numpy.float64) / 32768, rate, file.getframerate())


def lag_of(reference, heard):
    return int(numpy.argmax(correlate(heard, reference, method="fft"))) - (len(reference) - 1)


def moved(heard, lag, length):
    heard = heard[lag:] if lag >= 0 else numpy.concatenate([numpy.zeros(-lag), heard])
    return numpy.pad(heard, (0, max(0, length - len(heard))))[:length]


def aligned(reference, heard):
    return reference, moved(heard, lag_of(reference, heard), len(reference))


def intelligibility(reference, heard, rate):
    """STOI by windows of 3 s, each aligned for itself: a jitter buffer may change its delay on the way."""
    window, scores = 3 * rate, []
    for start in range(0, len(reference) - window + 1, window):
        said = reference[start : start + window]
        around = heard[max(0, start - rate // 4) : start + window + rate // 4]
        scores.append(float(stoi(said, moved(around, lag_of(said, around), window), rate, extended=False)))
    return sum(scores) / len(scores)


reference_file, *recordings = sys.argv[1:]
for recording in recordings:
    wide = aligned(read(reference_file, 16000), read(recording, 16000))
    narrow = aligned(read(reference_file, 8000), read(recording, 8000))
    print(
        json.dumps(
            {
                "stoi": intelligibility(*wide, 16000),
                "wide": float(pesq(16000, *wide, "wb")),
                "narrow": float(pesq(8000, *narrow, "nb")),
            }
        )
    )
