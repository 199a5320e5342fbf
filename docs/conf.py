"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _generated

import airflow_eks_dask

project = "airflow-eks-dask"
author = "The airflow-eks-dask maintainers"
project_copyright = author
release = version = airflow_eks_dask.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = project
html_extra_path = ["iam-policy.json", "benchmarks.json", "dispatch.json"]

myst_enable_extensions = ["substitution"]
myst_heading_anchors = 3
# Tables and texts that the code itself knows.
myst_substitutions = {
    "options": _generated.options(),
    "commands": _generated.commands(),
}

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "exclude-members": "execute, resume, render_template"}
