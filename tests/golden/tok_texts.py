"""Lines that try a tokenizer: languages, emoji, code, control characters, broken UTF-8.

Used by make_tokenizers.py (small goldens, committed) and compare_tokenizers.py (many
lines, for development)."""
import random
import unicodedata

PHRASES = [
    "The quick brown fox jumps over the lazy dog. It's you're they'll I'd we've I'm DON'T can't O'Neil's",
    "Zażółć gęślą jaźń; Příliš žluťoučký kůň úpěl ďábelské ódy; Đặng Thị Ngọc Thịnh; naïve café Ærøskøbing Straße",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Η γρήγορη καφέ αλεπού πηδάει πάνω από το σκυλί",
    "აბგდევზთ კლმნოპჟრს; Բարեւ, աշխարհ. Ինչպե՞ս ես; ሰላም ለዓለም ፊደል ፩፪፫; ᎣᏏᏲ ᏣᎳᎩ; ᚠᚢᚦᚨᚱᚲ",
    "مرحبا بالعالم، كيف حالك؟ ١٢٣٤٥٦ لَا إِلٰهَ ؛ سلام دنیا ۱۲۳ خوب\u200cها می\u200cروم; שָׁלוֹם עוֹלָם, מה שלומך?",
    "नमस्ते दुनिया, क्षत्रिय श्री १२३४; বাংলা ভাষা ৪৫৬ ক্ষ; தமிழ் மொழி வணக்கம்; తెలుగు నమస్కారం; ಕನ್ನಡ; മലയാളം ക്ഷ; සිංහල ශ්\u200dරී",
    "สวัสดีชาวโลก น้ำ ๑๒๓; ສະບາຍດີ; សួស្តី\u200bពិភពលោក ១២៣; မြန်မာဘာသာ ၁၂၃; བོད་ཡིག་ ༡༢༣; ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ\u180eᠠ",
    "你好，世界！今天天气很好。繁體中文「引號」１２３ＡＢＣ; 日本語のテキスト、カタカナ・ひらがな ﾊﾝｶｸ ㍿ ㌔; 한국어 텍스트 각각 ㄱㄴㄷ ᄒᆞᆫ글",
    "😀😃🤣 👍🏽 👨\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇩🇪🇯🇵 ❤️\u200d🔥 ☺️ 1️⃣ #️⃣ 🧑🏿\u200d💻 🫠 ™ © ® ✓ ➜ ♞ ⚡︎",
    "def f(x: int) -> str:\n    return f\"{x**2:>8}\"  # ok\n\n\tif a != b && c <= d { arr[i++] = ~0xFF; }",
    "#include <stdio.h>\r\nint main(void) { printf(\"%d\n\", 1 << 3); /* done */ return 0; }\r\n",
    "SELECT * FROM t WHERE a='b' AND c>=1e-5; <div class=\"x\">A&amp;B</div> {\"k\": [1, 2.50, null]} https://a.b/c?d=e&f=%20#g",
    "e\u0301 o\u0308\u0323 q\u0323\u0307 q\u0307\u0323 A\u030a \u212b \u1e9b\u0323 \ufb01 \u2460 \u00bd x\u00b2 \u0958 \u2126 \u1100\u1161\u11a8 \uac00\u11a8 \u0344 \u0f73",
    "Ⅳ ⅷ ½ ¼ ² ³ ① ㊿ ٠ 𝟘𝟙 𝔘𝔫𝔦 Ａ１ ﬀ ﬃ ĳ ǆ İstanbul ıI ẞß ſ ΑΣ ΣΑΣ ὈΔΥΣΣΕΎΣ Ǆ Ⓐ",
    "1234567890 3.14159 1,000,000 12:34:56 2024-01-31 +49-(0)30/123456 1e10 0x1F -5 50% $9.99 €5 ¥100 №7",
    "''' ''s 's'S 'T 'LL ’s ‘t “quoted” «guillemets» — – … · • § ¶ † ‡ ¿ ¡ ‹ › „ ‚ ` ´ ^ ~ | \\ / _ __ ___",
    "zero\u200bwidth \u200cnon\u200djoin \u00adsoft \ufeffbom \u2028line\u2029para \u0085nel \u000bvt \u000cff \u001cfs \u180emvs",
    "nb\u00a0sp em\u2003sp thin\u2009sp ideo\u3000sp ogham\u1680sp figure\u2007sp narrow\u202fsp math\u205fsp",
]
PROSE = """The lighthouse keeper counts the ships that pass, and writes each name into a book.
In the morning the fog is thick; by noon there is nothing left of it but a thin white line.
She said that the river had been lower than this in other years, and nobody believed her.
When the bell rings, the children run down the hill and into the street, shouting as they go.
It was not the first time that he had lost the key, and it would not be the last.
There are three ways to cook an egg, and the worst of them is the one you know best.
A letter came from the south: the harvest was good, the wine was better, the roads were bad.
What they wanted was simple enough, but the telling of it took them until the evening.
He could not remember whether the door had been open or shut when the light went out.
The train stands in the station with its doors open, waiting for somebody who will not come.
Some of the books were older than the house, and some of the dust was older than the books.
They have been working on this since the beginning of the winter, with little to show for it.
Nothing is heavier than an empty bag carried home after a day when nothing was sold.
Whether it rains or not, the market is where the people of the town will be on Saturday.
The music from the other room was slow and sad, then quick and loud, then there was none.
Under the table slept a dog which belonged to no one and was fed by everyone.""".split("\n")

SPACES = [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "      ", "\t\t", "\u00a0", "\u3000",
          "\u2003 ", "\n \n", "\r", "\x0b", "\x85"]
RANGES = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE00), (0xE00, 0x1200),
          (0x1E00, 0x2100), (0x2100, 0x2C00), (0x3000, 0x3200), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4),
          (0xF900, 0xFB50), (0xFE20, 0xFE30), (0xFF00, 0xFFF0), (0x1F300, 0x1F650), (0x1D400, 0x1D800),
          (0x0, 0x20), (0x7F, 0xA0), (0x20000, 0x2A6D7)]


def assigned(c):
    """In Unicode 3.2, or an old emoji: what all versions agree on."""
    return unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs") or 0x1F300 <= c < 0x1F5FF


class Maker:
    """Endless lines, the same for a seed.  prose: list of lines; special: token strings."""

    def __init__(self, seed, prose, special):
        self.r = random.Random(seed)
        self.prose, self.special = prose, special

    def word(self):
        r = self.r
        kind = r.randrange(12)
        if kind < 5:
            return r.choice(r.choice(self.prose).split() or ["x"])
        if kind < 8:
            p = r.choice(PHRASES)
            a = r.randrange(len(p))
            return p[a:a + r.randrange(1, 12)]
        if kind == 8:
            return r.choice(self.special) if self.special else "<s>"
        if kind == 9:
            lo, hi = r.choice(RANGES)
            cs = [c for c in (r.randrange(lo, hi) for _ in range(r.randrange(1, 6))) if assigned(c)]
            return "".join(map(chr, cs))
        if kind == 10:
            return str(r.randrange(10 ** r.randrange(1, 12)))
        return r.choice("'!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`\"") * r.randrange(1, 6)

    def text(self):
        r = self.r
        kind = r.randrange(20)
        if kind < 5:
            return r.choice(self.prose)
        if kind < 7:
            return r.choice(PHRASES)
        if kind == 7:
            return "".join(r.choice(SPACES) for _ in range(r.randrange(1, 12)))
        if kind == 8:
            return r.choice(["a", " ", "ab", "\n", "=", "é", "你", "\u0301", "👍", "0"]) * r.randrange(1, 300)
        out = []
        for _ in range(r.randrange(1, 14)):
            out.append(self.word())
            out.append(r.choice(SPACES) if r.random() < 0.4 else " " if r.random() < 0.7 else "")
        return "".join(out)

    def line(self):
        """Bytes, one in six of them not UTF-8."""
        r = self.r
        b = bytearray(self.text().encode("utf-8", "surrogatepass"))
        if r.random() < 1 / 6 and b:
            for _ in range(r.randrange(1, 5)):
                at = r.randrange(len(b) + 1)
                how = r.randrange(4)
                if how == 0 and at < len(b):
                    del b[at]
                elif how == 1 and at < len(b):
                    b[at] = r.randrange(256)
                elif how == 2:
                    b[at:at] = bytes(r.randrange(128, 256) for _ in range(r.randrange(1, 5)))
                else:
                    b[at:at] = r.choice([b"\xe4\xbd", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf",
                                         b"\xf4\x90\x80\x80", b"\xff", b"\xe0\x80", b"\xf8\x88\x80\x80\x80"])
        return bytes(b)
