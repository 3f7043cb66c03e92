"""A hook of mkdocs: the notebooks become pages of the site, with the outputs that they hold."""

from __future__ import annotations

from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

__all__ = ["on_files", "on_page_markdown"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace each notebook by a page of Markdown and its figures; nothing is executed."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        at = PurePosixPath(notebook.src_uri)
        exporter = MarkdownExporter(exclude_input_prompt=True, exclude_output_prompt=True)
        figures = {"unique_key": at.stem, "output_files_dir": f"{at.stem}_files"}
        text, found = exporter.from_filename(notebook.abs_src_path, figures)
        files.remove(notebook)
        files.append(File.generated(config, str(at.with_suffix(".md")), content=text))
        for name, content in found["outputs"].items():
            files.append(File.generated(config, str(at.parent / name), content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links to notebooks lead to their pages."""
    return markdown.replace(".ipynb)", ".md)")
