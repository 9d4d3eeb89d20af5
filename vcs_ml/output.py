"""How things look on a terminal and in a pipe: tables, sizes, counts, JSON, quoted names, colour."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Final, TextIO

_ESCAPES: Final = {
    ord("\a"): "\\a",
    ord("\b"): "\\b",
    ord("\t"): "\\t",
    ord("\n"): "\\n",
    ord("\v"): "\\v",
    ord("\f"): "\\f",
    ord("\r"): "\\r",
    ord("'"): "\\'",
    ord("\\"): "\\\\",
}
# What makes a shell run something, and what it would take away.
_ACTIVE: Final = re.compile(r"""[`;&|<>"\\]|\$\(""")
_HARMLESS: Final = re.compile(r"[\w@%+:,./-][\w@%+:,./=~-]*")  # to every shell
# What moves the cursor, and what turns the order of letters round.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
_CONTROLS_IN_LINES: Final = {code: text for code, text in _CONTROLS.items() if code not in (9, 10)}
_OWN_LINE: Final = re.compile(r"\n(?=\n*  )")  # of a list or of text to be copied, as our messages have them
# What a runner of GitHub Actions obeys: `##[` anywhere in a line, `::` at its beginning (actions/runner,
# ActionCommand.cs). It compares by the rules of a language, to which a character without width is nothing.
_BRACKET: Final = re.compile(r"#(?=[^ -~\n]*#[^ -~\n]*\[)")
_COLONS: Final = re.compile(r"(?<![^\n\r])([^!-~\n]*:)(?=[^ -~\n]*:)")
_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_SHORT: Final = 100  # rows
_ALIGN: Final = {"l": "left", "r": "right", "c": "center"}
_FIT: Final[Mapping[str, Callable[[str, int], str]]] = {
    "l": str.ljust,
    "r": str.rjust,
    "c": lambda text, width: f"{text:^{width}}",
}


def write(text: str, stream: TextIO) -> None:
    """Write `text` as it is; what the stream's encoding cannot hold is written as a backslash escape."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def table(
    rows: Iterable[Sequence[object]],
    headers: Sequence[str],
    *,
    markdown: bool = False,
    align: str | None = None,
) -> str:
    """An aligned table without a newline at its end; `align` is one letter of l, r, c for each column."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    heads = list(headers)
    if markdown:
        heads, *cells = ([cell.replace("|", "\\|") for cell in row] for row in (heads, *cells))
    if len(cells) > _SHORT:
        return _long_table(cells, heads, align or "l" * len(heads), markdown=markdown)
    from tabulate import tabulate  # noqa: PLC0415 - costs 50 ms, and most commands print no table

    colalign = [_ALIGN[letter] for letter in align] if align and cells else None
    text = tabulate(
        cells,
        heads,
        tablefmt="pipe" if markdown else "plain",
        colalign=colalign,
        # 007 and 1e5 are names here, not numbers to be reformatted
        disable_numparse=True,
    )
    return "\n".join(line.rstrip() for line in text.splitlines())


def _long_table(cells: Sequence[Sequence[str]], heads: Sequence[str], align: str, *, markdown: bool) -> str:
    """The same table without tabulate, which takes 25 us for a row of six cells."""
    columns, rules = [], []
    for head, letter, column in zip(heads, align, zip(*cells, strict=True), strict=True):
        texts = [text.strip() for text in column]
        width = max(len(head) + 2, *map(len, texts))
        fit = _FIT[letter]
        columns.append([fit(text, width) for text in (head, *texts)])
        rules.append(f"{'-' if letter == 'r' else ':'}{'-' * width}{'-' if letter == 'l' else ':'}")
    rows = zip(*columns, strict=True)
    if not markdown:
        return "\n".join("  ".join(row).rstrip() for row in rows)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def size(n: int) -> str:
    """Bytes for people, in decimal units: `999 B`, `1.2 MB`."""
    if abs(n) < 1000:
        return f"{n} B"
    value, units = n / 1000, ["kB", "MB", "GB", "TB"]
    # 999.95 would be rounded to 1000.0, which belongs to the next unit
    while abs(value) >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:,.1f} {units[0]}"


def count(n: int, noun: str) -> str:
    """`1 file`, `1,797 files`, `2 directories`, `3 branches`."""
    if n != 1:
        if noun.endswith("y") and noun[-2:-1] not in "aeiou":
            noun = noun[:-1] + "ies"
        else:
            noun += "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{n:,} {noun}"


def moment(seconds: float) -> str:
    """A point in time (seconds since 1970) by the clock on the wall: `2031-03-01 14:05`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def json_text(obj: object) -> str:
    """`obj` as indented JSON in its own order, without a newline at its end."""
    return _indented(obj, "\n")


def _indented(obj: object, newline: str) -> str:
    """As `json.dumps(obj, indent=2)` has it, but for most of it by the encoder in C, which cannot indent."""
    inner = newline + "  "
    if not obj or not isinstance(obj, dict | list | tuple):
        return _encoder("").encode(obj)
    kinds = set(map(type, obj.values() if isinstance(obj, dict) else obj))
    if not any(issubclass(kind, dict | list | tuple) for kind in kinds):
        text = _encoder(inner).encode(obj)
        return f"{text[0]}{inner}{text[1:-1]}{newline}{text[-1]}"
    if isinstance(obj, dict):
        lines = (f"{_encoder('').encode(str(key))}: {_indented(each, inner)}" for key, each in obj.items())
        return f"{{{inner}{f',{inner}'.join(lines)}{newline}}}"
    return f"[{inner}{f',{inner}'.join(_indented(each, inner) for each in obj)}{newline}]"


@cache
def _encoder(newline: str) -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=False, separators=(f",{newline}", ": "))


def quote(name: str | bytes | os.PathLike[str]) -> str:
    """A name for messages: as it is where that is harmless, also to the shell of whoever pastes a hint with it, else
    quoted as bash, zsh and ksh take it (`$'a\\nb'`). Names with spaces are as they are: `word` is for commands.
    """
    text = os.fsdecode(name)
    if not text.isprintable():
        return f"$'{''.join(map(_escape, text))}'"
    return shlex.quote(text) if not text or text != text.strip() or _ACTIVE.search(text) else text


def word(path: str | os.PathLike[str]) -> str:
    """A path as an argument of a command: one word for a shell, and neither an option nor magic of a pathspec."""
    text = os.fspath(path)
    if text.startswith(("-", ":")):
        text = f"./{text}"
    return argument(text)


def argument(text: str) -> str:
    """One word for a shell, also of what cannot be seen or is no UTF-8."""
    if not text.isprintable():
        return quote(text)
    return text if _HARMLESS.fullmatch(text) else shlex.quote(text)


def _escape(char: str) -> str:
    if short := _ESCAPES.get(ord(char)):
        return short
    if char.isprintable():
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def one_line(text: str) -> str:
    """A stranger's text for messages: control characters, ends of lines too, are written as escapes."""
    return text.translate(_CONTROLS)


def lines(text: str) -> str:
    """Text for a terminal, of one or more lines: all control characters but tabs are written as escapes."""
    return text.translate(_CONTROLS_IN_LINES)


def line(text: str) -> str:
    """The first line of a text from a file, with escapes for what a terminal would obey."""
    return "".join(char if char.isprintable() else _escape(char) for char in text.partition("\n")[0])


def code(text: str) -> str:
    """A stranger's text as one code span of Markdown, which it cannot get out of (CommonMark 6.1)."""
    shown = one_line(text)
    if not shown.strip():
        return ""
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def inert(text: str, env: Mapping[str, str]) -> str:
    """Whole lines for people; in GitHub Actions with a space in what would be a command in the log of a job."""
    return _COLONS.sub(r"\1 ", _BRACKET.sub("# ", text)) if env.get("GITHUB_ACTIONS") else text


def inert_json(text: str, env: Mapping[str, str]) -> str:
    """The same of JSON by an escape, which changes no value: where `#` stands in JSON, it stands in a string."""
    return _BRACKET.sub(r"\\u0023", text) if env.get("GITHUB_ACTIONS") else text


def wants_colour(env: Mapping[str, str], *, tty: bool) -> bool:
    """Whether a stream gets colour: a terminal that can, and nobody who said no (https://no-color.org)."""
    return tty and not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def paint(text: str, colour: str, *, on: bool) -> str:
    """`text` in red, green, yellow, cyan, bold or dim, if `on`."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on else text


def problem(label: str, message: str, hint: str | None, *, colour: bool) -> str:
    """The lines of an error or a warning: `error: message`, then `hint: ...`.

    Control characters, which may come from a stranger's file, are written as escapes; a line may begin with two spaces.
    """
    shown = "\n".join(map(one_line, _OWN_LINE.split(message)))
    text = f"{paint(label + ':', 'red' if label == 'error' else 'yellow', on=colour)} {shown}\n"
    if hint:
        text += f"{paint('hint:', 'cyan', on=colour)} {one_line(hint)}\n"
    return text
