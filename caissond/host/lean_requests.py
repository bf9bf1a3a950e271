"""requests without the library that guesses how a text is encoded, whose 3 MiB would stay in memory. The engine answers
in JSON, and requests takes UTF-8 where nobody guesses. To be imported before anything else that imports requests.
"""

import sys
import warnings

_GUESSERS = ("chardet", "charset_normalizer")

for _name in _GUESSERS:
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # its import fails (importlib, sys.modules)
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")
    import requests as requests
for _name in _GUESSERS:
    if sys.modules[_name] is None:
        del sys.modules[_name]
