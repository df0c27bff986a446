#!/usr/bin/env python3
"""Turns the shared libsleef into an assembler file, for a program without shared libraries: Debian has no static SLEEF.

    python3 tests/sleef_object.py libsleef.so OUT.S OUT.flags

The segments of the library are copied to a fixed address, as the dynamic loader would lay them, each with its rights: its
code finds its tables by distance.  Each word that the loader would fill becomes an expression that the linker fills.  The
flags place the sections.  The program must be linked without -pie.  64-bit little-endian ELF of x86-64 or arm64 alone, with
no thread-local data and no constructor but the compiler's own; anything else is refused.
"""
import struct
import sys

BASE = 0x4000000  # above the program, and near enough for a call
X86_64, ARM64 = 62, 183
RELATIVE = {X86_64: 8, ARM64: 1027}
SYMBOLIC = {X86_64: (1, 6, 7), ARM64: (257, 1025, 1026)}  # a 64-bit address, an entry of the GOT, one of the PLT
LOAD, DYNAMIC, TLS = 1, 2, 7
STRTAB, SYMTAB, RELA, RELASZ, JMPREL, PLTRELSZ, INIT_ARRAYSZ = 5, 6, 7, 8, 23, 2, 27


class Library:
    def __init__(self, path):
        self.path = path
        self.data = open(path, "rb").read()
        self.expect(self.data[:6] == b"\x7fELF\x02\x01", "64-bit little-endian ELF", self.data[:6])
        self.machine, = struct.unpack_from("<H", self.data, 18)
        self.expect(self.machine in RELATIVE, "x86-64 or arm64", f"machine {self.machine}")
        at, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        # type, rights, offset, address, -, bytes in the file, bytes in memory, alignment
        headers = [struct.unpack_from("<IIQQQQQQ", self.data, at + i * size) for i in range(count)]
        self.expect(not any(h[0] == TLS for h in headers), "no thread-local data", "a segment of it")
        self.segments = [h[1:4] + h[5:7] for h in headers if h[0] == LOAD]
        offset, length = next((h[2], h[5]) for h in headers if h[0] == DYNAMIC)
        self.dynamic = dict(struct.unpack_from("<QQ", self.data, offset + i) for i in range(0, length, 16))
        self.expect(self.dynamic.get(INIT_ARRAYSZ, 0) <= 8, "one constructor", self.dynamic.get(INIT_ARRAYSZ))

    def expect(self, holds, wanted, found):
        if not holds:
            sys.exit(f"{self.path}: expected {wanted}, found {found}")

    def offset(self, address):
        for _, offset, start, length, _ in self.segments:
            if start <= address < start + length:
                return offset + address - start
        self.expect(False, "an address within the file", hex(address))

    def text(self, at):
        at += self.offset(self.dynamic[STRTAB])
        return self.data[at:self.data.index(b"\0", at)].decode()

    def symbol(self, index):
        """Name, whether it is weak, its address or None."""
        name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", self.data,
                                                              self.offset(self.dynamic[SYMTAB]) + index * 24)
        return self.text(name), info >> 4 == 2, value if section else None

    def symbols(self):
        """The table ends where the strings begin."""
        return map(self.symbol, range(1, (self.dynamic[STRTAB] - self.dynamic[SYMTAB]) // 24))

    def words(self):
        """Address -> expression of the words that the loader fills; names of weak symbols."""
        words, weak = {}, set()
        for table, size in ((RELA, RELASZ), (JMPREL, PLTRELSZ)):
            for i in range(0, self.dynamic.get(size, 0), 24):
                at, info, addend = struct.unpack_from("<QQq", self.data, self.offset(self.dynamic[table]) + i)
                kind, index = info & 0xffffffff, info >> 32
                if kind == RELATIVE[self.machine]:
                    words[at] = hex(BASE + addend)
                    continue
                self.expect(kind in SYMBOLIC[self.machine], "a relocation of 64 bits", f"type {kind}")
                name, is_weak, value = self.symbol(index)
                words[at] = f"{name}+{addend}" if value is None else hex(BASE + value + addend)
                if value is None and is_weak:
                    weak.add(name)
        return words, weak


def segment_lines(library, number, segment, words):
    rights, offset, start, length, memory = segment
    yield f'.section .sleef{number},"a{"w" if rights & 2 else ""}{"x" if rights & 1 else ""}",%progbits'
    at = start
    for word in sorted(w for w in words if start <= w < start + length) + [start + length]:
        if word > at:
            yield f'.incbin "{library.path}", {offset + at - start}, {word - at}'
        if word < start + length:
            yield f".quad {words[word]}"
        at = word + 8
    if memory > length:
        yield f".zero {memory - length}"


def main():
    path, out, flags = sys.argv[1:]
    library = Library(path)
    words, weak = library.words()
    lines = [f".weak {name}" for name in sorted(weak)]
    for number, segment in enumerate(library.segments):
        lines += segment_lines(library, number, segment, words)
    for name, _, value in library.symbols():
        if value is not None and name.startswith("Sleef_"):
            lines += [f".globl {name}", f".set {name}, {hex(BASE + value)}"]
    lines.append('.section .note.GNU-stack,"",%progbits')
    with open(out, "w") as f:
        f.write("\n".join(lines) + "\n")
    with open(flags, "w") as f:
        f.writelines(f"-Wl,--section-start=.sleef{i}={hex(BASE + s[2])}\n" for i, s in enumerate(library.segments))


if __name__ == "__main__":
    main()
