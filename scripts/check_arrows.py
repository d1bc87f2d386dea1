#!/usr/bin/env python3
"""Names every include from one room of src/ to another that cmake/rooms.cmake declares no arrow for, directly or through
the rooms between. Returns 1 when there is one."""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CALL = re.compile(r"outlast_(room|proto)\((\w+)([^)]*)\)", re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def declared_arrows(text):
    """{room: set of rooms it names after DEPS}; the library of proto/x.proto is the room proto_x."""
    arrows = {}
    for kind, name, rest in CALL.findall(text):
        deps = re.search(r"\bDEPS\b(.*?)(?:\bLIBS\b|$)", rest, re.S)
        prefix = "proto_" if kind == "proto" else ""
        arrows[prefix + name] = {prefix + d for d in (deps.group(1).split() if deps else [])}
    return arrows


def reachable(arrows, room):
    seen, todo = set(), [room]
    while todo:
        for dep in arrows.get(todo.pop(), ()):
            if dep not in seen:
                seen.add(dep)
                todo.append(dep)
    return seen


def room_of(include):
    head, _, rest = include.partition("/")
    return "proto_" + rest.split(".")[0] if head == "proto" else head


def main():
    with open(os.path.join(ROOT, "cmake/rooms.cmake"), encoding="utf-8") as file:
        arrows = declared_arrows(file.read())
    cycles = [room for room in arrows if room in reachable(arrows, room)]
    for room in cycles:
        print(f"cmake/rooms.cmake: the arrows of {room} lead back to it")
    bad = len(cycles)
    for room in sorted(arrows):
        allowed = reachable(arrows, room) | {room}
        for folder, _, names in os.walk(os.path.join(ROOT, "src", room)):
            for name in sorted(n for n in names if n.endswith((".h", ".cc"))):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    for number, line in enumerate(file, 1):
                        found = INCLUDE.match(line)
                        if not found or (target := room_of(found.group(1))) not in arrows or target in allowed:
                            continue
                        bad += 1
                        print(f"{os.path.relpath(path, ROOT)}:{number}: {room} may not include {found.group(1)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
