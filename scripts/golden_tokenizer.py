"""Part `tokenizer` of golden.py: strings and their ids by transformers' CLIPTokenizer. The format is in tests/golden/README.md.

The vocabulary is that of data/clip/merges.txt: the bytes, the bytes that end a word, the merges, two special tokens.
"""
import json
import os
import random
import tempfile

from transformers import CLIPTokenizer

MERGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "clip", "merges.txt")
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
SMALL, FEW = 300, 400  # merges of a small vocabulary, and strings that it is tried with

# How folders name the special tokens: as Stable Diffusion 1.x, 2.x, and transformers 5 have it.
TOKEN = lambda content: {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
STYLES = {
    "sd1": {"bos_token": TOKEN(BEGIN), "eos_token": TOKEN(END), "pad_token": END, "unk_token": TOKEN(END)},
    "sd2": {"bos_token": TOKEN(BEGIN), "eos_token": TOKEN(END), "pad_token": "!", "unk_token": TOKEN(END)},
    "plain": {"bos_token": BEGIN, "eos_token": END, "pad_token": END, "unk_token": END},
}


def write_folder(folder, merges, style):
    """A folder as published: vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json."""
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 255 and b != 173]
    others = [b for b in range(256) if b not in printable]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m.split(" ")) for m in merges] + [BEGIN, END]
    assert len(set(tokens)) == len(tokens)
    os.makedirs(folder, exist_ok=True)
    dump = lambda name, value: open(os.path.join(folder, name), "w").write(json.dumps(value))
    dump("vocab.json", {token: i for i, token in enumerate(tokens)})
    open(os.path.join(folder, "merges.txt"), "w").write("#version: 0.2\n" + "\n".join(merges) + "\n")
    config = {k: v if isinstance(v, str) else {"__type": "AddedToken", **v} for k, v in style.items()}
    dump("tokenizer_config.json", {"add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77,
                                   "tokenizer_class": "CLIPTokenizer", **config})
    dump("special_tokens_map.json", style)
    return CLIPTokenizer.from_pretrained(folder)


WORDS = """photo cat dog tabby crane maillot naïve café São Paulo Zürich Straße ẞ GROẞ Ωμέγα ΣΊΣΥΦΟΣ σίσυφος İstanbul ISPARTA ıIiİ Ǆ ǅ ǆ ﬁ ﬂ ﬃ ŉ Å Å K Ω ſ
привет мир ЁЖИК українська ქართული ᲥᲐᲠᲗᲣᲚᲘ հայերեն ԵՒՐՈՊԱ שלום שָׁלוֹם مرحبا العربيّة ٱلْحَمْدُ फ़िल्म हिन्दी क्षि ক্ষ தமிழ் తెలుగు ಕನ್ನಡ മലയാളം ไทย ภาษาไทย ລາວ བོད་ཡིག မြန်မာ ខ្មែរ
한국어 가각힣 日本語 カタカナ ｶﾀｶﾅ ガ が 漢字 中文字符 𠀀𪛖 豈更 ㍿ ℡ ① ⅷ Ⅷ ½ ² ₃ １２３ ٣٤٥ १२३ 〇 𝟘𝟙 𝒜𝔅 Ａｂｃ ！？（） ΑΒΓ Ꭰ ꭰ Ⴀ ⴀ 𐐀 𐐨 𞤀 Ꙁ Ⱥ Ɐ ᾈ ᾳ ǰ ΐ
😀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☎ ✈️ 🧑🏿‍🚀 1️⃣ ©️ ™ € £ ¥ ₿ § ¶ † ‡ • … – — ‘’ “” « » ¿ ¡ ° ± × ÷ √ ∞ ≠ ≤ ∑ ∫ → ⇒ ■ ☀ ♥ ♫ ⚠""".split()
MARKS = ["é", "ệ", "ạ̈", "ạ̈", "q̣̇", "Å", "가각", "שּׁ", "क़", "ो", "がぎ", "a͏́", "ḍ̇", "Ǖ", "́x", "à́͜"]
SPACES = ["\u00a0", "\u1680", "\u2000", "\u2003", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u0085", "\v", "\f", "\r\n",
          "\t", "\n\n", "  ", "\x1c", "\x1f", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u180e", "\u00ad"]
CONTROLS = ["\0", "\x01", "\x07", "\x08", "\x1b[0m", "\x7f", "\x80", "\x9f", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000"]
ENGLISH = """a photo of a tabby cat, domestic animal|A Painting Of The Eiffel Tower At Night, 4k, highly detailed, trending on artstation|it's John's dog and they're here; we've
 we'll I'm he'd can't DON'T O'Neill 'twas 'S 'T 'Re 'VE 'M 'LL 'D|rock'n'roll '' 's's 'tis ''s|a (photo) of [brackets] {braces} <angles> \\backslash\\ /slash/ |pipe|
|100% of 3.14159 is 1,000,000.00 in 2024-05-17 12:34:56|e-mail me@example.com http://example.com/a?b=c&d=e#f|snake_case CamelCase kebab-case|!!! ??? ... --- *** ### $$$ %%% ^^^ &&& (((( ))))
|hello!!!world???what|c++ c# f# a+b=c x^2 ~50 @home #tag|"quoted" 'single' `back`|...a...b...|' ' '|'|\\|((a:1.2) b), [c:0.8]|masterpiece, best quality, (ultra-detailed:1.4)|<lora:x:1>
|supercalifragilisticexpialidocious antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis|zzzzzzzzzzzzzzzzzzzzzzzz xkcdqwrtplm aaaaaaaaaa|hot dog, hotdog, hot-dog
|a cat with a grey or tawny coat mottled with black|any of several large long-necked wading birds|crane, lifting device inside a construction site""".replace("\n", "").split("|")


def strings():
    rng = random.Random(15)
    out = ["", " ", "   ", "\t\n ", "\u3000"]
    out += ENGLISH + WORDS + MARKS + SPACES + CONTROLS
    special = [BEGIN, END, BEGIN.upper(), "<|EndOfText|>", "<|endoftext|", "|endoftext|>", "<| endoftext |>", "<|startoftext|><|endoftext|>"]
    for s in special:
        out += [s, "a " + s + " b", "a" + s + "b", "!!" + s + "!!", s + "\u0301", "É" + s, "''" + s + "'s", s + s]
    out += ["cat!", "!", "!!", "! !", "cat ! dog", "a!b!c", "wow!!!", "!cat", "don't!", "！", "\u01c3", "!" + END + "!"]
    out += [word + " " + word.upper() + word.lower() for word in WORDS]
    out += ["a" + s + "b" for s in SPACES + CONTROLS + MARKS] + [s + "cat" + s + s for s in SPACES]
    out += [" ".join(["photo"] * n) for n in (*range(1, 12), 20, 50, 73, 74, 75, 76, 77, 78, 100, 152, 153, 154, 200)]
    out += ["photo " * n + "😀 end" for n in (71, 72, 73, 74)] + ["9" * n for n in (75, 76)] + ["é" * 60]
    pieces = ENGLISH + WORDS + MARKS
    while len(out) < 900:
        out.append("".join(rng.choice(pieces) + rng.choice([" ", " ", " ", "", ", ", "-", rng.choice(SPACES)]) for _ in range(rng.choice([1, 2, 3, 5, 8]))))
    # Of each script some characters in any order.
    blocks = [(0x20, 0x7f), (0xa0, 0x180), (0x180, 0x250), (0x300, 0x370), (0x370, 0x400), (0x400, 0x530), (0x590, 0x700), (0x900, 0xe00), (0xe00, 0x1000),
              (0x1000, 0x1200), (0x1e00, 0x2000), (0x2000, 0x2c00), (0x3000, 0x3400), (0x4e00, 0x9fff), (0xac00, 0xd7a4), (0x1f300, 0x1fb00)]
    while len(out) < 1100:
        low, high = rng.choice(blocks)
        marks = lambda: "".join(chr(rng.randrange(0x300, 0x340)) for _ in range(rng.choice([0, 0, 0, 1, 2, 3])))
        out.append("".join(chr(rng.randrange(low, high)) + marks() for _ in range(rng.choice([1, 4, 12]))))
    return list(dict.fromkeys(out))


def by_style(folder, golden, prefix, merges, texts):
    """The ids in the first style, which are returned; golden[prefix + style] has what differs in each."""
    first = None
    for name, style in STYLES.items():
        tokenizer = write_folder(os.path.join(folder, name), merges, style)
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        # What is cut and padded follows from the ids: checked here, so that it need not be stored.
        begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        for text, row in zip(texts, ids):
            cut = tokenizer(text, truncation=True, padding="max_length", max_length=tokenizer.model_max_length)["input_ids"]
            assert cut == ([begin] + row[:75] + [end] + [pad] * 75)[:77], text
        first = first or ids
        golden[prefix + name] = {"pad": pad, "begin": begin, "end": end, "other": {str(i): row for i, row in enumerate(ids) if row != first[i]}}
    return first


def make(out):
    merges = open(MERGES, encoding="utf-8").read().split("\n")[1:-1]
    texts = strings()
    golden = {"strings": texts}
    with tempfile.TemporaryDirectory() as folder:
        golden["ids"] = by_style(folder, golden, "", merges, texts)
        tokenizer = CLIPTokenizer.from_pretrained(os.path.join(folder, "sd1"))
    decoded = [tokenizer.decode(row) for row in golden["ids"]]
    golden["lost"] = {str(i): tokenizer.decode(row[75:]) for i, row in enumerate(golden["ids"]) if len(row) > 75}
    # What is decoded is stored where lower case and single spaces do not say it already.
    golden["decoded"] = {str(i): d for i, (d, text) in enumerate(zip(decoded, texts)) if d != " ".join(text.lower().split())}
    # The same with a small vocabulary, which is stored: in the published form, and in that of transformers 5.
    small = os.path.join(out, "tokenizer_small")
    tokenizer = write_folder(small, merges[:SMALL], STYLES["sd1"])
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        os.makedirs(small + "_5", exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            content = json.load(open(os.path.join(folder, name), encoding="utf-8"))
            open(os.path.join(small + "_5", name), "w").write(json.dumps(content) + "\n")
        golden["small"] = by_style(folder, golden, "small_", merges[:SMALL], texts[:FEW])
    path = os.path.join(out, "tokenizer.json")
    open(path, "w", encoding="utf-8").write(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"tokenizer: {len(texts)} strings, {os.path.getsize(path)} bytes")
