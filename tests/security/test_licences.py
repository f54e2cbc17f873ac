"""The page of licences names every package that a server or a refresh needs, as it is installed."""

import re

from tests.licences import PAGE, page

KNOWN = {  # all may be used in a service, and be passed on with one
    "MIT", "MIT-CMU", "BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "PSF-2.0",
    "Python-2.0", "MPL-2.0", "LGPL-2.1-only", "LGPL-2.1-or-later", "BSL-1.0", "Zlib", "0BSD",
    "Unlicense", "CC0-1.0", "LLVM-exception", "HPND",
}  # fmt: skip


def rows(text):
    lines = re.findall(r"^\| (\S+) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    return {name: (licence, by) for name, licence, by in lines if name != "package"}


def test_every_package_that_is_needed_here_stands_in_the_page():
    """Another Python or platform may need fewer or others; what both need must be the same."""
    stands, here = rows(PAGE.read_text()), rows(page())
    assert len(here) > 60
    assert here.items() <= stands.items(), "run: python tests/licences.py"


def test_no_licence_forbids_to_run_or_to_pass_on_a_service():
    for name, (licence, _) in rows(PAGE.read_text()).items():
        assert set(re.findall(r"[^\s()]+", licence)) - {"AND", "OR", "WITH"} <= KNOWN, name
