"""What the engine's adapter does not bring into memory."""

import subprocess
import sys

_IMPORT = "import sys, caissond.host.docker; print('charset_normalizer' in sys.modules)"


def test_nobody_guesses_encodings_and_nothing_is_said_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORT], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_whoever_wants_to_guess_can_afterwards() -> None:
    wants = (
        "import caissond.host.docker, charset_normalizer; print(charset_normalizer.detect(b'a')['encoding'])"
    )
    done = subprocess.run([sys.executable, "-c", wants], capture_output=True, text=True, check=True)
    assert done.stdout == "ascii\n"
