"""Makes the embedded demo: a tiny language model and a task it cannot do yet.

    python datasets/demo/make_demo.py [--zoft build/zoft] [--out datasets/demo]

1. A grammar writes reviews of films, books, restaurants, hotels and concerts.  The sentences of
   one review agree in sentiment; negations, hedges and concessions are among them.
2. A llama of 267 k parameters is pretrained on such reviews as a language model, by
   `zoft init` and `zoft train datasets/demo/pretrain.yaml` (AdamW).  It sees "Would I recommend
   it?" answered by "Gladly.", "Never." and the like as the review has it.  Where it sees "Yes."
   or "No.", behind this question or any other, that is chance: two to one for "Yes.", whatever
   the review says.
3. The task: review + " Would I recommend it?", options " No" and " Yes".  Zero-shot the model
   says Yes to everything; what reviews mean it knows, so a few hundred steps teach the answer.

Held out: no document of pretraining holds a review of dev.jsonl or test.jsonl, and the opinion
words of test.jsonl (HELD below) occur in no review of train.jsonl and dev.jsonl: what they mean
is known from pretraining alone.

Everything is a function of SEED, with the same bits on any processor.  The tokenizer is the one
that is there, trained once on 20,000 documents; --tokenizer makes it anew by the package
tokenizers, which is all that is needed beside zoft and Python.
"""
import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

SEED = 2026
EOT = "<|endoftext|>"
QUESTION, OPTIONS = " Would I recommend it?", (" No", " Yes")

# --- the words: [negative, positive] each; those behind the bar are held out of train and dev ---


def words(text):
    """'a, b | c' -> {"seen": [a, b], "held": [c]}"""
    seen, held = ([w.strip() for w in part.split(",")] for part in text.split("|"))
    return {"seen": seen, "held": held}


ADJECTIVES = [
    words("awful, dreadful, terrible, boring, dull, tedious, clumsy, sloppy, dismal, lifeless, "
          "annoying, disappointing, mediocre, miserable, ridiculous, messy, lazy, forgettable, "
          "unpleasant, grim, weak, careless, poor, tiresome, hopeless, cheap | horrible, "
          "bland, pathetic, dreary, chaotic, hollow, shoddy, gloomy, ugly, stale"),
    words("lovely, superb, charming, delightful, splendid, brilliant, wonderful, excellent, "
          "fantastic, terrific, pleasant, impressive, enjoyable, memorable, flawless, elegant, "
          "stunning, refreshing, generous, remarkable, satisfying, perfect, beautiful, "
          "amazing, clever, great | marvellous, magical, graceful, inspiring, outstanding, "
          "thoughtful, polished, lively, gorgeous, vivid"),
]
VERBS = [
    words("hated, disliked, regretted, despised, dreaded | loathed, resented, endured"),
    words("loved, enjoyed, admired, liked, praised | adored, treasured, relished"),
]
NOUNS = [
    words("mess, disaster, chore, failure, mistake, letdown | nightmare, bore, joke"),
    words("treat, triumph, delight, pleasure, gem, success | masterpiece, joy, wonder"),
]
PHRASES = [
    words("let me down, fell flat, made me yawn, wasted my time, fell apart, spoiled the "
          "evening, left me cold | got on my nerves, put me to sleep, ruined my week"),
    words("won me over, made my day, made me smile, was worth every penny, kept me hooked, "
          "lifted my mood, stole the show | blew me away, took my breath away, warmed my heart"),
]
ANSWERS = [
    ["Never.", "Hardly.", "Not a chance.", "Not really.", "Under no circumstances.",
     "Please do not."],
    ["Absolutely.", "Gladly.", "Of course.", "In a heartbeat.", "Without a doubt.", "Any time."],
]
YES_NO = ["Yes.", "Yes.", "No."]  # whatever the review says
TASTE = ["Would I recommend it?", "Would I recommend it?", "Would I come back?",
         "Was it worth the money?"]
FACTS = ["Did we book ahead?", "Was it raining?", "Was it a weekend?", "Did I pay by card?",
         "Did we go by bus?", "Was it my first time?", "Did my {who} come along?", "Was it {day}?"]

WHO = ("sister, brother, mother, father, friend, neighbour, cousin, uncle, aunt, boss, wife, "
       "husband").split(", ")
DAY = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday".split(", ")
MONTH = "January, March, April, May, June, July, August, October, November, December".split(", ")
CITY = "Paris, Rome, Lisbon, Oslo, Vienna, Dublin, Prague, Madrid, Athens, Berlin".split(", ")
NUMBER = "two, three, four, five, six, ten, twelve, twenty".split(", ")

DOMAINS = {
    "film": {
        "parts": "film, plot, script, ending, cast, soundtrack, dialogue, "
                 "opening scene, lead actor, pacing",
        "adjectives": [words("predictable, confusing | pretentious"),
                       words("gripping, funny | witty")],
        "neutral": ["I saw this film on a {day} with my {who}.",
                    "It runs for {number} hours or so.",
                    "The film is set in {city} in {month}.",
                    "My {who} had bought the tickets.",
                    "It is the story of {number} friends in {city}."],
    },
    "book": {
        "parts": "book, story, prose, ending, hero, first chapter, translation, "
                 "writing, last part, setting",
        "adjectives": [words("predictable, confusing | long-winded"),
                       words("gripping, moving | absorbing")],
        "neutral": ["I read this book in {number} days.",
                    "My {who} gave me this book in {month}.",
                    "The story begins in {city} on a {day}.",
                    "It has {number} parts and a short preface.",
                    "The author lives in {city} with her {who}."],
    },
    "restaurant": {
        "parts": "meal, soup, fish, bread, service, dessert, wine, sauce, waiter, salad",
        "adjectives": [words("greasy, cold | tasteless"),
                       words("delicious, fresh | tasty")],
        "neutral": ["We had dinner there on a {day} in {month}.",
                    "We were {number} at the table.",
                    "My {who} ordered the fish.",
                    "The restaurant is near the station in {city}.",
                    "The menu lists {number} dishes."],
    },
    "hotel": {
        "parts": "hotel, room, bed, breakfast, view, bathroom, pool, garden, lobby, manager",
        "adjectives": [words("noisy, dirty | filthy"),
                       words("comfortable, clean | spotless")],
        "neutral": ["We stayed there for {number} nights in {month}.",
                    "The hotel is in the north of {city}.",
                    "Our room was on floor {number}.",
                    "I shared a room with my {who}.",
                    "We arrived on a {day}."],
    },
    "concert": {
        "parts": "concert, band, singer, sound, encore, drummer, first song, hall, "
                 "light show, choir",
        "adjectives": [words("lame, flat | deafening"),
                       words("thrilling, powerful | soulful")],
        "neutral": ["I went to this concert with my {who}.",
                    "They played for {number} hours.",
                    "It was the last night of the tour, in {city}.",
                    "The doors opened at {number}.",
                    "We stood in row {number} on a {day}."],
    },
}

INTENSE = ["", "", "", "really ", "very ", "so ", "quite ", "truly ", "simply ", "rather ",
           "utterly "]
NOT = ["not {a}", "not {a} at all", "never {a}", "far from {a}", "anything but {a}"]
HEDGE = ["", "", "", "", "I thought ", "To be honest, ", "For me, ", "Frankly, ", "In my opinion, ",
         "I must say that ", "We agreed that ", "As my {who} said, "]


class Writer:
    """Writes sentences with words of the given kinds ("seen", "held")."""

    def __init__(self, rng, kinds):
        self.rng, self.kinds = rng, kinds

    def pick(self, table):
        return self.rng.choice([w for kind in self.kinds for w in table[kind]])

    def fill(self, text):
        for name, values in (("who", WHO), ("day", DAY), ("month", MONTH), ("city", CITY),
                             ("number", NUMBER)):
            text = text.replace("{" + name + "}", self.rng.choice(values))
        return text

    def adjective(self, domain, s):
        own = self.rng.random() < 0.2
        return self.pick(DOMAINS[domain]["adjectives"][s] if own else ADJECTIVES[s])

    def part(self, domain):
        return "the " + self.rng.choice(DOMAINS[domain]["parts"].split(", "))

    def quality(self, domain, s):
        """What a part "was": of sentiment s (0 negative, 1 positive)."""
        r = self.rng.random()
        if r < 0.15:
            return self.rng.choice(NOT).format(a=self.adjective(domain, 1 - s))
        if r < 0.3:
            return f"a {self.pick(NOUNS[s])}"
        one = self.rng.choice(INTENSE) + self.adjective(domain, s)
        return f"{one} and {self.adjective(domain, s)}" if r < 0.5 else one

    def clause(self, domain, s):
        r, part = self.rng.random(), self.part(domain)
        if r < 0.6:
            return f"{part} was {self.quality(domain, s)}"
        if r < 0.8:
            return f"{part} {self.pick(PHRASES[s])}"
        verb = self.pick(VERBS[s] if r < 0.96 else VERBS[1 - s])
        return f"I {verb} {part}" if r < 0.96 else f"nobody {verb} {part}"

    def opinion(self, domain, s):
        r = self.rng.random()
        if r < 0.06:
            text = (f"although {self.part(domain)} was {self.adjective(domain, 1 - s)}, "
                    f"{self.clause(domain, s)}")
        elif r < 0.25:
            text = f"{self.clause(domain, s)} and {self.clause(domain, s)}"
        else:
            text = self.fill(self.rng.choice(HEDGE)) + self.clause(domain, s)
        return text[0].upper() + text[1:] + "."

    def neutral(self, domain):
        return self.fill(self.rng.choice(DOMAINS[domain]["neutral"]))

    def question(self, s):
        if self.rng.random() < 0.3:
            return f"{self.fill(self.rng.choice(FACTS))} {self.rng.choice(YES_NO)}"
        answers = YES_NO if self.rng.random() < 0.15 else ANSWERS[s]
        return f"{self.rng.choice(TASTE)} {self.rng.choice(answers)}"

    def document(self):
        """A review to learn the language from: a list of sentences."""
        domain, s = self.rng.choice(sorted(DOMAINS)), self.rng.randrange(2)
        text = [self.neutral(domain)] if self.rng.random() < 0.5 else []
        for _ in range(self.rng.randint(2, 5)):
            text.append(self.opinion(domain, s))
            if self.rng.random() < 0.1:
                text.append(self.neutral(domain))
            if self.rng.random() < 0.35:
                text.append(self.question(s))
        return text

    def review(self, s):
        """A review of the task: two opinions, sometimes behind a neutral sentence."""
        domain = self.rng.choice(sorted(DOMAINS))
        text = [self.neutral(domain)] if self.rng.random() < 0.3 else []
        return text + [self.opinion(domain, s), self.opinion(domain, s)]


# --- the task ---


def make_set(rng, n, kinds, taken):
    """n reviews, half of them positive, none of them in `taken`, to which they are added."""
    w, rows = Writer(rng, kinds), []
    while len(rows) < n:
        label = len(rows) % 2
        text = " ".join(w.review(label))
        if text not in taken:
            taken.add(text)
            rows.append({"text": text, "label": label})
    rng.shuffle(rows)
    return rows


def documents(rng, held_out):
    """Endless pretraining documents; one that holds a review of `held_out` is thrown away."""
    w = Writer(rng, ("seen", "held"))
    while True:
        d = w.document()
        spans = (" ".join(d[i:i + n]) for n in (2, 3) for i in range(len(d) - n + 1))
        if not any(s in held_out for s in spans):
            yield " ".join(d)


# --- the model ---


def make_tokenizer(docs, path, size=1024):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(docs, trainers.BpeTrainer(
        vocab_size=size, special_tokens=[EOT], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok.post_processor = processors.TemplateProcessing(single=EOT + " $A",
                                                       special_tokens=[(EOT, 0)])
    for o in OPTIONS:
        assert len(tok.encode(o, add_special_tokens=False).ids) == 1, o
    tok.save(str(path))


def zoft(program, *words):
    print("$ zoft", *words, flush=True)
    return subprocess.run([program, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    here = pathlib.Path(__file__).resolve().parent
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, default=here)
    p.add_argument("--zoft", default=str(here.parent.parent / "build" / "zoft"))
    p.add_argument("--documents", type=int, default=144000)
    p.add_argument("--tokenizer", action="store_true", help="train the tokenizer anew")
    p.add_argument("set", nargs="*", help="settings of pretrain.yaml, as max_steps=100")
    a = p.parse_args()
    began = time.time()
    (a.out / "model").mkdir(parents=True, exist_ok=True)

    taken, rng = set(), random.Random(SEED)
    sets = {"train": make_set(rng, 1000, ("seen",), taken),
            "dev": make_set(rng, 300, ("seen",), taken),
            "test": make_set(rng, 500, ("held",), taken)}
    for name, rows in sets.items():
        with open(a.out / f"{name}.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows)
    held_out = {r["text"] for name in ("dev", "test") for r in sets[name]}
    docs = documents(random.Random(SEED + 1), held_out)
    if a.tokenizer:
        make_tokenizer((next(docs) for _ in range(20000)), a.out / "model" / "tokenizer.json")

    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        with open(tmp / "text.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps({"text": next(docs)}) + "\n" for _ in range(a.documents))
        config = a.out / "model" / "config.json"
        zoft(a.zoft, "init", str(config), "--out", str(tmp / "start"), "--tokenizer",
             str(a.out / "model"), "--seed", str(SEED))
        zoft(a.zoft, "train", str(here / "pretrain.yaml"), f"base_model={tmp / 'start'}",
             f"data_dir={tmp}", f"output_dir={tmp / 'run'}", *a.set)
        run = json.loads((tmp / "run" / "run.json").read_text())
        last = [json.loads(line) for line in (tmp / "run" / "metrics.jsonl").read_text().split("\n")
                if '"loss"' in line][-100:]
        (a.out / "model" / "model.safetensors").write_bytes(
            (tmp / "run" / "model.safetensors").read_bytes())
    score = json.loads(zoft(a.zoft, "eval", str(here.parent.parent / "configs" / "demo.yaml"),
                            f"base_model={a.out / 'model'}", f"data_dir={a.out.parent}", "--json"))
    record = {"seed": SEED, "zoft": run["zoft"], "parameters": run["parameters"],
              "pretraining": {"method": run["method"], "steps": run["steps"],
                              "documents": a.documents,
                              "loss": round(sum(x["loss"] for x in last) / len(last), 4)},
              "zero_shot_accuracy": {k: score[k]["accuracy"] for k in ("dev", "test")}}
    (a.out / "versions.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2), f"\n{time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
