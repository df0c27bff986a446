"""How a stranger meets the code, in three numbers over lib/ and cmd/, with limits.

    python3 tests/legibility.py [--folders]

one-letter   share of all identifiers that have one letter (loop indices, dimensions and the letters of
             a formula stay; all else is a word)
hidden if    share of `for` loops whose condition has an &&
nested ?:    conditional expressions inside others, for each 1,000 lines

Exit status 1: a limit is exceeded."""
import collections
import glob
import os
import re
import sys

LIMITS = {"one-letter": 12.0, "hidden if": 6.0, "nested ?:": 0.5}
KEYWORDS = set("""auto break case char const continue default do double else enum extern float for goto if
inline int long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while _Bool _Static_assert _Alignas _Noreturn _Thread_local""".split())
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def identifiers(code):
    code = re.sub(r"^\s*#\s*include.*$", "", code, flags=re.M)
    words = re.findall(r"(?<![0-9.\w])[A-Za-z_]\w*", code)
    return collections.Counter(word for word in words if word not in KEYWORDS)


def loops(code):
    """Number of for loops, and of those with && in the condition."""
    count = hidden = 0
    for match in re.finditer(r"\bfor\s*\(", code):
        depth, end = 1, match.end()
        while depth and end < len(code):
            depth += (code[end] == "(") - (code[end] == ")")
            end += 1
        parts, depth = [""], 0
        for char in code[match.end():end - 1]:
            depth += (char in "([{") - (char in ")]}")
            if char == ";" and depth == 0:
                parts.append("")
            else:
                parts[-1] += char
        count += 1
        hidden += len(parts) > 1 and "&&" in parts[1]
    return count, hidden


def nested(code):
    """Conditional operators that stand inside another one of the same statement."""
    count = 0
    for statement in re.split(r"[;{}]", code):
        depth, open_at = 0, []
        for char in statement:
            if char in "([":
                depth += 1
            elif char in ")]":
                depth -= 1
                while open_at and open_at[-1] > depth:
                    open_at.pop()
            elif char == ",":
                while open_at and open_at[-1] >= depth:
                    open_at.pop()
            elif char == "?":
                count += bool(open_at)
                open_at.append(depth)
    return count


def measure(files):
    words, fors, hidden, inner, lines = collections.Counter(), 0, 0, 0, 0
    for name in files:
        with open(name, encoding="utf-8") as file:
            text = file.read()
        code = NOT_CODE.sub(" ", text)
        words += identifiers(code)
        more, with_if = loops(code)
        fors, hidden, inner, lines = fors + more, hidden + with_if, inner + nested(code), lines + text.count("\n")
    total = sum(words.values())
    single = sum(count for word, count in words.items() if len(word) == 1)
    return {"one-letter": 100 * single / max(total, 1), "hidden if": 100 * hidden / max(fors, 1),
            "nested ?:": 1000 * inner / max(lines, 1)}


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    every = glob.glob("lib/**/*.[ch]", recursive=True) + glob.glob("cmd/*.[ch]")
    rows = {"lib, cmd": every}
    if "--folders" in sys.argv:
        for name in every:
            folder = "/".join(name.split("/")[:2]) if name.startswith("lib") else "cmd"
            rows.setdefault(folder, []).append(name)
    print(f"{'':12}" + "".join(f"{key:>12}" for key in LIMITS))
    for row, files in rows.items():
        values = measure(files)
        print(f"{row:12}{values['one-letter']:10.1f} %{values['hidden if']:10.1f} %{values['nested ?:']:12.2f}")
    values = measure(every)
    worse = [key for key, limit in LIMITS.items() if values[key] > limit]
    for key in worse:
        print(f"legibility: {key} is {values[key]:.2f}, above {LIMITS[key]}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
