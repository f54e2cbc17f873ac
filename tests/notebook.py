"""`python tests/notebook.py`: the notebook of the docs with what its cells answer, written anew."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorials" / "notebook.ipynb"
SECONDS = 1200  # of a cell, on a machine with much else to do


def executed(*more: str) -> nbformat.NotebookNode:
    """The notebook after all of its cells, and then `more`, were run; the first error is raised."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells += [new_code_cell(code) for code in more]
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3").execute()
    return notebook


if __name__ == "__main__":
    done = executed()
    for cell in done.cells:
        cell.metadata.clear()
    done.metadata.pop("language_info", None)
    nbformat.write(done, NOTEBOOK)
