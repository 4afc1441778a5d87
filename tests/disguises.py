"""Disguises of words, and innocent text that looks disguised.

`THREATS` is the normaliser's own list: one edit a word, one threat a rule. Each takes a word of
ASCII letters and a source of chance, and returns the word disguised; a word that has no place for
the edit comes back as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable

_CYRILLIC = {
    **dict(zip("aceijopsxyABCEHIKMOPSTX", "асеіјорѕхуАВСЕНІКМОРЅТХ", strict=True)),
    "d": "ԁ",
    "h": "һ",
}
_GREEK = dict(zip("iopuvABEHIKMNOPTXYZ", "ιορυνΑΒΕΗΙΚΜΝΟΡΤΧΥΖ", strict=True))
_LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7"}
_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_BIDI = "\u200e\u200f\u202a\u202d\u2066"
_OVER = "\u0300\u0301\u0302\u0303\u0308\u030a\u0316\u0317\u0323\u0324\u0332\u0337"


def _replace_one(word: str, table: dict[str, str], chance: random.Random) -> str:
    sites = [at for at, char in enumerate(word) if char in table]
    if not sites:
        return word
    at = chance.choice(sites)
    return word[:at] + chance.choice(table[word[at]]) + word[at + 1 :]


def _insert(word: str, what: str, chance: random.Random) -> str:
    at = chance.randrange(1, max(2, len(word)))
    return word[:at] + what + word[at:]


def _inner(word: str, chance: random.Random) -> int:
    return chance.randrange(1, max(2, len(word) - 1))


def look_alike_cyrillic(word: str, chance: random.Random) -> str:
    """One letter is Cyrillic."""
    return _replace_one(word, _CYRILLIC, chance)


def look_alike_greek(word: str, chance: random.Random) -> str:
    """One letter is Greek."""
    return _replace_one(word, _GREEK, chance)


def look_alike_whole(word: str, chance: random.Random) -> str:
    """All letters that have a Cyrillic look-alike are Cyrillic."""
    return "".join(_CYRILLIC.get(char, char) for char in word)


def accent(word: str, chance: random.Random) -> str:
    """One letter, but not the last, has an accent."""
    table = {"a": "áàä", "e": "éèë", "i": "íìï", "o": "óòö", "u": "úùü"}
    return _replace_one(word[:-1], table, chance) + word[-1:]


def small_capitals(word: str, chance: random.Random) -> str:
    """All letters are small capitals."""
    small = dict(zip("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ", strict=True))
    return "".join(small.get(char, char) for char in word.lower())


def full_width(word: str, chance: random.Random) -> str:
    """All letters are full-width."""
    return "".join(chr(ord(char) + 0xFEE0) for char in word)


def mathematical(word: str, chance: random.Random) -> str:
    """All letters are of a mathematical alphabet."""
    first = chance.choice((0x1D400, 0x1D468, 0x1D5D4, 0x1D670))
    return "".join(chr(first + ord(char) - (71 if char.islower() else 65)) for char in word)


def circled(word: str, chance: random.Random) -> str:
    """All letters are circled."""
    return "".join(chr(ord(char) + (0x246F if char.islower() else 0x2475)) for char in word)


def zero_width(word: str, chance: random.Random) -> str:
    """A character without width stands between two letters."""
    return _insert(word, chance.choice(_ZERO_WIDTH), chance)


def bidi_control(word: str, chance: random.Random) -> str:
    """A bidi control stands between two letters."""
    return _insert(word, chance.choice(_BIDI), chance)


def tag_character(word: str, chance: random.Random) -> str:
    """A tag character stands between two letters."""
    return _insert(word, chr(0xE0000 + chance.randrange(0x20, 0x7F)), chance)


def variation_selector(word: str, chance: random.Random) -> str:
    """A variation selector stands after a letter."""
    return _insert(word, chr(chance.choice((0xFE00, 0xFE0F, 0xE0100))), chance)


def backspace(word: str, chance: random.Random) -> str:
    """A letter is put in and deleted again."""
    return _insert(word, chance.choice("xqz") + "\b", chance)


def reversed_override(word: str, chance: random.Random) -> str:
    """The word is written backwards and shown forwards."""
    return f"\u202e{word[::-1]}\u202c"


def zalgo(word: str, chance: random.Random) -> str:
    """Each letter has three to six marks."""
    return "".join(c + "".join(chance.choices(_OVER, k=chance.randint(3, 6))) for c in word)


def strike_through(word: str, chance: random.Random) -> str:
    """Each letter is struck through."""
    return "".join(char + "\u0336" for char in word)


def leet(word: str, chance: random.Random) -> str:
    """One letter is a digit or a sign."""
    return _replace_one(word, _LEET, chance)


def spaced(word: str, chance: random.Random) -> str:
    """Spaces stand between all letters."""
    return " ".join(word)


def dotted(word: str, chance: random.Random) -> str:
    """The same sign stands between all letters."""
    return chance.choice(".-_*").join(word)


def repeated(word: str, chance: random.Random) -> str:
    """One letter stands three to six times."""
    at = _inner(word, chance)
    return word[:at] + word[at] * chance.randint(3, 6) + word[at + 1 :]


def masked(word: str, chance: random.Random) -> str:
    """One inner letter is a star."""
    at = _inner(word, chance)
    return word[:at] + "*" + word[at + 1 :]


THREATS: list[tuple[str, Callable[[str, random.Random], str]]] = [
    ("look-alike letter, Cyrillic", look_alike_cyrillic),
    ("look-alike letter, Greek", look_alike_greek),
    ("look-alike letters, all", look_alike_whole),
    ("accent", accent),
    ("small capitals", small_capitals),
    ("full-width letters", full_width),
    ("mathematical letters", mathematical),
    ("circled letters", circled),
    ("zero-width character", zero_width),
    ("bidi control", bidi_control),
    ("tag character", tag_character),
    ("variation selector", variation_selector),
    ("backspace", backspace),
    ("reversed by an override", reversed_override),
    ("stacked marks", zalgo),
    ("struck through", strike_through),
    ("leetspeak", leet),
    ("spaced letters", spaced),
    ("punctuated letters", dotted),
    ("repeated letter", repeated),
    ("masked letter", masked),
]

CLEAN_LOOKALIKES: list[str] = [
    # Other scripts and languages.
    "Сегодня мы поехали в музей, а вечером ели борщ.",
    "Кот сел на стол, нос в тесте, хвост в сметане.",
    "Тест №5: ответ — «нет», автор — А. С. Попов.",
    "Он купил iPhone 15 и SIM-карту МТС за 300 ₽.",
    "Wi-Fi в кафе не работал, а VPN тормозил.",
    "Вона сказала, що їжак і ґава — друзі.",
    "Η γάτα κοιμάται στον καναπέ και ο σκύλος έξω.",
    "Το ΑΕΠ αυξήθηκε κατά 2,1%.",
    "今天天气很好，我们去公园散步吧！",
    "我 爱 你 们 大 家",
    "ＣＤを３枚買いました。ＮＨＫのニュースを見た。",
    "価格は１，２００円（税込）です。",
    "東京タワーは333mです。",
    "오늘은 날씨가 정말 좋네요.",
    "ذهبت إلى السوق واشتريت تفاحًا.",
    "می‌خواهم به خانه بروم.",
    "این کتاب‌ها را ه‍ خوانده‌ام.",
    "שלום, מה שלומך?\u200f תודה!",
    "הטלפון (iPhone)\u200e חדש.",
    "मैं कल दिल्ली जा रहा हूँ। क्‍या आप आएँगे?",
    "ক্ষমা করবেন, র‍্যাব কোথায়?",
    "நான் தமிழ் பேசுகிறேன்.",
    "ශ්‍රී ලංකාව ලස්සන රටකි.",
    "ฉันชอบกินข้าวผัดกับแม่",
    "ខ្ញុំ\u200bចង់\u200bទៅ\u200bផ្សារ។",
    "Yarın sabah ılık bir çay içelim, sıkı giyin.",
    "İstanbul'da ışık söndü, kapı kapandı.",
    "L'été, où êtes-vous allés ? À Nîmes, près du théâtre.",
    "Le fromage râpé, la pâte brisée et le thé à la menthe.",
    "Mˡˡᵉ Dupont habite au 3ᵉ étage, nᵒ 12.",
    "Die Schifffahrt und die Betttücher: Flussschifffahrt, Stillleben, Kaffeeernte.",
    "Größe, Straße und Fußgängerübergänge sind schön.",
    "El niño comió piña; la señora vendió jalapeños.",
    "O avô e a avó têm três pães.",
    "Zażółć gęślą jaźń, a i tak było dobrze.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Jäääär on jäine: kuu ja öö.",
    "Tiếng Việt có nhiều dấu: nghệ thuật, đường phố.",
    "Ti\u00ea\u0301ng Vi\u0302\u0323t de\u0302\u0301n t\u01b0\u0300 xa.",
    "Yorùbá: ọ̀rọ̀ àti ẹ̀kọ́.",
    "Æblegrød og rødgrød med fløde på bordet.",
    "Ħobża u ġobon, għażiż.",
    "Armenian: Ես սիրում եմ քեզ։ Georgian: მე მიყვარხარ.",
    "/ɪnˈtɛnt/ and [ʃʊɡə] are in the phonetic alphabet.",
    # Numbers, units, dates, prices.
    "The price went from $5 to $7.50, or 5€, at 3pm on 2024-01-31.",
    "It ran 10x faster on 8GB with 4K at 60fps, 1st of 3rd tries.",
    "Flight BA117 leaves gate B12 at 07:45 for 2h30m.",
    "Model X5, the A4 paper, the M1 chip and the 1080p screen.",
    "Call 1-800-555-0199 or +44 20 7946 0958 before 5 p.m.",
    "Chapter XIII, King Louis XVIII, MCMXCIV and page xviii.",
    "Ⅷ is eight, Ⅻ is twelve, and ½ + ¼ = ¾.",
    "It was 30°C, 5 m², 10³ and 2ⁿ, nothing more.",
    "The 1980s, the '90s, 24/7, 50/50 and 9/11.",
    # Names of things with digits and signs.
    "covid19, h2o, b2b, p2p, mp3, mp4, i18n, l10n, a11y, k8s, utf8, sha256, md5sum.",
    "H1N1 and C3PO, R2D2 and H2SO4, CH3OH, NaHCO3, C6H12O6, NH4Cl and Fe2O3.",
    "We ship via S3, EC2 and log4j2 with es6 and web3js and win32api.",
    "The commit deadbeef1 and the id 3f9a0b, colour #fff or #ffcc00.",
    "TNFα, IFNγ, NFκB and αSMA rise; hν, kΩ, μm, Δt and πr² do not.",
    "Let 𝑥 be real, ℝ the reals, and f : ℝ → ℂ.",
    "1,3-butadiene, N,N-dimethylformamide and 2-chloro-3-methylpentane.",
    # Addresses, handles, tags, code.
    "See https://www.example.com/a.b.c/1d10t?x=sh0rt&y=l33t for more.",
    "Write to j.o.h.n@example.com, b0b.l33@mail.example.org or @sk8erb0i.",
    "www.st00pid.example and docs.l1b.io are sites; #f1tn3ss is a tag.",
    "Use `m0d3.s3t(1)` or `a_b_c_d` in the code, then `rm -rf ./b1n`.",
    "self.a.b.c.d() and foo.x.y.z = bar",
    "export PATH=$HOME/bin:$PATH; echo $USER",
    "Buy $AAPL and sell $TSLA, says @money_m4n.",
    "git clone git@github.com:user/repo.git",
    "if a!=b and x*y>0: return a**2",
    "C:\\Users\\me\\a.txt and /usr/l0c4l/bin",
    # Emoticons, emoji.
    ":-) :-( ;-P xD <3 </3 :'-( ^_^ o_O -_- T_T",
    "Family 👨‍👩‍👧‍👦, 👍🏽 thumbs, 🏳️‍🌈 flag, ❤️‍🔥 heart, 1️⃣ one, 🏴󠁧󠁢󠁥󠁮󠁧󠁿 England, 🇫🇷 France.",
    "Blood type 🅰️ or 🅱️, Ⓜ️ for metro, © 2024, ® and ™.",
    "¯\\_(ツ)_/¯ and (╯°□°)╯︵ ┻━┻",
    # Initials, acronyms, letters.
    "The U.S.A., the U.K., J.R.R. Tolkien, Ph.D., e.g. and i.e., a.k.a. Bob.",
    "N.A.T.O. and the U.S.S.R. signed it.",
    "The A B C tests and the D E F ones, plan A or B, vitamins A, B, C and D.",
    "The IEEE and the AAAI, NAACP, FIFA and UNESCO met.",
    "Sort a b c d e, then x y z; a, b, c; a/b/c; 1 2 3 4.",
    "Am I a cat? Is it a I or an l? You and I.",
    "The chords are C D E F G A B, the grades A B C D F.",
    "u r a star, r u ok, c u l8r",
    "Hmmm, shhh, brrr, pfff, grrr, zzz, aaa, www, xxx.",
    # Punctuation and ordinary words.
    "Well... I don't know -- maybe?! He'll see; she'll go; we'll be.",
    "A well-known, up-to-date, state-of-the-art, x-ray-like e-mail.",
    "The pen is here. The pen.is there's a typo.",
    "**Bold**, *italic*, __under__ and ~~struck~~ in Markdown.",
    "The price is 5* and the note* is below.\n* see there",
    "First line\r\nsecond line\r\n\tthird: 2 * 3 * 4",
    "Scunthorpe, classic, assess, cockpit, analysis, Essex and therapist.",
    "rock 'n' roll, o'clock, y'all, 'tis, ma'am",
    "snake_case_name, camelCase, kebab-case-name, CONST_2",
    "A lone surrogate \ud83d here and \udc00 there.",
]
