"""A model card's Markdown as safe HTML: every character of it is escaped."""

import re

from markupsafe import Markup, escape

_RULE = re.compile(r"^\s*\|?(\s*:?-+:?\s*\|)+(\s*:?-+:?\s*)?$")
_INLINE = (
    (re.compile(r"\*\*(\S(?:.*?\S)?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w*])\*(\S(?:.*?\S)?)\*(?![\w*])"), r"<em>\1</em>"),
    (re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)"), r"\1 (\2)"),  # no link leaves the page
)


def render_card(text: str) -> Markup:
    """Headings, paragraphs, lists, tables, code blocks, bold, italic and code.

    Headings start at the third level, to stand below the page's own. Everything else is
    shown as it was written.
    """
    lines = text.splitlines()
    html: list[str] = []
    if lines and lines[0].strip() == "---" and "---" in [line.strip() for line in lines[1:]]:
        end = 1 + [line.strip() for line in lines[1:]].index("---")
        html.append(f"<pre>{escape(chr(10).join(lines[1:end]))}</pre>")
        lines = lines[end + 1 :]
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
            continue
        taken, block = _block(lines, at)
        html.append(block)
        at += taken
    return Markup("\n".join(html))


def _block(lines: list[str], at: int) -> tuple[int, str]:
    """How many lines the block that starts here takes, and its HTML."""
    line = lines[at]
    if line.startswith("```"):
        body = _while(lines[at + 1 :], lambda text: not text.startswith("```"))
        return len(body) + 2, f"<pre>{escape(chr(10).join(body))}</pre>"
    if heading := re.match(r"(#{1,6})\s+(.*)", line):
        level = min(len(heading[1]) + 2, 6)
        return 1, f"<h{level}>{_inline(heading[2])}</h{level}>"
    if "|" in line and at + 1 < len(lines) and _RULE.match(lines[at + 1]):
        body = _while(lines[at + 2 :], lambda text: "|" in text)
        return len(body) + 2, _table(line, body)
    for bullet, tag in ((r"\s*[-*+]\s+", "ul"), (r"\s*\d+[.)]\s+", "ol")):
        if re.match(bullet, line):
            # An indented line goes on with its item.
            body = _while(lines[at:], lambda text, b=bullet: re.match(rf"{b}|\s{{2,}}\S", text))
            items: list[str] = []
            for text in body:
                if start := re.match(bullet, text):
                    items.append(text[start.end() :])
                else:
                    items[-1] += " " + text.strip()
            rows = "".join(f"<li>{_inline(item)}</li>" for item in items)
            return len(body), f"<{tag}>{rows}</{tag}>"
    starts = re.compile(r"#{1,6}\s|```|\s*[-*+]\s|\s*\d+[.)]\s")
    body = [line, *_while(lines[at + 1 :], lambda text: text.strip() and not starts.match(text))]
    return len(body), f"<p>{_inline(' '.join(text.strip() for text in body))}</p>"


def _while(lines: list[str], holds) -> list[str]:
    taken = []
    for line in lines:
        if not holds(line):
            break
        taken.append(line)
    return taken


def _table(head: str, body: list[str]) -> str:
    def cells(line: str, tag: str) -> str:
        texts = line.strip().strip("|").split("|")
        return "<tr>" + "".join(f"<{tag}>{_inline(text)}</{tag}>" for text in texts) + "</tr>"

    rows = "".join(cells(line, "td") for line in body)
    return (
        '<div class="scroll" role="region" aria-label="Table of the model card" tabindex="0">'
        f"<table><thead>{cells(head, 'th')}</thead><tbody>{rows}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    """Escape first; then only tags of our own are added."""
    pieces = str(escape(text.strip())).split("`")
    if len(pieces) % 2 == 0:  # a lone backtick is only a backtick
        pieces[-2:] = ["`".join(pieces[-2:])]
    for k, piece in enumerate(pieces):
        if k % 2:
            pieces[k] = f"<code>{piece}</code>"
        else:
            for pattern, replacement in _INLINE:
                piece = pattern.sub(replacement, piece)
            pieces[k] = piece
    return "".join(pieces)
