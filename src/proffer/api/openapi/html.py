"""Render the OpenAPI document as HTML, without scripts or external resources."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

Json = Mapping[str, Any]

_STYLE = """
:root { --ink: #1d2433; --soft: #5c6779; --line: #e3e7ee; --back: #fff; --wash: #f6f8fb; --accent: #3046c5;
  --get: #1f7a4d; --post: #3046c5; --put: #9a5b00; --patch: #9a5b00; --delete: #b3261e; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaf1; --soft: #9aa5b8; --line: #2b3342; --back: #12161e;
  --wash: #1a202b; --accent: #9db0ff; --get: #58c08d; --post: #9db0ff; --put: #e3a652; --patch: #e3a652;
  --delete: #ff8a80 } }
* { box-sizing: border-box }
html { scroll-behavior: smooth; scroll-padding-top: 1.5rem }
body { margin: 0; display: grid; grid-template-columns: 19rem minmax(0, 1fr); color: var(--ink);
  background: var(--back); font: 16px/1.6 system-ui, sans-serif }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 2rem 1.25rem; background: var(--wash);
  border-right: 1px solid var(--line); font-size: .875rem }
nav strong { display: block; font-size: 1.25rem; letter-spacing: -.01em }
nav h2 { margin: 1.75rem 0 .4rem; font-size: .75rem; letter-spacing: .06em; text-transform: uppercase;
  color: var(--soft) }
a { color: var(--accent) }
nav a { display: flex; align-items: baseline; gap: .6rem; padding: .15rem 0; color: inherit; text-decoration: none }
nav a:hover, nav a:focus-visible { color: var(--accent); text-decoration: underline }
nav .method { flex: 0 0 3rem }
main { padding: 2.5rem min(5vw, 4rem) 6rem; max-width: 62rem }
h1 { margin: 0; font-size: 2.1rem; letter-spacing: -.02em }
main > h2 { margin: 4rem 0 .5rem; padding-bottom: .5rem; border-bottom: 1px solid var(--line) }
.about { color: var(--soft); max-width: 46rem }
article { margin: 2.75rem 0 }
article h3 { margin: 0 0 .4rem; font-size: 1.15rem }
article p { max-width: 46rem }
.path { display: flex; flex-wrap: wrap; gap: .75rem; align-items: baseline; padding: .55rem .8rem;
  border: 1px solid var(--line); border-radius: .5rem; background: var(--wash); overflow-wrap: anywhere }
.method { font: 700 .75rem/1.6 ui-monospace, monospace }
.GET { color: var(--get) } .POST { color: var(--post) } .PUT { color: var(--put) }
.PATCH { color: var(--patch) } .DELETE { color: var(--delete) }
code, pre { font: .8125rem/1.55 ui-monospace, SFMono-Regular, Menlo, monospace }
.path code { font-size: .9rem }
table { width: 100%; margin: 1rem 0; border-collapse: collapse; font-size: .9rem }
th { text-align: left; font-weight: 600; color: var(--soft) }
th, td { padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td:first-child { white-space: nowrap }
td small { color: var(--soft) }
details { margin: .6rem 0; border: 1px solid var(--line); border-radius: .5rem }
summary { padding: .45rem .8rem; cursor: pointer; font-size: .875rem; overflow-wrap: anywhere }
pre { margin: 0; padding: .8rem; overflow-x: auto; border-top: 1px solid var(--line); background: var(--wash);
  border-radius: 0 0 .5rem .5rem }
@media (max-width: 52rem) { body { display: block } nav { position: static; height: auto; max-height: 40vh;
  border-right: 0; border-bottom: 1px solid var(--line) } }
"""


def render_page(document: Json) -> str:
    """Render an OpenAPI document as an HTML page."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    return "".join(
        [
            "<!doctype html>\n<html lang=en><meta charset=utf-8>",
            '<meta name=viewport content="width=device-width, initial-scale=1">',
            f"<title>{title}: the API</title><style>{_STYLE}</style>",
            f'<nav aria-label="Endpoints"><strong>{title}</strong>{"".join(_menu(document))}</nav>',
            f"<main><h1>{escape(info['title'])}</h1><p class=about>{escape(info['description'])}</p>",
            '<p class=about>Machine-readable: <a href="/openapi.json">openapi.json</a>.</p>',
            *_groups(document),
            "</main></html>\n",
        ]
    )


def _group_operations(document: Json, name: str) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if name in operation["tags"]:
                yield method.upper(), path, operation


def _menu(document: Json) -> Iterator[str]:
    for group in document["tags"]:
        yield f"<h2>{escape(group['name'])}</h2>"
        for method, _, operation in _group_operations(document, group["name"]):
            name, summary = escape(operation["operationId"]), escape(operation["summary"])
            yield f'<a href="#{name}">{_method_badge(method)}<span>{summary}</span></a>'


def _groups(document: Json) -> Iterator[str]:
    for group in document["tags"]:
        yield f"<h2>{escape(group['name'].capitalize())}</h2>"
        yield f"<p class=about>{_prose(group['description'])}</p>"
        for method, path, operation in _group_operations(document, group["name"]):
            yield from _operation(method, path, operation)


def _operation(method: str, path: str, operation: Json) -> Iterator[str]:
    yield f'<article id="{escape(operation["operationId"])}"><h3>{escape(operation["summary"])}</h3>'
    yield f"<div class=path>{_method_badge(method)}<code>{escape(path)}</code></div>"
    yield f"<p>{_prose(operation['description'])}</p>"
    yield from _parameters(operation["parameters"])
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from _example(f"Body: {media_type}", content)
    yield from _answers(operation["responses"])
    yield "</article>"


def _parameters(parameters: Sequence[Json]) -> Iterator[str]:
    if not parameters:
        return
    yield "<table><tr><th>Parameter<th>Where<th>What"
    for parameter in parameters:
        required = ", required" if parameter["required"] and parameter["in"] != "path" else ""
        yield f"<tr><td><code>{escape(parameter['name'])}</code><td><small>{parameter['in']}{required}</small>"
        yield f"<td>{_prose(parameter['description'])}"
    yield "</table>"


def _answers(answers: Json) -> Iterator[str]:
    yield "<table><tr><th>Status<th>When"
    for status, answer in answers.items():
        yield f"<tr><td><code>{status}</code><td>{_prose(answer['description'])}"
    yield "</table>"
    for status, answer in answers.items():
        for media_type, content in answer.get("content", {}).items():
            yield from _example(f"Answer {status}: {media_type}", content)


def _example(title: str, content: Json) -> Iterator[str]:
    if "example" in content:
        text = json.dumps(content["example"], indent=2, ensure_ascii=False)
        yield f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _method_badge(method: str) -> str:
    return f'<span class="method {method}">{method}</span>'


def _prose(text: str) -> str:
    """Escape prose, with text in backticks as code."""
    parts = text.split("`")
    return "".join(f"<code>{escape(part)}</code>" if index % 2 else escape(part) for index, part in enumerate(parts))
